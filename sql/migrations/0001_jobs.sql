-- oldest code: 1
-- A state is a table: a job is one row of jobs, never changed, and at any time one row of ready, running or done.
-- Rows of ready and running are born and deleted, so a held snapshot or a late vacuum costs a claim nothing.

-- Times as RFC 3339 in UTC, made by the server: a time Python cannot represent still reads back.
create function windlass.rfc3339(t timestamptz) returns text language sql stable parallel safe
    return to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- The smallest UUIDv7 of an instant: ids are ordered by time, so a range of ids is a range of times.
create function windlass.uuid7_floor(t timestamptz) returns uuid language sql immutable parallel safe
    return encode(
        substring(int8send(greatest(floor(extract(epoch from t) * 1000), 0)::bigint) from 3) || '\x70008000000000000000'::bytea,
        'hex')::uuid;

-- Keys in time order keep the indexes' hot pages few; random ones cost 30 % of the rate. PostgreSQL 18 has a generator
-- that also counts within a millisecond; before it, 12 bits of the microseconds stand in.
do $$
begin
    if to_regprocedure('pg_catalog.uuidv7()') is not null then
        execute $f$
            create function windlass.uuid7() returns uuid language sql volatile parallel safe
                return pg_catalog.uuidv7() $f$;
    else
        execute $f$
            create function windlass.uuid7() returns uuid language sql volatile parallel safe
                return (select encode(
                    substring(int8send(us / 1000) from 3)
                    || int2send((28672 + (us % 1000) * 4096 / 1000)::smallint)
                    || substring(uuid_send(gen_random_uuid()) from 9), 'hex')::uuid
                from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint) as clock(us)) $f$;
    end if;
end $$;

-- A number fresh at each claim and never reused. CACHE 1: with a cache a later claim could get a smaller number.
create sequence windlass.fence as bigint cache 1;

create table windlass.jobs (
    id uuid primary key,
    created_at timestamptz not null default now(),
    timeout_seconds integer not null,
    priority smallint not null,
    max_attempts smallint not null,
    queue text not null,
    kind text not null,
    idempotency_key text,
    payload jsonb not null,
    constraint queue_length check (length(queue) between 1 and 128),
    constraint kind_length check (length(kind) between 1 and 128),
    constraint max_attempts_range check (max_attempts between 1 and 100),
    constraint timeout_range check (timeout_seconds between 1 and 604800),
    constraint idempotency_key_length check (length(idempotency_key) between 1 and 255)
);
create index jobs_kind on windlass.jobs (kind, id);

create table windlass.ready (
    id uuid not null,
    run_at timestamptz not null,
    entered_at timestamptz not null default now(),
    last_fence bigint not null,
    priority smallint not null,
    attempts smallint not null,
    queue text not null,
    kind text not null,
    constraint attempts_range check (attempts between 0 and 99),
    constraint run_at_range check (run_at >= '1970-01-01Z' and run_at < '9001-01-01Z')
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
-- The order of a stream. All but run_at and id are matched by equality, so a foreign kind's backlog is never walked.
create index ready_order on windlass.ready (queue, kind, priority, run_at, id);
create unique index ready_id on windlass.ready (id);
create index ready_retrying on windlass.ready (id) where attempts > 0;

create table windlass.running (
    id uuid primary key,
    run_at timestamptz not null,
    started_at timestamptz not null default now(),
    lease_expires_at timestamptz,
    fence bigint not null,
    worker_id bigint,
    priority smallint not null,
    attempts smallint not null,
    cancel_requested boolean not null default false,
    queue text not null,
    kind text not null,
    progress jsonb,
    constraint attempts_range check (attempts between 1 and 100),
    constraint one_kind_of_lease check ((worker_id is null) <> (lease_expires_at is null))
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- Only HTTP leases are in it, so a job of the pool pays nothing for it.
create index running_lease_end on windlass.running (lease_expires_at) where lease_expires_at is not null;

create table windlass.done (
    id uuid primary key,
    run_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz not null default now(),
    fence bigint not null,
    worker_id bigint,
    attempts smallint not null,
    kind text not null,
    status text not null,
    result jsonb,
    constraint status_is_an_end check (status in ('succeeded', 'failed_permanent', 'cancelled')),
    constraint attempts_range check (attempts between 0 and 100),
    constraint only_cancelled_unstarted check (started_at is not null and attempts > 0 or status = 'cancelled'),
    constraint only_succeeded_has_result check (result is null or status = 'succeeded'),
    constraint finished_after_started check (finished_at >= started_at)
);
create index done_kind_status on windlass.done (kind, status, id);
create index done_failed on windlass.done (id) where status = 'failed_permanent';
create index done_cancelled on windlass.done (id) where status = 'cancelled';

-- One row per failed attempt, the job's history. Keyed by fence, not attempt: a redrive counts attempts anew.
create table windlass.failures (
    id uuid not null,
    fence bigint not null,
    at timestamptz not null default now(),
    worker_id bigint,
    attempt smallint not null,
    cleared boolean not null default false,
    error text not null,
    primary key (id, fence),
    constraint attempt_range check (attempt between 1 and 100)
);

create table windlass.idempotency_keys (
    key text primary key,
    job_id uuid not null,
    expires_at timestamptz not null,
    request_hash text not null,
    constraint key_length check (length(key) between 1 and 255)
);
create index idempotency_keys_expiry on windlass.idempotency_keys (expires_at) where expires_at < 'infinity';

-- How long without a heartbeat makes a worker lost stands in its row: pools with different leases must agree on it.
-- One row per incarnation of a worker process: the id is the identity, never reused, never a host's name or a pid.
create table windlass.workers (
    id bigint generated always as identity primary key,
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now(),
    lost_at timestamptz,
    lease_seconds real not null,
    pid integer not null,
    slot smallint not null,
    name text not null,
    host text not null,
    pool text not null
);

create table windlass.queues (
    name text primary key,
    paused_at timestamptz,
    constraint name_length check (length(name) between 1 and 128)
);

-- Everything about a job in one row, for the API's reads and for people in psql.
create view windlass.job_view as
select
    j.id,
    j.queue,
    j.kind,
    j.priority,
    case
        when d.id is not null then d.status
        when u.id is not null then 'running'
        when r.attempts > 0 then 'retrying'
        when r.id is not null then 'queued'
    end as status,
    coalesce(d.attempts, u.attempts, r.attempts) as attempts,
    j.max_attempts,
    (
        select f.error
        from windlass.failures as f
        where f.id = j.id and not f.cleared
        order by f.fence desc
        limit 1
    ) as last_error,
    coalesce(d.run_at, u.run_at, r.run_at) as run_at,
    j.created_at,
    coalesce(d.finished_at, u.started_at, r.entered_at) as updated_at,
    coalesce(d.started_at, u.started_at) as started_at,
    d.finished_at,
    coalesce(u.cancel_requested, false) as cancel_requested,
    u.progress,
    d.result,
    j.payload,
    j.timeout_seconds,
    j.idempotency_key,
    coalesce(d.fence, u.fence, r.last_fence) as fence,
    coalesce(d.worker_id, u.worker_id) as worker_id,
    u.lease_expires_at
from windlass.jobs as j
left join windlass.done as d on d.id = j.id
left join windlass.running as u on u.id = j.id
left join windlass.ready as r on r.id = j.id;

-- The same as the API says it: times and documents as text, in the order of sql.rows.Job.
create view windlass.job_reading as
select
    id,
    kind,
    status,
    attempts,
    max_attempts,
    last_error,
    payload::text as payload,
    windlass.rfc3339(run_at) as run_at,
    idempotency_key,
    windlass.rfc3339(created_at) as created_at,
    windlass.rfc3339(updated_at) as updated_at,
    queue,
    priority,
    cancel_requested,
    result::text as result,
    progress::text as progress,
    windlass.rfc3339(started_at) as started_at,
    windlass.rfc3339(finished_at) as finished_at,
    timeout_seconds
from windlass.job_view;
