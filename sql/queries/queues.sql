-- name: pause
-- From now on the queue hands out nothing. A row, so it outlives every process.
insert into windlass.queues (name, paused_at)
values (%(queue)s, now())
on conflict (name) do update set paused_at = coalesce(windlass.queues.paused_at, excluded.paused_at);

-- name: resume
-- The queue hands out again. Answers how many of its jobs are due, at most so many as are worth a wake-up.
with resumed as (
    update windlass.queues set paused_at = null where name = %(queue)s
)
select count(*)
from (
    select from windlass.ready where queue = %(queue)s and run_at <= now() limit %(limit)s
) as due;

-- name: depth
-- How many jobs of a queue could be claimed now if it is not paused.
select count(*) from windlass.ready where queue = %(queue)s and run_at <= now();

-- name: overview
-- Every queue that holds unfinished jobs or is paused. Counts only ready and running, never history.
with waiting as (
    select
        queue,
        count(*) filter (where run_at <= now()) as depth,
        count(*) filter (where attempts = 0) as queued,
        count(*) filter (where attempts > 0) as retrying,
        extract(epoch from now() - min(run_at) filter (where run_at <= now()))::float8 as oldest_ready_seconds
    from windlass.ready
    group by queue
),
held as (
    select queue, count(*) as running from windlass.running group by queue
),
paused as (
    select name as queue, paused_at from windlass.queues where paused_at is not null
)
select
    queue, coalesce(w.depth, 0), coalesce(w.queued, 0), coalesce(w.retrying, 0), coalesce(h.running, 0),
    w.oldest_ready_seconds, windlass.rfc3339(p.paused_at)
from waiting as w
full join held as h using (queue)
full join paused as p using (queue)
order by queue
limit %(limit)s;
