"""A name for each session of the server's, which outlives a process id: those come round within one storm."""

THIS_SESSION = """
create function public.this_session() returns text language sql volatile as $$
    select coalesce(
        nullif(current_setting('windlass_tests.session', true), ''),
        set_config('windlass_tests.session', gen_random_uuid()::text, false)
    )
$$;
"""
