-- oldest code: 1
-- What a worker says all the time, in functions too. The server plans their statements once a session: a claim of one job
-- takes 0.34 ms instead of 0.6. The plan stays while the tables fill and empty, so it may be none that fits only some size
-- of them: without a sequential scan to choose, all that is left are the indexes made for this. Where the planner chose, a
-- claim or an ack could read a whole table, dead rows too (31 ms for 500 jobs at 20,000). Both run with their caller's
-- rights.

-- Takes due jobs of one queue under a lease: out of ready, into running, with a fresh fence and the attempt counted.
-- One LATERAL pick per stream (equality on all leading columns; an ordered scan over all priorities took 12 to 129 ms,
-- this 1.4) locks only what it returns. The fence comes from the delete's RETURNING and that one CTE is joined to jobs:
-- two CTEs joined to each other become a quadratic loop. A worker's lease is its heartbeat; an HTTP holder has lease_ms
-- instead of a worker id, and is told the payloads by `leased`.
create function windlass.claim(
    from_queue text,
    kinds text[],
    priorities smallint[],
    after_run_ats timestamptz[],
    after_ids uuid[],
    most bigint,
    holder bigint,
    lease_ms bigint
) returns table (
    id uuid,
    kind text,
    payload text,
    attempt integer,
    fence bigint,
    max_attempts smallint,
    timeout_seconds integer,
    waited_seconds float8,
    run_at timestamptz,
    priority smallint
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with picked as materialized (
        select r.ctid
        from unnest(kinds, priorities, after_run_ats, after_ids)
            with ordinality as s (kind, priority, after_run_at, after_id, n)
        cross join lateral (
            select ctid
            from windlass.ready
            where queue = from_queue and kind = s.kind and priority = s.priority and run_at <= now()
                and (run_at, id) > (s.after_run_at, s.after_id)
            order by run_at, id
            limit most
            for update skip locked
        ) as r
        where not exists (select from windlass.queues as q where q.name = from_queue and q.paused_at is not null)
        limit most
    ),
    claimed as (
        delete from windlass.ready as r
        where r.ctid = any(array(select ctid from picked))
        returning r.*, nextval('windlass.fence') as fence
    ),
    started as (
        insert into windlass.running (id, queue, kind, priority, run_at, attempts, fence, worker_id, lease_expires_at)
        select
            id, queue, kind, priority, run_at, attempts + 1, fence, holder, now() + lease_ms * interval '1 millisecond'
        from claimed
    )
    select
        c.id, c.kind, j.payload, c.attempts + 1, c.fence, j.max_attempts, j.timeout_seconds,
        greatest(date_part('epoch', now() - c.run_at), 0), c.run_at, c.priority
    from claimed as c
    cross join lateral (
        select case when lease_ms is null then payload::text else '' end as payload, max_attempts, timeout_seconds
        from windlass.jobs
        where id = c.id
        offset 0
    ) as j
    order by c.priority desc, c.run_at, c.id;
end $$;

-- Settles as succeeded. Names id and fence, and the worker: no row means that the lease is lost. The results come as one
-- document by fence, since a join with the rows deleted is quadratic where the planner expects one of them.
create function windlass.ack(ids uuid[], fences bigint[], holder bigint, results jsonb) returns setof uuid
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with given as materialized (
        select * from unnest(ids, fences) as g (id, fence)
    ),
    settled as (
        delete from windlass.running
        where id = any(ids)
            and case when (id, fence) in (select id, fence from given) then true end
            and worker_id is not distinct from holder
        returning *
    )
    insert into windlass.done (id, kind, status, run_at, attempts, fence, worker_id, started_at, finished_at, result)
    select
        id, kind, 'succeeded', run_at, attempts, fence, worker_id, started_at, greatest(now(), started_at),
        results -> fence::text
    from settled
    returning id;
end $$;
