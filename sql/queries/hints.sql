-- name: listen
-- Hears the hints of enqueuers from now on.
listen windlass_ready;

-- name: hint
-- Tells the stewards that work came. Never inside an enqueue's transaction: there it caps all enqueuers together at
-- 5k commits/s. A primary that was made read-only would still send it, to nobody: no row says so.
select pg_notify('windlass_ready', %(count)s::text)
where current_setting('transaction_read_only') = 'off';

-- name: forget_what_all_have_heard
-- A queue that a session did not read stays full when that session has long gone: only who sends makes room, and nobody
-- can send. Asking how full it is makes room too.
select pg_notification_queue_usage();
