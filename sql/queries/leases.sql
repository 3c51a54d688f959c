-- name: streams
-- The streams of a queue for some kinds, highest priority first, each with whether its first job is due and, if not,
-- in how many seconds it will be. Walks the index from one priority to the next lower, so it costs per stream, not per row.
with recursive walk as (
    select k.kind, (select max(r.priority) from windlass.ready as r where r.queue = %(queue)s and r.kind = k.kind) as priority
    from unnest(%(kinds)s::text[]) as k (kind)
    union all
    select
        w.kind,
        (select max(r.priority) from windlass.ready as r
         where r.queue = %(queue)s and r.kind = w.kind and r.priority < w.priority)
    from walk as w
    where w.priority is not null
)
select w.kind, w.priority, greatest(extract(epoch from first.run_at - now()), 0)::float8
from walk as w
cross join lateral (
    select r.run_at
    from windlass.ready as r
    where r.queue = %(queue)s and r.kind = w.kind and r.priority = w.priority
    order by r.run_at, r.id
    limit 1
) as first
where w.priority is not null
    and not exists (select from windlass.queues as q where q.name = %(queue)s and q.paused_at is not null)
order by w.priority desc, w.kind;

-- name: claim
-- Takes due jobs of one queue under a lease, in a function that is planned once a session (migration 5).
select id::text, kind, payload, attempt, fence, max_attempts, timeout_seconds, waited_seconds, run_at::text, priority
from windlass.claim(
    %(queue)s, %(kinds)s, %(priorities)s, %(after_run_ats)s, %(after_ids)s, %(limit)s, %(worker_id)s, %(lease_ms)s)
    with ordinality
order by ordinality;

-- name: ack
-- Settles as succeeded, in a function that is planned once a session (migration 5).
select windlass.ack(%(ids)s, %(fences)s, %(worker_id)s, %(results)s)::text;

-- name: ack_and_claim
-- Settles what a worker finished and takes its next jobs in one round trip and one commit; in each row how many were
-- settled, and one row without a job where there is none. The two meet in running, on different rows.
with a as materialized (
    select count(*) as acked from windlass.ack(%(ids)s, %(fences)s, %(worker_id)s, %(results)s)
)
select
    a.acked, c.id::text, c.kind, c.payload, c.attempt, c.fence, c.max_attempts, c.timeout_seconds, c.waited_seconds,
    c.run_at::text, c.priority
from a
left join windlass.claim(
    %(queue)s, %(kinds)s, %(priorities)s, %(after_run_ats)s, %(after_ids)s, %(limit)s, %(worker_id)s, null)
    with ordinality as c on true
order by c.ordinality;

-- name: ack_cancelled
-- Settles as cancelled a job whose holder saw the request and stopped.
with settled as (
    delete from windlass.running as r
    using unnest(%(ids)s::uuid[], %(fences)s::bigint[]) as g (id, fence)
    where r.id = g.id and r.fence = g.fence and r.worker_id is not distinct from %(worker_id)s::bigint
    returning r.*
)
insert into windlass.done (id, kind, status, run_at, attempts, fence, worker_id, started_at, finished_at)
select id, kind, 'cancelled', run_at, attempts, fence, worker_id, started_at, greatest(now(), started_at)
from settled
returning id::text;

-- name: fail
-- Settles as failed: to another attempt after delay seconds, to the dead letters when permanent or at the last attempt,
-- to cancelled when that was asked for and another attempt would follow. A crash is a failure with no delay.
with given as materialized (
    select *
    from unnest(
        %(ids)s::uuid[], %(fences)s::bigint[], %(errors)s::text[], %(delays)s::float8[], %(permanents)s::boolean[]
    ) as g (id, fence, error, delay, permanent)
),
settled as (
    delete from windlass.running as r
    using given as g
    where r.id = g.id and r.fence = g.fence and r.worker_id is not distinct from %(worker_id)s::bigint
    returning r.*, g.error, g.delay, g.permanent
),
judged as materialized (
    select
        s.*,
        case
            when s.permanent or s.attempts >= j.max_attempts then 'failed_permanent'
            when s.cancel_requested then 'cancelled'
            else 'retrying'
        end as status
    from settled as s
    join windlass.jobs as j on j.id = s.id
),
recorded as (
    insert into windlass.failures (id, fence, attempt, error, worker_id, permanent)
    select id, fence, attempts, error, worker_id, permanent
    from judged
),
requeued as (
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    select id, queue, kind, priority, now() + delay * interval '1 second', attempts, fence
    from judged
    where status = 'retrying'
),
ended as (
    insert into windlass.done (id, kind, status, run_at, attempts, fence, worker_id, started_at, finished_at)
    select id, kind, status, run_at, attempts, fence, worker_id, started_at, greatest(now(), started_at)
    from judged
    where status <> 'retrying'
)
select id::text, status
from judged;

-- name: release
-- Gives jobs back, runnable now, the attempt not counted; a job whose cancel was asked for ends cancelled instead.
with settled as (
    delete from windlass.running as r
    using unnest(%(ids)s::uuid[], %(fences)s::bigint[]) as g (id, fence)
    where r.id = g.id and r.fence = g.fence and r.worker_id is not distinct from %(worker_id)s::bigint
    returning r.*
),
requeued as (
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    select id, queue, kind, priority, now(), attempts - 1, fence
    from settled
    where not cancel_requested
),
ended as (
    insert into windlass.done (id, kind, status, run_at, attempts, fence, worker_id, started_at, finished_at)
    select id, kind, 'cancelled', run_at, attempts - 1, fence, worker_id, started_at, greatest(now(), started_at)
    from settled
    where cancel_requested
)
select id::text
from settled;

-- name: settled_before
-- Of some leases, those already settled, with the state the job went to and the failure recorded: an unknown commit is
-- sent again and must answer as before, and what a rescue wrote under the same fence must not be taken for it. A lease
-- that was followed by another and left no failure behind was released. The message changes nothing, and makes the answer
-- wait for a synchronous standby like the first one should have: that one's wait may have been cancelled.
select g.id::text, state.name, f.error, f.permanent
from unnest(%(ids)s::uuid[], %(fences)s::bigint[]) as g (id, fence)
left join windlass.failures as f on f.id = g.id and f.fence = g.fence
cross join lateral (
    select coalesce(
        (select d.status from windlass.done as d where d.id = g.id and d.fence = g.fence),
        (select 'ready' from windlass.ready as r where r.id = g.id and r.last_fence = g.fence),
        (
            select 'released'
            from (
                select fence from windlass.running where id = g.id
                union all
                select fence from windlass.done where id = g.id
                union all
                select last_fence from windlass.ready where id = g.id
            ) as latest
            where latest.fence > g.fence and f.error is null
        ))
) as state (name)
where (state.name is not null or f.error is not null)
    and pg_logical_emit_message(true, 'windlass', 'settled before') is not null;

-- name: report_progress
-- Keeps a running job's latest progress.
update windlass.running
set progress = %(progress)s::jsonb
where id = %(id)s::uuid and fence = %(fence)s::bigint and worker_id is not distinct from %(worker_id)s::bigint;

-- name: extend
-- Moves an HTTP lease's end to extend_ms from now, keeps the progress given with it, and answers whether cancel was
-- requested.
update windlass.running
set lease_expires_at = now() + %(extend_ms)s::bigint * interval '1 millisecond',
    progress = coalesce(%(progress)s::jsonb, progress)
where id = %(id)s::uuid and fence = %(fence)s::bigint and lease_expires_at is not null
returning cancel_requested;

-- name: leased
-- Jobs just claimed over HTTP, as their holder is told of them, in the order given and as many as fit into most_bytes of
-- payload, one at least. It stops reading there: a size is known only once the payload has been written out.
with recursive told as (
    select 1 as n, p.payload, octet_length(p.payload)::bigint as bytes
    from windlass.jobs as j
    cross join lateral (select j.payload::text) as p (payload)
    where j.id = (%(ids)s::uuid[])[1]
    union all
    select t.n + 1, p.payload, t.bytes + octet_length(p.payload)
    from told as t
    join windlass.jobs as j on j.id = (%(ids)s::uuid[])[t.n + 1]
    cross join lateral (select j.payload::text) as p (payload)
    where t.bytes < %(most_bytes)s
)
select
    u.id::text, u.queue, t.payload, u.attempts, j.max_attempts, windlass.rfc3339(u.run_at),
    windlass.rfc3339(u.lease_expires_at), u.priority, windlass.rfc3339(j.created_at), windlass.rfc3339(u.started_at), u.kind,
    (
        select f.error
        from windlass.failures as f
        where f.id = u.id and not f.cleared
        order by f.fence desc
        limit 1
    ),
    u.fence, greatest(extract(epoch from u.lease_expires_at - now()) * 1000, 0)::bigint, j.timeout_seconds
from told as t
join windlass.running as u on u.id = (%(ids)s::uuid[])[t.n] and u.fence = (%(fences)s::bigint[])[t.n]
join windlass.jobs as j on j.id = u.id
where u.lease_expires_at is not null
order by t.n;

-- name: live_lease
-- The fence of the HTTP lease a job is under now.
select fence from windlass.running where id = %(id)s::uuid and lease_expires_at is not null;

-- name: held
-- Of some jobs, those that run in a worker. By id, since reading all of running costs more with every dead row in it.
select id::text, kind, fence, worker_id, cancel_requested
from windlass.running
where id = any((select %(ids)s::uuid[])::uuid[]) and worker_id is not null;

-- name: held_by
-- All that these workers hold, read from end to end.
select id::text, kind, fence, worker_id, cancel_requested
from windlass.running
where worker_id = any(%(worker_ids)s::bigint[]);

-- name: rescue
-- Takes back leases whose holder is gone: of workers marked lost, and HTTP leases that ran out. It never waits for a
-- settle under way. The attempt stays counted, so a job that kills its worker is finite. Finding the jobs of workers means
-- reading all of running, dead rows too (80 ms at 600,000): done while somebody was lost in the last 15 s, or if thorough.
with run_out as materialized (
    select id
    from windlass.running
    where lease_expires_at < now() and (%(queue)s::text is null or queue = %(queue)s)
    order by lease_expires_at
    limit %(limit)s
    for update skip locked
),
orphaned as materialized (
    select r.id
    from windlass.running as r
    where %(workers_too)s
        and (%(thorough)s or exists (select from windlass.workers where lost_at > now() - interval '15 seconds'))
        and r.lease_expires_at is null and (%(queue)s::text is null or r.queue = %(queue)s)
        and not exists (select from windlass.workers as w where w.id = r.worker_id and w.lost_at is null)
    order by r.id
    limit %(limit)s
    for update of r skip locked
),
expired as (
    select id from run_out
    union all
    select id from orphaned
),
taken as (
    delete from windlass.running as r
    using expired as e
    where r.id = e.id
    returning r.*
),
judged as materialized (
    select
        t.*,
        case
            when t.attempts >= j.max_attempts then 'failed_permanent'
            when t.cancel_requested then 'cancelled'
            else 'retrying'
        end as status,
        case when t.lease_expires_at is null then 'worker lost: its heartbeat stopped' else 'lease expired' end as error
    from taken as t
    join windlass.jobs as j on j.id = t.id
),
recorded as (
    insert into windlass.failures (id, fence, attempt, error, worker_id)
    select id, fence, attempts, error, worker_id
    from judged
),
requeued as (
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    select id, queue, kind, priority, now(), attempts, fence
    from judged
    where status = 'retrying'
),
ended as (
    insert into windlass.done (id, kind, status, run_at, attempts, fence, worker_id, started_at, finished_at)
    select id, kind, status, run_at, attempts, fence, worker_id, started_at, greatest(now(), started_at)
    from judged
    where status <> 'retrying'
)
select id::text, status
from judged;
