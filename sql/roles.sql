-- Three roles for a database that is not a toy. For psql, as a role that may create roles, in the database of the jobs:
--
--     psql "$ADMIN_URL" -f sql/roles.sql
--     psql "$ADMIN_URL" -c '\password windlass_service'        and so for the other two
--
-- windlass_owner     `windlass migrate` and `windlass token` connect as it: owns the schema and all in it
-- windlass_service   web and worker connect as it: reads and writes rows, changes no table
-- windlass_metrics   dashboards connect as it: reads, but no payload, result, progress or error text
--
-- It may run before the first migration or after any, and again at any time; run it again after a migration that added
-- tables: the dashboards should see them, and not all are the service's to write. The limits at the end hold where a
-- pooler lets no client set its own.

\set ON_ERROR_STOP on
begin;

do $$
declare
    role_name text;
begin
    foreach role_name in array array['windlass_owner', 'windlass_service', 'windlass_metrics'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I login', role_name);
        end if;
    end loop;
    -- Making something for another role takes membership in it.
    if not (select rolsuper from pg_roles where rolname = current_user) and current_user <> 'windlass_owner' then
        execute format('grant windlass_owner to %I', current_user);
    end if;
end $$;

create schema if not exists windlass authorization windlass_owner;
alter schema windlass owner to windlass_owner;

-- What an earlier migration made as another role.
do $$
declare
    thing record;
begin
    for thing in
        select c.oid::regclass as name, case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end as kind
        from pg_class as c
        where c.relnamespace = 'windlass'::regnamespace
            and c.relkind in ('r', 'p', 'v', 'S')
            and c.relowner <> 'windlass_owner'::regrole
            -- The sequence of an identity column goes with its table.
            and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S')
    loop
        execute format('alter %s %s owner to windlass_owner', thing.kind, thing.name);
    end loop;
    for thing in
        select p.oid::regprocedure as name
        from pg_proc as p
        where p.pronamespace = 'windlass'::regnamespace and p.proowner <> 'windlass_owner'::regrole
    loop
        execute format('alter routine %s owner to windlass_owner', thing.name);
    end loop;
end $$;

-- The same for what stands and for what later migrations make.
grant usage on schema windlass to windlass_service, windlass_metrics;
grant select, insert, update, delete on all tables in schema windlass to windlass_service;
grant usage on all sequences in schema windlass to windlass_service;
alter default privileges for role windlass_owner in schema windlass
    grant select, insert, update, delete on tables to windlass_service;
alter default privileges for role windlass_owner in schema windlass
    grant usage on sequences to windlass_service;

-- A job is never changed, an end is never rewritten, and what was migrated and who has a token is the owner's to say.
-- Dashboards see all but what people put into jobs.
do $$
declare
    seen record;
begin
    if to_regclass('windlass.schema_migrations') is null then
        return;
    end if;
    revoke update on windlass.jobs, windlass.done from windlass_service;
    -- Locking a row takes the right to update some column of it.
    grant update (id) on windlass.done to windlass_service;
    revoke insert, update, delete on windlass.schema_migrations from windlass_service;
    -- Whoever breaks into the service shall not let himself in by the front door from then on: `windlass token` connects
    -- as the owner.
    if to_regclass('windlass.tokens') is not null then
        revoke insert, update, delete on windlass.tokens from windlass_service;
        grant update (last_used_at) on windlass.tokens to windlass_service;
    end if;
    if to_regproc('windlass.enqueue') is not null then
        grant execute on function windlass.enqueue to windlass_service;
    end if;
    for seen in
        select a.attrelid::regclass as name, string_agg(quote_ident(a.attname), ', ') as columns
        from pg_attribute as a
        join pg_class as c on c.oid = a.attrelid
        where c.relnamespace = 'windlass'::regnamespace
            and c.relkind in ('r', 'p')
            and a.attnum > 0
            and not a.attisdropped
            and a.attname not in (
                'payload', 'result', 'progress', 'error', 'idempotency_key', 'key', 'request_hash', 'digest')
        group by a.attrelid
    loop
        execute format('grant select (%s) on %s to windlass_metrics', seen.columns, seen.name);
    end loop;
end $$;

alter role windlass_service set statement_timeout = '5s';
alter role windlass_service set lock_timeout = '5s';
alter role windlass_service set idle_in_transaction_session_timeout = '20s';
alter role windlass_service set jit = off;
alter role windlass_metrics set statement_timeout = '5s';
alter role windlass_metrics set default_transaction_read_only = on;

commit;
