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
-- How many jobs of a queue could be claimed now if it is not paused, and how many of it were looked at for that.
select count(*) filter (where run_at <= now()), count(*)
from (select run_at from windlass.ready where queue = %(queue)s limit %(limit)s) as r;

-- name: waiting
-- How many jobs of a queue wait, due or not; it counts no further than the limit.
select count(*)
from (select from windlass.ready where queue = %(queue)s limit %(limit)s) as r;

-- name: paused
-- The queues that hand out nothing, and since when.
select name, windlass.rfc3339(paused_at) from windlass.queues where paused_at is not null;
