-- name: prune_done
-- Deletes some jobs that ended before the retention, with all that hangs on them. Ids are ordered by creation, so the
-- oldest are found by the primary key.
with gone as (
    delete from windlass.done
    where id in (
        select id
        from windlass.done
        where id < windlass.uuid7_floor(now() - make_interval(days => %(days)s))
            and finished_at < now() - make_interval(days => %(days)s)
        order by id
        limit %(limit)s
    )
    returning id
),
jobs as (
    delete from windlass.jobs as j using gone as g where j.id = g.id returning j.id, j.idempotency_key
),
failures as (
    delete from windlass.failures as f using gone as g where f.id = g.id
),
keys as (
    delete from windlass.idempotency_keys as k using jobs as j where k.key = j.idempotency_key and k.job_id = j.id
)
select count(*) from jobs;

-- name: prune_keys
-- Deletes some idempotency keys whose window has ended.
delete from windlass.idempotency_keys
where key in (
    select key from windlass.idempotency_keys where expires_at <= now() and expires_at < 'infinity' limit %(limit)s
);
