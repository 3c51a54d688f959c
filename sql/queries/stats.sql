-- name: depths
-- Jobs that have not ended, by queue and status. Counts only ready and running, never history.
select queue, case when attempts > 0 then 'retrying' else 'queued' end as status, count(*)
from windlass.ready
group by 1, 2
union all
select queue, 'running', count(*)
from windlass.running
group by 1
order by 1, 2;

-- name: oldest_ready
-- How long each queue's oldest due job has waited. Walks from stream to stream, so scheduled work costs nothing.
with recursive walk as (
    (select queue, kind, priority from windlass.ready order by queue, kind, priority limit 1)
    union all
    select n.queue, n.kind, n.priority
    from walk as w
    cross join lateral (
        select r.queue, r.kind, r.priority
        from windlass.ready as r
        where (r.queue, r.kind, r.priority) > (w.queue, w.kind, w.priority)
        order by r.queue, r.kind, r.priority
        limit 1
    ) as n
)
select w.queue, max(extract(epoch from now() - first.run_at))::float8
from walk as w
cross join lateral (
    select r.run_at
    from windlass.ready as r
    where r.queue = w.queue and r.kind = w.kind and r.priority = w.priority
    order by r.run_at, r.id
    limit 1
) as first
where first.run_at <= now()
group by w.queue
order by w.queue;

-- name: ping
-- Whether the database answers at all.
select 1;

-- name: inflight_leases
-- Jobs leased over HTTP now.
select count(*) from windlass.running where lease_expires_at is not null;
