-- name: register
-- A row for a new incarnation; its id is the worker's identity.
insert into windlass.workers (name, host, pid, pool, slot, lease_seconds)
values (%(name)s, %(host)s, %(pid)s, %(pool)s, %(slot)s, %(lease_seconds)s)
returning id;

-- name: beat
-- Keeps workers alive; those not answered are lost.
update windlass.workers
set heartbeat_at = now()
where id = any(%(ids)s::bigint[]) and lost_at is null
returning id;

-- name: mark_lost
-- Workers not beaten for their own lease have lost their jobs. Not within one lease of a server start: an outage kept
-- every steward from beating, and must not turn into duplicates.
update windlass.workers
set lost_at = now()
where lost_at is null
    and heartbeat_at < now() - make_interval(secs => lease_seconds)
    and pg_postmaster_start_time() < now() - make_interval(secs => lease_seconds)
returning id;

-- name: lose
-- Marks workers whose process is known to be gone.
update windlass.workers
set lost_at = now()
where id = any(%(ids)s::bigint[]) and lost_at is null;

-- name: forget
-- Removes rows of workers that were lost long ago and hold nothing.
delete from windlass.workers as w
where w.id in (
    select o.id
    from windlass.workers as o
    where o.lost_at < now() - make_interval(secs => %(seconds)s)
        and not exists (select from windlass.running as r where r.worker_id = o.id)
    order by o.id
    limit %(limit)s
);
