-- oldest code: 1
-- Bounds that a client cannot get past by going around the API, or by asking for much at once.

-- Jobs as the API says them, in the order of `wanted`, until what they hold (payload, result, progress, error) comes to
-- `most_bytes`; at least one. `more`: whether there are others of `wanted` behind this one. It stops reading there, since
-- a size is known only once a document has been written out, and plans its statement once a session.
create function windlass.told(wanted uuid[], most_bytes bigint) returns table (job windlass.job_reading, more boolean)
language plpgsql stable set enable_seqscan = off as $$
declare
    bytes bigint := 0;
begin
    for n in 1 .. cardinality(wanted) loop
        exit when bytes >= most_bytes;
        select v.* into job from windlass.job_reading as v where v.id = wanted[n];
        continue when not found;
        bytes := bytes + octet_length(job.payload) + coalesce(octet_length(job.result), 0)
            + coalesce(octet_length(job.progress), 0) + coalesce(octet_length(job.last_error), 0);
        more := n < cardinality(wanted);
        return next;
    end loop;
end $$;

-- As migration 2 made it, and the payload may be no larger than a request over HTTP.
create or replace function windlass.enqueue(
    kind text,
    payload jsonb,
    queue text default 'default',
    priority integer default 0,
    run_at timestamptz default null,
    max_attempts integer default 3,
    timeout_seconds integer default 900,
    idempotency_key text default null
) returns uuid language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    job constant uuid := windlass.uuid7();
    asked text;
    made uuid;
    made_for text;
    wrong text;
begin
    wrong := case
        when enqueue.kind is null or enqueue.kind !~ '^(?!\.\.?$)[A-Za-z0-9._:-]{1,128}$'
            then 'kind: must be 1 to 128 of the characters A-Z a-z 0-9 . _ : - and neither . nor .. alone'
        when enqueue.payload is null
            then 'payload: must be given; for a JSON null write ''null''::jsonb'
        when octet_length(enqueue.payload::text) > 1048576
            then 'payload: must be at most 1048576 bytes as text; store what is larger elsewhere and enqueue where it is'
        when enqueue.queue is null or enqueue.queue !~ '^(?!\.\.?$)[A-Za-z0-9._:-]{1,128}$'
            then 'queue: must be 1 to 128 of the characters A-Z a-z 0-9 . _ : - and neither . nor .. alone'
        when enqueue.priority is null or enqueue.priority not between -32768 and 32767
            then 'priority: must be from -32768 to 32767'
        when enqueue.run_at < '1970-01-01Z' or enqueue.run_at >= '9001-01-01Z'
            then 'run_at: must lie in the years 1970 to 9000 in UTC'
        when enqueue.max_attempts is null or enqueue.max_attempts not between 1 and 100
            then 'max_attempts: must be from 1 to 100'
        when enqueue.timeout_seconds is null or enqueue.timeout_seconds not between 1 and 604800
            then 'timeout_seconds: must be from 1 to 604800'
        when enqueue.idempotency_key !~ '^[\x21-\x7e]{1,255}$'
            then 'idempotency_key: must be 1 to 255 visible ASCII characters'
    end;
    if wrong is not null then
        raise invalid_parameter_value using message = 'windlass.enqueue: ' || wrong;
    end if;

    if enqueue.idempotency_key is not null then
        asked := encode(sha256(convert_to(
            jsonb_build_array(
                'sql', enqueue.kind, enqueue.payload, enqueue.queue, enqueue.priority, windlass.rfc3339(enqueue.run_at),
                enqueue.max_attempts, enqueue.timeout_seconds)::text, 'UTF8')), 'hex');
        insert into windlass.idempotency_keys as o (key, job_id, request_hash, expires_at)
        values (enqueue.idempotency_key, job, asked, 'infinity')
        on conflict (key) do update set
            job_id = case when o.expires_at <= now() then excluded.job_id else o.job_id end,
            request_hash = case when o.expires_at <= now() then excluded.request_hash else o.request_hash end,
            expires_at = case when o.expires_at <= now() then excluded.expires_at else o.expires_at end
        returning o.job_id, o.request_hash into made, made_for;
        if made_for <> asked then
            raise unique_violation using
                message = 'windlass.enqueue: idempotency_key: was used with a different request',
                detail = 'it made the job ' || made;
        end if;
        if made <> job then
            return made;
        end if;
    end if;

    insert into windlass.jobs (id, queue, kind, priority, max_attempts, timeout_seconds, payload, idempotency_key)
    values (
        job, enqueue.queue, enqueue.kind, enqueue.priority, enqueue.max_attempts, enqueue.timeout_seconds,
        enqueue.payload, enqueue.idempotency_key);
    insert into windlass.ready (id, queue, kind, priority, run_at, attempts, last_fence)
    values (job, enqueue.queue, enqueue.kind, enqueue.priority, coalesce(enqueue.run_at, now()), 0, 0);
    return job;
end $$;
