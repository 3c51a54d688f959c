-- name: prune_done
-- Deletes some jobs that ended before the retention, with all that hangs on them. Ids are ordered by creation, so the
-- oldest are found by the primary key. What another steward deletes, or somebody redrives, is passed over; keys are locked
-- in the order in which enqueue takes them: no lock cycles.
with old as materialized (
    select id
    from windlass.done
    where id < windlass.uuid7_floor(now() - make_interval(days => %(days)s))
        and finished_at < now() - make_interval(days => %(days)s)
    order by id
    limit %(limit)s
    for update skip locked
),
gone as (
    delete from windlass.done as d using old as o where d.id = o.id returning d.id
),
jobs as (
    delete from windlass.jobs as j using gone as g where j.id = g.id returning j.id, j.idempotency_key
),
failures as (
    delete from windlass.failures as f using gone as g where f.id = g.id
),
used as materialized (
    select k.key, k.job_id
    from windlass.idempotency_keys as k
    join jobs as j on k.key = j.idempotency_key and k.job_id = j.id
    order by k.key
    for update of k
),
keys as (
    delete from windlass.idempotency_keys as k using used as u where k.key = u.key and k.job_id = u.job_id
)
select count(*) from jobs;

-- name: prune_keys
-- Deletes some idempotency keys whose window has ended. Locked first: a delete that waited for an enqueue would take the
-- key though it was just given a new window.
with ended as materialized (
    select key
    from windlass.idempotency_keys
    where expires_at <= now() and expires_at < 'infinity'
    limit %(limit)s
    for update skip locked
)
delete from windlass.idempotency_keys as k using ended as e where k.key = e.key;
