-- name: listen
-- Hears the hints of enqueuers from now on.
listen windlass_ready;

-- name: hint
-- Tells the stewards that work came. Never inside an enqueue's transaction: there it caps all enqueuers together at
-- 5k commits/s. A primary that was made read-only would still send it, to nobody: no row says so.
select pg_notify('windlass_ready', %(count)s::text)
where current_setting('transaction_read_only') = 'off';
