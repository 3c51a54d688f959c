-- What the migrations amount to. Made by `python -m sql.schema_dump`; a test compares it. Never run or edited:
-- the schema is changed by a new file in sql/migrations.

CREATE SCHEMA windlass;

CREATE FUNCTION windlass.ack(ids uuid[], fences bigint[], holder bigint, results jsonb) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE FUNCTION windlass.claim(from_queue text, kinds text[], priorities smallint[], after_run_ats timestamp with time zone[], after_ids uuid[], most bigint, holder bigint, lease_ms bigint) RETURNS TABLE(id uuid, kind text, payload text, attempt integer, fence bigint, max_attempts smallint, timeout_seconds integer, waited_seconds double precision, run_at timestamp with time zone, priority smallint)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE FUNCTION windlass.enqueue(kind text, payload jsonb, queue text DEFAULT 'default'::text, priority integer DEFAULT 0, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT 3, timeout_seconds integer DEFAULT 900, idempotency_key text DEFAULT NULL::text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION windlass.enqueue_one(queue text, kind text, priority smallint, max_attempts smallint, timeout_seconds integer, payload jsonb, run_at timestamp with time zone, OUT id uuid, OUT stored_payload text, OUT due_at text, OUT created_at text) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION windlass.rfc3339(t timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN to_char((t AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text);

CREATE TABLE windlass.done (
    id uuid NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    fence bigint NOT NULL,
    worker_id bigint,
    attempts smallint NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    result jsonb,
    CONSTRAINT attempts_range CHECK (((attempts >= 0) AND (attempts <= 100))),
    CONSTRAINT finished_after_started CHECK ((finished_at >= started_at)),
    CONSTRAINT only_cancelled_unstarted CHECK ((((started_at IS NOT NULL) AND (attempts > 0)) OR (status = 'cancelled'::text))),
    CONSTRAINT only_succeeded_has_result CHECK (((result IS NULL) OR (status = 'succeeded'::text))),
    CONSTRAINT status_is_an_end CHECK ((status = ANY (ARRAY['succeeded'::text, 'failed_permanent'::text, 'cancelled'::text])))
);

CREATE TABLE windlass.failures (
    id uuid NOT NULL,
    fence bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    worker_id bigint,
    attempt smallint NOT NULL,
    cleared boolean DEFAULT false NOT NULL,
    error text NOT NULL,
    permanent boolean,
    CONSTRAINT attempt_range CHECK (((attempt >= 1) AND (attempt <= 100)))
);

CREATE TABLE windlass.jobs (
    id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    timeout_seconds integer NOT NULL,
    priority smallint NOT NULL,
    max_attempts smallint NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    idempotency_key text,
    payload jsonb NOT NULL,
    CONSTRAINT idempotency_key_length CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    CONSTRAINT kind_length CHECK (((length(kind) >= 1) AND (length(kind) <= 128))),
    CONSTRAINT max_attempts_range CHECK (((max_attempts >= 1) AND (max_attempts <= 100))),
    CONSTRAINT queue_length CHECK (((length(queue) >= 1) AND (length(queue) <= 128))),
    CONSTRAINT timeout_range CHECK (((timeout_seconds >= 1) AND (timeout_seconds <= 604800)))
);

CREATE TABLE windlass.ready (
    id uuid NOT NULL,
    run_at timestamp with time zone NOT NULL,
    entered_at timestamp with time zone DEFAULT now() NOT NULL,
    last_fence bigint NOT NULL,
    priority smallint NOT NULL,
    attempts smallint NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    CONSTRAINT attempts_range CHECK (((attempts >= 0) AND (attempts <= 99))),
    CONSTRAINT run_at_range CHECK (((run_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (run_at < '9001-01-01 00:00:00+00'::timestamp with time zone)))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE windlass.running (
    id uuid NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    lease_expires_at timestamp with time zone,
    fence bigint NOT NULL,
    worker_id bigint,
    priority smallint NOT NULL,
    attempts smallint NOT NULL,
    cancel_requested boolean DEFAULT false NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    progress jsonb,
    CONSTRAINT attempts_range CHECK (((attempts >= 1) AND (attempts <= 100))),
    CONSTRAINT one_kind_of_lease CHECK (((worker_id IS NULL) <> (lease_expires_at IS NULL)))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_cost_delay='0');

CREATE VIEW windlass.job_view AS
 SELECT j.id,
    j.queue,
    j.kind,
    j.priority,
        CASE
            WHEN (d.id IS NOT NULL) THEN d.status
            WHEN (u.id IS NOT NULL) THEN 'running'::text
            WHEN (r.attempts > 0) THEN 'retrying'::text
            WHEN (r.id IS NOT NULL) THEN 'queued'::text
            ELSE NULL::text
        END AS status,
    COALESCE(d.attempts, u.attempts, r.attempts) AS attempts,
    j.max_attempts,
    ( SELECT f.error
           FROM windlass.failures f
          WHERE ((f.id = j.id) AND (NOT f.cleared))
          ORDER BY f.fence DESC
         LIMIT 1) AS last_error,
    COALESCE(d.run_at, u.run_at, r.run_at) AS run_at,
    j.created_at,
    COALESCE(d.finished_at, u.started_at, r.entered_at) AS updated_at,
    COALESCE(d.started_at, u.started_at) AS started_at,
    d.finished_at,
    COALESCE(u.cancel_requested, false) AS cancel_requested,
    u.progress,
    d.result,
    j.payload,
    j.timeout_seconds,
    j.idempotency_key,
    COALESCE(d.fence, u.fence, r.last_fence) AS fence,
    COALESCE(d.worker_id, u.worker_id) AS worker_id,
    u.lease_expires_at
   FROM (((windlass.jobs j
     LEFT JOIN windlass.done d ON ((d.id = j.id)))
     LEFT JOIN windlass.running u ON ((u.id = j.id)))
     LEFT JOIN windlass.ready r ON ((r.id = j.id)));

CREATE VIEW windlass.job_reading AS
 SELECT id,
    kind,
    status,
    attempts,
    max_attempts,
    last_error,
    (payload)::text AS payload,
    windlass.rfc3339(run_at) AS run_at,
    idempotency_key,
    windlass.rfc3339(created_at) AS created_at,
    windlass.rfc3339(updated_at) AS updated_at,
    queue,
    priority,
    cancel_requested,
    (result)::text AS result,
    (progress)::text AS progress,
    windlass.rfc3339(started_at) AS started_at,
    windlass.rfc3339(finished_at) AS finished_at,
    timeout_seconds
   FROM windlass.job_view;

CREATE FUNCTION windlass.job(wanted uuid) RETURNS SETOF windlass.job_reading
    LANGUAGE plpgsql STABLE
    SET enable_seqscan TO 'off'
    AS $$
begin
    return query select v.* from windlass.job_reading as v where v.id = wanted;
end $$;

CREATE FUNCTION windlass.told(wanted uuid[], most_bytes bigint) RETURNS TABLE(job windlass.job_reading, more boolean)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE FUNCTION windlass.uuid7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    RETURN uuidv7();

CREATE FUNCTION windlass.uuid7_floor(t timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (encode((SUBSTRING(int8send((GREATEST(floor((EXTRACT(epoch FROM t) * (1000)::numeric)), (0)::numeric))::bigint) FROM 3) || '\x70008000000000000000'::bytea), 'hex'::text))::uuid;

CREATE SEQUENCE windlass.fence
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE windlass.idempotency_keys (
    key text NOT NULL,
    job_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    request_hash text NOT NULL,
    CONSTRAINT key_length CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

CREATE TABLE windlass.queues (
    name text NOT NULL,
    paused_at timestamp with time zone,
    CONSTRAINT name_length CHECK (((length(name) >= 1) AND (length(name) <= 128)))
);

CREATE TABLE windlass.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    oldest_code integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT oldest_code_range CHECK (((oldest_code >= 0) AND (oldest_code <= version)))
);

CREATE TABLE windlass.tokens (
    id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    name text NOT NULL,
    scopes text[] NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK ((octet_length(digest) = 32)),
    CONSTRAINT known_scopes CHECK (((cardinality(scopes) > 0) AND (scopes <@ ARRAY['enqueue'::text, 'read'::text, 'work'::text, 'admin'::text]))),
    CONSTRAINT name_shape CHECK ((name ~ '^[A-Za-z][A-Za-z0-9._:-]{0,127}$'::text))
);

ALTER TABLE windlass.tokens ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME windlass.tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE windlass.workers (
    id bigint NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT now() NOT NULL,
    lost_at timestamp with time zone,
    lease_seconds real NOT NULL,
    pid integer NOT NULL,
    slot smallint NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    pool text NOT NULL
);

ALTER TABLE windlass.workers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME windlass.workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY windlass.done
    ADD CONSTRAINT done_pkey PRIMARY KEY (id);

ALTER TABLE ONLY windlass.failures
    ADD CONSTRAINT failures_pkey PRIMARY KEY (id, fence);

ALTER TABLE ONLY windlass.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key);

ALTER TABLE ONLY windlass.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY windlass.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (name);

ALTER TABLE ONLY windlass.running
    ADD CONSTRAINT running_pkey PRIMARY KEY (id);

ALTER TABLE ONLY windlass.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY windlass.tokens
    ADD CONSTRAINT tokens_digest_key UNIQUE (digest);

ALTER TABLE ONLY windlass.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY windlass.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX done_cancelled ON windlass.done USING btree (id) WHERE (status = 'cancelled'::text);

CREATE INDEX done_died ON windlass.done USING btree (finished_at, id) WHERE (status = 'failed_permanent'::text);

CREATE INDEX done_failed ON windlass.done USING btree (id) WHERE (status = 'failed_permanent'::text);

CREATE INDEX done_kind_status ON windlass.done USING btree (kind, status, id);

CREATE INDEX idempotency_keys_expiry ON windlass.idempotency_keys USING btree (expires_at) WHERE (expires_at < 'infinity'::timestamp with time zone);

CREATE INDEX jobs_kind ON windlass.jobs USING btree (kind, id);

CREATE INDEX jobs_queue ON windlass.jobs USING btree (queue, kind, id);

CREATE UNIQUE INDEX ready_id ON windlass.ready USING btree (id);

CREATE INDEX ready_order ON windlass.ready USING btree (queue, kind, priority, run_at, id);

CREATE INDEX ready_retrying ON windlass.ready USING btree (id) WHERE (attempts > 0);

CREATE INDEX running_lease_end ON windlass.running USING btree (lease_expires_at) WHERE (lease_expires_at IS NOT NULL);
