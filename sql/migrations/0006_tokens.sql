-- oldest code: 1
-- The API's tokens beside the two of the environment: any number, each with its own scopes, end and revocation.

-- Of a token only its SHA-256 is kept. That needs no salt and no slow hash, since what is hashed is 256 random bits.
-- A row is never deleted: what was revoked stays known as that. A name is what people call the holder; during a rotation
-- it has two live tokens. No name begins with a digit, so that none can be taken for an id.
create table windlass.tokens (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    name text not null,
    scopes text[] not null,
    digest bytea not null unique,
    constraint name_shape check (name ~ '^[A-Za-z][A-Za-z0-9._:-]{0,127}$'),
    constraint known_scopes check (cardinality(scopes) > 0 and scopes <@ array['enqueue', 'read', 'work', 'admin']),
    constraint digest_is_sha256 check (octet_length(digest) = 32)
);
