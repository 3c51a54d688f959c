-- name: ping
-- Whether the database answers at all.
select 1;

-- name: unfinished
-- Of each queue what has not ended, from one reading of ready and running, never of history. With a limit it reads no
-- more rows of each than that; without, 10 million ready jobs take 1.3 s.
with waiting as (
    select
        queue,
        count(*) as jobs,
        count(*) filter (where attempts > 0) as retrying,
        count(*) filter (where run_at <= now()) as due,
        min(run_at) as first
    from (select queue, attempts, run_at from windlass.ready limit %(limit)s) as r
    group by queue
),
held as (
    select queue, count(*) as jobs, count(lease_expires_at) as leased
    from (select queue, lease_expires_at from windlass.running limit %(limit)s) as r
    group by queue
)
select
    queue, coalesce(w.due, 0), coalesce(w.jobs - w.retrying, 0), coalesce(w.retrying, 0), coalesce(h.jobs, 0),
    coalesce(h.leased, 0), case when w.first <= now() then extract(epoch from now() - w.first)::float8 end
from waiting as w
full join held as h using (queue)
order by queue;
