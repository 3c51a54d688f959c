-- name: enqueue
-- Creates jobs, or finds those a live idempotency key already made. One decision per key, by now() and the unique key:
-- a loser of a race waits for the winner's row and then sees its id. The update writes even when it changes nothing, so
-- that a replay waits for a synchronous standby like the first answer did. Keys are taken in order: no lock cycles.
with item as materialized (
    select windlass.uuid7() as id, given.*
    from unnest(
        %(queues)s::text[], %(kinds)s::text[], %(priorities)s::smallint[], %(max_attempts)s::smallint[],
        %(timeouts)s::integer[], %(payloads)s::jsonb[], %(run_ats)s::timestamptz[], %(keys)s::text[],
        %(hashes)s::text[], %(windows)s::integer[]
    ) with ordinality as given (
        queue, kind, priority, max_attempts, timeout_seconds, payload, run_at, key, hash, key_seconds, n)
),
keyed as (
    insert into windlass.idempotency_keys as o (key, job_id, request_hash, expires_at)
    select key, id, hash, coalesce(now() + make_interval(secs => key_seconds), 'infinity')
    from item
    where key is not null
    order by key
    on conflict (key) do update set
        job_id = case when o.expires_at <= now() then excluded.job_id else o.job_id end,
        request_hash = case when o.expires_at <= now() then excluded.request_hash else o.request_hash end,
        expires_at = case when o.expires_at <= now() then excluded.expires_at else o.expires_at end
    returning key, job_id, request_hash
),
decided as materialized (
    select
        i.*,
        coalesce(k.job_id, i.id) as job_id,
        k.job_id is null or k.job_id = i.id as created,
        k.job_id is null or k.request_hash = i.hash as same_request
    from item as i
    left join keyed as k on k.key = i.key
),
stored as (
    insert into windlass.jobs (id, queue, kind, priority, max_attempts, timeout_seconds, payload, idempotency_key)
    select id, queue, kind, priority, max_attempts, timeout_seconds, payload, key
    from decided
    where created
),
queued as (
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    select id, queue, kind, priority, coalesce(run_at, now()), 0, 0
    from decided
    where created
)
select job_id::text, created, same_request
from decided
order by n;

-- name: enqueue_shown
-- The same; and of jobs it creates what only the database knows, so that nobody has to read them back.
-- with: enqueue
select
    job_id::text,
    created,
    same_request,
    case when created then payload::text end,
    coalesce(windlass.rfc3339(run_at), (select windlass.rfc3339(now()))),
    (select windlass.rfc3339(now()))
from decided
order by n;

-- name: enqueue_one
-- Creates one job without a key; what it is and why is said in migration 4. Answers as enqueue_shown.
select id::text, stored_payload, due_at, created_at
from windlass.enqueue_one(
    %(queue)s, %(kind)s, (%(priority)s)::smallint, (%(max_attempts)s)::smallint, (%(timeout)s)::integer, %(payload)s,
    %(run_at)s);

-- name: find
-- One job, by a function that is planned once a session (migration 4).
select v.*
from windlass.job(%(id)s::uuid) as v;

-- name: find_many
-- Jobs by id, in the order given, as far as they fit.
select (t.job).*, t.more
from windlass.told(%(ids)s::uuid[], %(most_bytes)s) as t;

-- name: exists
-- Whether there is such a job.
select exists (select from windlass.jobs where id = %(id)s::uuid);

-- name: page_all
-- Newest first, of any status.
select (t.job).*, t.more
from windlass.told(array(
    select id
    from windlass.jobs
    where (%(kind)s::text is null or kind = %(kind)s)
        and (%(before)s::uuid is null or id < %(before)s::uuid)
    order by id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: page_all_of_queue
-- Newest first, of any status and one queue: the newest of each of its kinds, which the walk finds from kind to kind.
with recursive kinds as (
    (
        select kind
        from windlass.jobs
        where queue = %(queue)s and (%(kind)s::text is null or kind = %(kind)s)
        order by kind
        limit 1
    )
    union all
    select n.kind
    from kinds as k
    cross join lateral (
        select j.kind
        from windlass.jobs as j
        where j.queue = %(queue)s and j.kind > k.kind and %(kind)s::text is null
        order by j.kind
        limit 1
    ) as n
)
select (t.job).*, t.more
from windlass.told(array(
    select newest.id
    from kinds as k
    cross join lateral (
        select id
        from windlass.jobs
        where queue = %(queue)s and kind = k.kind and (%(before)s::uuid is null or id < %(before)s::uuid)
        order by id desc
        limit %(limit)s::bigint + %(offset)s
    ) as newest
    order by newest.id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: page_done
-- Newest first, of one terminal status, listed from the table that holds it: through the view it took 150 ms and more.
select (t.job).*, t.more
from windlass.told(array(
    select d.id
    from windlass.done as d
    where d.status = %(status)s
        and (%(kind)s::text is null or d.kind = %(kind)s)
        and (%(before)s::uuid is null or d.id < %(before)s::uuid)
    order by d.id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: page_done_of_queue
-- Newest first, of one terminal status and one queue, again from kind to kind: within one, both indexes have ids in order.
-- The kind comes from the walk even when it is given: told its value, the planner filtered all that failed (15 s).
with recursive kinds as (
    (
        select kind
        from windlass.jobs
        where queue = %(queue)s and (%(kind)s::text is null or kind = %(kind)s)
        order by kind
        limit 1
    )
    union all
    select n.kind
    from kinds as k
    cross join lateral (
        select j.kind
        from windlass.jobs as j
        where j.queue = %(queue)s and j.kind > k.kind and %(kind)s::text is null
        order by j.kind
        limit 1
    ) as n
)
select (t.job).*, t.more
from windlass.told(array(
    select newest.id
    from kinds as k
    cross join lateral (
        select j.id
        from windlass.jobs as j
        join windlass.done as d on d.id = j.id
        where j.queue = %(queue)s and j.kind = k.kind and d.kind = k.kind and d.status = %(status)s
            and (%(before)s::uuid is null or (j.id < %(before)s::uuid and d.id < %(before)s::uuid))
        order by j.id desc
        limit %(limit)s::bigint + %(offset)s
    ) as newest
    order by newest.id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: page_running
-- Newest first, of those running.
select (t.job).*, t.more
from windlass.told(array(
    select id
    from windlass.running
    where (%(kind)s::text is null or kind = %(kind)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(before)s::uuid is null or id < %(before)s::uuid)
    order by id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: page_queued
-- Newest first, of those waiting for their first attempt.
select (t.job).*, t.more
from windlass.told(array(
    select id
    from windlass.ready
    where attempts = 0
        and (%(kind)s::text is null or kind = %(kind)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(before)s::uuid is null or id < %(before)s::uuid)
    order by id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: page_retrying
-- Newest first, of those waiting for another attempt.
select (t.job).*, t.more
from windlass.told(array(
    select id
    from windlass.ready
    where attempts > 0
        and (%(kind)s::text is null or kind = %(kind)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(before)s::uuid is null or id < %(before)s::uuid)
    order by id desc
    limit %(limit)s offset %(offset)s
), %(most_bytes)s) as t;

-- name: cancel
-- Ends a waiting job, flags a running one. One statement has one snapshot: a job that moves between ready and running
-- meanwhile is seen in neither, so the caller repeats it while the first column is null and the second true (5 % under load).
with taken as (
    delete from windlass.ready where id = %(id)s::uuid returning *
),
ended as (
    insert into windlass.done (id, kind, status, run_at, attempts, fence)
    select id, kind, 'cancelled', run_at, attempts, last_fence
    from taken
    returning id
),
flagged as (
    update windlass.running set cancel_requested = true where id = %(id)s::uuid returning id
)
select
    coalesce(
        (select 'cancelled' from ended),
        (select 'flagged' from flagged),
        (select 'terminal' from windlass.done where id = %(id)s::uuid)),
    exists (select from windlass.jobs where id = %(id)s::uuid);
