"""What one row may be, said by the database itself: another client with plain SQL is refused like we are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sql.connection import Connection
from sql.errors import Rejected

Row = dict[str, Any]
ID = "01900000-0000-7000-8000-000000000000"
NOW = "2026-01-01T00:00:00Z"
LONG = "x" * 129

VALID: dict[str, Row] = {
    "jobs": {
        "id": ID,
        "timeout_seconds": 60,
        "priority": 0,
        "max_attempts": 3,
        "queue": "default",
        "kind": "email",
        "payload": "{}",
    },
    "ready": {
        "id": ID,
        "run_at": NOW,
        "last_fence": 0,
        "priority": 0,
        "attempts": 0,
        "queue": "default",
        "kind": "email",
    },
    "running": {
        "id": ID,
        "run_at": NOW,
        "fence": 1,
        "priority": 0,
        "attempts": 1,
        "queue": "default",
        "kind": "email",
        "worker_id": 1,
    },
    "done": {
        "id": ID,
        "run_at": NOW,
        "started_at": NOW,
        "finished_at": NOW,
        "fence": 1,
        "attempts": 1,
        "kind": "email",
        "status": "succeeded",
    },
    "failures": {"id": ID, "fence": 1, "attempt": 1, "error": "boom"},
    "idempotency_keys": {"key": "k", "job_id": ID, "expires_at": NOW, "request_hash": "r"},
    "workers": {"pid": 1, "slot": 0, "name": "n", "host": "h", "pool": "p", "lease_seconds": 30},
    "queues": {"name": "default"},
    "tokens": {"name": "crew", "scopes": "{read}", "digest": "\\x" + "ab" * 32},
    "schema_migrations": {"version": 99, "name": "n", "checksum": "c", "oldest_code": 99},
}

REFUSED: dict[tuple[str, str], list[Row]] = {
    ("jobs", "queue_length"): [{"queue": ""}, {"queue": LONG}],
    ("jobs", "kind_length"): [{"kind": ""}, {"kind": LONG}],
    ("jobs", "max_attempts_range"): [{"max_attempts": 0}, {"max_attempts": 101}, {"max_attempts": -1}],
    ("jobs", "timeout_range"): [{"timeout_seconds": 0}, {"timeout_seconds": 604801}],
    ("jobs", "idempotency_key_length"): [{"idempotency_key": ""}, {"idempotency_key": LONG * 2}],
    ("ready", "attempts_range"): [{"attempts": -1}, {"attempts": 100}],
    ("ready", "run_at_range"): [
        {"run_at": "infinity"},
        {"run_at": "-infinity"},
        {"run_at": "1969-12-31T23:59:59Z"},
        {"run_at": "9001-01-01T00:00:00Z"},
    ],
    ("running", "attempts_range"): [{"attempts": 0}, {"attempts": 101}],
    ("running", "one_kind_of_lease"): [{"worker_id": None}, {"lease_expires_at": NOW}],
    ("done", "status_is_an_end"): [{"status": "running"}, {"status": "queued"}, {"status": ""}],
    ("done", "attempts_range"): [{"attempts": -1, "status": "cancelled"}, {"attempts": 101}],
    ("done", "only_cancelled_unstarted"): [
        {"started_at": None},
        {"attempts": 0},
        {"started_at": None, "status": "failed_permanent"},
    ],
    ("done", "only_succeeded_has_result"): [
        {"result": "{}", "status": "cancelled"},
        {"result": "null", "status": "failed_permanent"},
    ],
    ("done", "finished_after_started"): [{"finished_at": "2025-12-31T23:59:59.999999Z"}],
    ("failures", "attempt_range"): [{"attempt": 0}, {"attempt": 101}],
    ("idempotency_keys", "key_length"): [{"key": ""}, {"key": LONG * 2}],
    ("queues", "name_length"): [{"name": ""}, {"name": LONG}],
    ("tokens", "name_shape"): [{"name": ""}, {"name": "1st"}, {"name": "a b"}, {"name": LONG}],
    ("tokens", "known_scopes"): [{"scopes": "{}"}, {"scopes": "{root}"}, {"scopes": "{read,root}"}],
    ("tokens", "digest_is_sha256"): [{"digest": "\\x"}, {"digest": "\\x" + "ab" * 31}],
    ("schema_migrations", "oldest_code_range"): [{"oldest_code": -1}, {"oldest_code": 100}],
}

ACCEPTED: list[tuple[str, Row]] = [
    ("jobs", {"queue": "ü" * 128, "kind": "x", "max_attempts": 100, "timeout_seconds": 604800}),
    ("jobs", {"idempotency_key": "x" * 255, "max_attempts": 1, "timeout_seconds": 1, "priority": -32768}),
    ("ready", {"attempts": 99, "run_at": "1970-01-01T00:00:00Z", "priority": 32767}),
    ("ready", {"run_at": "9000-12-31T23:59:59.999999Z"}),
    ("running", {"attempts": 100}),
    ("running", {"worker_id": None, "lease_expires_at": NOW}),
    ("done", {"attempts": 100, "result": "null"}),
    ("done", {"status": "cancelled", "attempts": 0, "started_at": None, "fence": 0}),
    ("done", {"status": "cancelled", "attempts": 7, "started_at": None}),
    ("done", {"status": "cancelled", "attempts": 0}),
    ("done", {"status": "failed_permanent", "attempts": 100}),
    ("idempotency_keys", {"key": "x" * 255, "expires_at": "infinity"}),
]


def insert(conn: Connection, table: str, row: Row) -> None:
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    conn.execute(f"insert into windlass.{table} ({names}) values ({values})", **row)  # noqa: S608


@contextmanager
def undone(conn: Connection) -> Iterator[None]:
    """Whatever happens inside never happened."""
    with conn.transaction():
        yield
        conn.execute("rollback")


def test_every_check_of_the_schema_is_tried_here(connection: Connection) -> None:
    rows = connection.fetch_all(
        "select conrelid::regclass::text, conname from pg_constraint"
        " where connamespace = 'windlass'::regnamespace and contype = 'c'"
    )
    assert {(table.removeprefix("windlass."), name) for table, name in rows} == set(REFUSED)


def test_what_a_row_may_not_be_is_refused_by_name(any_connection: Connection, subtests: pytest.Subtests) -> None:
    for (table, constraint), changes in REFUSED.items():
        for change in changes:
            with subtests.test(f"{table} {constraint} {change}"):
                with pytest.raises(Rejected) as refused:
                    insert(any_connection, table, VALID[table] | change)
                assert refused.value.constraint == constraint


def test_what_a_row_may_be_is_accepted_up_to_the_edges(any_connection: Connection, subtests: pytest.Subtests) -> None:
    for table, change in [*((table, {}) for table in VALID), *ACCEPTED]:
        with subtests.test(f"{table} {change}"), undone(any_connection):
            insert(any_connection, table, VALID[table] | change)


def test_what_every_row_must_say_cannot_be_left_out(connection: Connection, subtests: pytest.Subtests) -> None:
    required = connection.fetch_all(
        "select relname, attname from pg_attribute as a join pg_class as c on c.oid = a.attrelid"
        " where relnamespace = 'windlass'::regnamespace and relkind = 'r' and attnum > 0 and attnotnull"
        " and attidentity = ''"
    )
    assert {table for table, _ in required} == set(VALID)
    for table, column in required:
        with subtests.test(f"{table}.{column}"), pytest.raises(Rejected):
            insert(connection, table, VALID[table] | {column: None})


def test_a_state_holds_a_job_once(connection: Connection, subtests: pytest.Subtests) -> None:
    keys = {"jobs": "jobs_pkey", "ready": "ready_id", "running": "running_pkey", "done": "done_pkey"}
    keys |= {"failures": "failures_pkey", "idempotency_keys": "idempotency_keys_pkey", "queues": "queues_pkey"}
    for table, key in keys.items():
        with subtests.test(table), undone(connection):
            insert(connection, table, VALID[table])
            connection.execute("savepoint once")
            with pytest.raises(Rejected) as refused:
                insert(connection, table, VALID[table])
            assert refused.value.constraint == key
            connection.execute("rollback to once")


def test_no_row_is_tied_to_another_by_a_foreign_key(connection: Connection) -> None:
    # Each costs a row lock and WAL on the hot path; the checker proves what they would.
    ties = "select count(*) from pg_constraint where connamespace = 'windlass'::regnamespace and contype = 'f'"
    assert connection.fetch_one(ties) == (0,)


def test_a_rejection_says_nothing_of_the_row(connection: Connection) -> None:
    with pytest.raises(Rejected) as refused:
        insert(connection, "jobs", VALID["jobs"] | {"payload": '{"token": "hunter2"}', "max_attempts": 0})
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is not None
