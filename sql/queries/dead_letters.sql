-- name: redrive
-- Ended jobs start over: attempts 0, due now, their errors cleared but kept as history. What somebody else is moving at
-- this moment is left alone.
with chosen as materialized (
    select id
    from windlass.done
    where id = any(%(ids)s::uuid[]) and status = any(%(statuses)s::text[])
    for update skip locked
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
select id::text from requeued;

-- name: matching
-- How many dead letters of a queue pass a filter, and the first so many of them, oldest death first.
with matching as materialized (
    select d.id, d.finished_at
    from windlass.done as d
    join windlass.jobs as j on j.id = d.id
    where d.status = 'failed_permanent' and j.queue = %(queue)s
        and (%(kind)s::text is null or d.kind = %(kind)s)
        and (%(error_contains)s::text is null or strpos(
            (select f.error from windlass.failures as f where f.id = d.id and not f.cleared order by f.fence desc limit 1),
            %(error_contains)s) > 0)
)
select
    (select count(*) from matching),
    array(select id::text from matching order by finished_at, id limit %(limit)s);

-- name: page
-- The dead letters of a queue, newest death first, those that died before a time and id.
select (t.job).*, t.more
from windlass.told(array(
    select d.id
    from windlass.done as d
    join windlass.jobs as j on j.id = d.id
    where d.status = 'failed_permanent' and j.queue = %(queue)s
        and (%(before_at)s::timestamptz is null
            or (d.finished_at, d.id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
    order by d.finished_at desc, d.id desc
    limit %(limit)s
), %(most_bytes)s) as t;
