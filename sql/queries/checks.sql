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
    'server_version_num', 'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit', 'transaction_read_only',
    'idle_in_transaction_session_timeout', 'max_connections')
order by name;
