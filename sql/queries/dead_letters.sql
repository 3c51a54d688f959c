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

-- name: redrive_matching
-- The same for the dead letters of a queue that pass a filter, oldest death first; and how many pass it.
with matching as materialized (
    select d.id
    from windlass.done as d
    join windlass.jobs as j on j.id = d.id
    where d.status = 'failed_permanent' and j.queue = %(queue)s
        and (%(kind)s::text is null or d.kind = %(kind)s)
        and (%(error_contains)s::text is null or strpos(
            (select f.error from windlass.failures as f where f.id = d.id and not f.cleared order by f.fence desc limit 1),
            %(error_contains)s) > 0)
),
chosen as materialized (
    select d.id
    from windlass.done as d
    join matching as m on m.id = d.id
    where d.status = 'failed_permanent'
    order by d.finished_at, d.id
    limit %(limit)s
    for update of d skip locked
),
redriven as (
    delete from windlass.done as d
    using chosen as c
    where d.id = c.id
    returning d.id, d.fence
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
select (select count(*) from matching), (select count(*) from requeued);

-- name: page
-- The dead letters of a queue, newest death first.
select v.*
from (
    select d.id, d.finished_at
    from windlass.done as d
    join windlass.jobs as j on j.id = d.id
    where d.status = 'failed_permanent' and j.queue = %(queue)s
    order by d.finished_at desc, d.id desc
    limit %(limit)s
) as p
join windlass.job_reading as v on v.id = p.id
order by p.finished_at desc, p.id desc;
