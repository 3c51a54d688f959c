-- oldest code: 1
-- One new job without a key, stored by a function: the server plans what is in it once a session. As a statement of its
-- own the same two inserts took 290 µs of the server's processor and the statement for many 460; so they take 220. Whoever
-- may insert may call it: it runs with its caller's rights, and makes no checks but those of the tables.
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
