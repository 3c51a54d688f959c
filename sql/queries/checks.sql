-- name: states
-- The proof that every job is in exactly one state table, and that no state table names a job that is not there.
select 'job ' || j.id || ' is in ' || n.states || ' of the state tables' as problem
from windlass.jobs as j
left join windlass.ready as r on r.id = j.id
left join windlass.running as u on u.id = j.id
left join windlass.done as d on d.id = j.id
cross join lateral (select (r.id is not null)::int + (u.id is not null)::int + (d.id is not null)::int) as n (states)
where n.states <> 1
union all
select 'no job ' || s.id || ', which ' || s.state || ' names'
from (
    select id, 'ready' as state from windlass.ready
    union all select id, 'running' from windlass.running
    union all select id, 'done' from windlass.done
    union all select id, 'failures' from windlass.failures
    union all select job_id, 'idempotency_keys' from windlass.idempotency_keys
) as s
where not exists (select from windlass.jobs as j where j.id = s.id)
union all
select 'job ' || j.id || ' has ' || a.attempts || ' attempts of ' || j.max_attempts
from windlass.jobs as j
join (
    select id, attempts + 1 as attempts from windlass.ready
    union all select id, attempts from windlass.running
    union all select id, attempts from windlass.done
) as a on a.id = j.id
where a.attempts > j.max_attempts
limit 100;

-- name: server
-- The settings durability rests on, and the version.
select name, setting
from pg_settings
where name in (
    'server_version_num', 'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit',
    'synchronous_standby_names', 'transaction_read_only', 'idle_in_transaction_session_timeout', 'max_connections')
order by name;

-- name: snapshots
-- Who keeps vacuum from removing this database's dead rows, whoever has done so longest first: sessions with a snapshot or
-- with writes of their own, standbys that report their queries, prepared transactions, slots. Since when a session of
-- another role has, only members of pg_read_all_stats are told; for how many transactions, everybody. It takes as long as
-- there are sessions, never as there are jobs.
select holder.*
from (
    select
        case when r.pid is null then 'session' else 'standby' end, a.pid::text, a.application_name,
        coalesce(a.usename::text, ''), extract(epoch from clock_timestamp() - a.xact_start)::float8,
        greatest(age(a.backend_xmin), age(a.backend_xid))
    from pg_stat_activity as a
    left join pg_stat_replication as r on r.pid = a.pid
    where (a.datname = current_database() or r.pid is not null)
        and (a.backend_xmin is not null or a.backend_xid is not null)
        and a.pid <> pg_backend_pid()
        and a.leader_pid is null
        -- What vacuums holds up nobody else who does.
        and not exists (select from pg_stat_progress_vacuum as v where v.pid = a.pid)
    union all
    select
        'prepared transaction', gid, '', owner::text, extract(epoch from clock_timestamp() - prepared)::float8,
        age(transaction)
    from pg_prepared_xacts
    where database = current_database()
    union all
    select 'replication slot', slot_name::text, '', '', null, age(xmin)
    from pg_replication_slots
    where xmin is not null
) as holder (what, name, application, owner, seconds, transactions)
order by transactions desc, seconds desc nulls last
limit 100;
