-- name: add_token
-- A new token, known by its digest alone. The end is counted from this moment.
insert into windlass.tokens (name, scopes, digest, expires_at)
values (%(name)s, %(scopes)s::text[], %(digest)s, now() + %(days)s * interval '1 day')
returning id;

-- name: token_of
-- The token of this digest: what it is good for, whether it was revoked, how long it has left (negative: expired; null:
-- no end), and whether its last use is to be noted anew.
select
    id, scopes, revoked_at is not null, date_part('epoch', expires_at - now()),
    coalesce(last_used_at < now() - interval '1 minute', true)
from windlass.tokens
where digest = %(digest)s;

-- name: note_use
-- That a token was used, to the minute.
update windlass.tokens
set last_used_at = now()
where id = %(id)s and coalesce(last_used_at < now() - interval '1 minute', true);

-- name: all_tokens
-- Every token there ever was, the oldest first, without its digest.
select
    id, name, scopes,
    case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'live' end,
    windlass.rfc3339(created_at), windlass.rfc3339(expires_at), windlass.rfc3339(last_used_at),
    windlass.rfc3339(revoked_at)
from windlass.tokens
order by id;

-- name: revoke_token
-- From now on nobody is let in by this one. No row: it was revoked before, or there is none.
update windlass.tokens set revoked_at = now() where id = %(id)s and revoked_at is null returning id;

-- name: live_tokens
-- Whether anybody could be let in by one.
select exists (select from windlass.tokens where revoked_at is null and coalesce(expires_at > now(), true));
