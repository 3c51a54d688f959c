-- name: schema_exists
-- Whether the schema is there. Asked first: `if not exists` would need the right to create one even where it exists.
select to_regnamespace('windlass') is not null;

-- name: create_schema
-- The schema everything lives in.
create schema windlass;

-- name: history_exists
-- Whether any migration ever ran here.
select to_regclass('windlass.schema_migrations') is not null;

-- name: create_history
-- What was applied. oldest_code is the version of the oldest code that still works on the schema after this migration.
create table windlass.schema_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    oldest_code integer not null,
    applied_at timestamptz not null default now(),
    constraint oldest_code_range check (oldest_code between 0 and version)
);

-- name: history
-- What was applied, in order.
select version, name, checksum, oldest_code, to_char(applied_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from windlass.schema_migrations
order by version;

-- name: record
-- Notes a migration as applied.
insert into windlass.schema_migrations (version, name, checksum, oldest_code)
values (%(version)s, %(name)s, %(checksum)s, %(oldest_code)s);

-- name: try_lock
-- The right to migrate, until this transaction ends. Tried again and again rather than waited for: a waiter holds a snapshot,
-- and `create index concurrently` of the one who has the right would wait for it in turn.
select pg_try_advisory_xact_lock(%(key)s);

-- name: try_session_lock
-- The same right, for a migration outside a transaction: until given back, or the session ends.
select pg_try_advisory_lock(%(key)s);

-- name: session_unlock
-- Gives it back.
select pg_advisory_unlock(%(key)s);

-- name: guard
-- For a migration's transaction, or for the session. A table lock that waits behind a long query makes every claim wait
-- behind it, so the wait is short and the migration tried again. A killed run must not hold its locks to the statement's end.
select
    set_config('lock_timeout', %(lock_wait_ms)s::text, %(in_transaction)s),
    set_config('client_connection_check_interval', '500', %(in_transaction)s);
