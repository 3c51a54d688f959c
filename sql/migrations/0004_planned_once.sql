-- oldest code: 1
-- What the API does most, in functions: the server plans a function's statements once a session, and to plan these took
-- longer than to run them. Both run with their caller's rights.

-- One new job without a key, without checks but those of the tables. In a statement of their own the two inserts took
-- 290 µs of the server's processor, in the statement for many 460, and here 220.
create function windlass.enqueue_one(
    queue text,
    kind text,
    priority smallint,
    max_attempts smallint,
    timeout_seconds integer,
    payload jsonb,
    run_at timestamptz,
    out id uuid,
    out stored_payload text,
    out due_at text,
    out created_at text
) language plpgsql volatile as $$
begin
    id := windlass.uuid7();
    insert into windlass.jobs (id, queue, kind, priority, max_attempts, timeout_seconds, payload)
    values (
        enqueue_one.id, enqueue_one.queue, enqueue_one.kind, enqueue_one.priority, enqueue_one.max_attempts,
        enqueue_one.timeout_seconds, enqueue_one.payload);
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    values (
        enqueue_one.id, enqueue_one.queue, enqueue_one.kind, enqueue_one.priority, coalesce(enqueue_one.run_at, now()),
        0, 0);
    stored_payload := payload::text;
    created_at := windlass.rfc3339(now());
    due_at := coalesce(windlass.rfc3339(run_at), created_at);
end $$;

-- One job: 110 µs where the search in the view took 290. The plan stays when the tables grow, so it may not be one that
-- only fits empty tables.
create function windlass.job(wanted uuid) returns setof windlass.job_reading
language plpgsql stable set enable_seqscan = off as $$
begin
    return query select v.* from windlass.job_reading as v where v.id = wanted;
end $$;
