-- name: redrive
-- Ended jobs start over: attempts 0, due now, their errors cleared but kept as history.
with redriven as (
    delete from windlass.done
    where id = any(%(ids)s::uuid[]) and status = any(%(statuses)s::text[])
    returning id, fence
),
cleared as (
    update windlass.failures as f
    set cleared = true
    from redriven as r
    where f.id = r.id and not f.cleared
),
requeued as (
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    select j.id, j.queue, j.kind, j.priority, now(), 0, r.fence
    from redriven as r
    join windlass.jobs as j on j.id = r.id
    returning id
)
select id::text from requeued;

-- name: exists
-- Whether there is such a job.
select exists (select from windlass.jobs where id = %(id)s::uuid);
