"""`windlass.enqueue(…)`: what it stores, what it refuses, and what a key does."""

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from support.waiting import until
from support.work import Meanwhile, at_once, claim_one, count, everything, lease_of, look, past
from support.work import claim as claim_jobs

from sql import jobs, leases
from sql.connection import Connection
from sql.errors import Rejected
from workerpool.kinds.bounds import NAME, NAME_RULE
from workerpool.kinds.registry import Kind, KindError, declare
from workerpool.kinds.requests import NewJobSchema

FIELDS = ("kind", "payload", "queue", "priority", "run_at", "max_attempts", "timeout_seconds", "idempotency_key")


def enqueue(conn: Connection, **given: Any) -> str:
    """The id it answers. What is not given is not passed, so that the function's own defaults hold."""
    given = {"kind": "external", "payload": "{}", **given}
    passed = ", ".join(f"{name} => %({name})s" for name in given)
    row = conn.fetch_one(f"select windlass.enqueue({passed})::text", **given)
    assert row is not None
    return str(row[0])


def refusal(conn: Connection, **given: Any) -> psycopg2.extensions.Diagnostics:
    """What the database says to it; nothing may be left behind."""
    before = everything(conn)
    with pytest.raises(Rejected) as caught:
        enqueue(conn, **given)
    assert everything(conn) == before
    error = caught.value.__cause__
    assert isinstance(error, psycopg2.Error)
    return error.diag


def test_the_defaults_are_those_of_a_kind_that_names_none(any_connection: Connection) -> None:
    job = look(any_connection, enqueue(any_connection, payload='{"order": [1041, null, "ä€😀"]}'))
    assert (job.kind, job.queue, job.priority, job.status, job.attempts) == ("external", "default", 0, "queued", 0)
    assert (job.max_attempts, job.timeout_seconds, job.idempotency_key) == (3, 900, None)
    assert json.loads(job.payload) == {"order": [1041, None, "ä€😀"]}
    assert job.run_at == job.created_at == job.updated_at


def test_every_field_is_stored_as_given(any_connection: Connection) -> None:
    given = {
        "kind": "acme.bill", "payload": "null", "queue": "mail", "priority": -32768,
        "run_at": "2030-01-01T00:00:00+02:00", "max_attempts": 100, "timeout_seconds": 604800, "idempotency_key": "!~",
    }  # fmt: skip
    assert tuple(given) == FIELDS
    job = look(any_connection, enqueue(any_connection, **given))
    shown = {name: getattr(job, name) for name in given}
    assert shown == {**given, "run_at": "2029-12-31T22:00:00.000000Z"}


def test_the_arguments_may_come_by_place(any_connection: Connection) -> None:
    row = any_connection.fetch_one("select windlass.enqueue('external', '[1]', 'q', 5)::text")
    assert row is not None
    job = look(any_connection, row[0])
    assert (job.payload, job.queue, job.priority) == ("[1]", "q", 5)


@pytest.mark.parametrize("run_at", ["1970-01-01T00:00:00Z", "9000-12-31T23:59:59.999999Z"])
def test_the_ends_of_a_range_belong_to_it(connection: Connection, run_at: str) -> None:
    job = look(connection, enqueue(connection, run_at=run_at, priority=32767, max_attempts=1, timeout_seconds=1))
    assert (job.run_at[:19], job.priority, job.max_attempts, job.timeout_seconds) == (run_at[:19], 32767, 1, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", None), ("kind", ""), ("kind", "a b"), ("kind", "a\n"), ("kind", "ä"), ("kind", "K" * 129),
        ("kind", "\uff41"), ("payload", None),
        ("queue", None), ("queue", ""), ("queue", "a/b"), ("queue", "a\n"), ("queue", "q" * 129),
        ("priority", None), ("priority", 32768), ("priority", -32769), ("priority", 2**31 - 1),
        ("run_at", "infinity"), ("run_at", "-infinity"), ("run_at", "9001-01-01Z"), ("run_at", "1969-12-31T23:59:59Z"),
        ("max_attempts", None), ("max_attempts", 0), ("max_attempts", 101), ("max_attempts", -1),
        ("timeout_seconds", None), ("timeout_seconds", 0), ("timeout_seconds", 604801),
        ("idempotency_key", ""), ("idempotency_key", "a b"), ("idempotency_key", "k\n"), ("idempotency_key", "\x7f"),
        ("idempotency_key", "é"), ("idempotency_key", "k" * 256),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_leaves_nothing(any_connection: Connection, field: str, value: Any) -> None:
    said = refusal(any_connection, **{field: value})
    assert (said.message_primary or "").startswith(f"windlass.enqueue: {field}: must ")
    assert said.sqlstate == "22023"


def test_a_payload_may_be_a_mebibyte_of_text_and_no_byte_more(any_connection: Connection) -> None:
    largest = f'"{"ä" * (512 * 1024 - 1)}"'
    assert len(look(any_connection, enqueue(any_connection, payload=largest)).payload.encode()) == 1024 * 1024
    # Compressed it is a hundredth, and a number with an exponent is written out in full.
    for payload in (f'"x{largest[1:]}', f"[{', '.join(['1e300'] * 3500)}]"):
        said = refusal(any_connection, payload=payload)
        assert (said.message_primary or "").startswith("windlass.enqueue: payload: must be at most 1048576 bytes")
        assert said.sqlstate == "22023"


def test_a_refusal_takes_the_callers_transaction_with_it(connection: Connection) -> None:
    connection.execute("create table public.orders (id integer)")

    def place() -> None:
        with connection.transaction():
            connection.execute("insert into public.orders values (1)")
            enqueue(connection)
            enqueue(connection, priority=40000)

    with pytest.raises(Rejected):
        place()
    assert connection.fetch_all("select id from public.orders") == []
    assert count(connection, "jobs") == 0


@pytest.mark.usefixtures("own_kinds")
@pytest.mark.parametrize("field", ["kind", "queue"])
@pytest.mark.parametrize(
    "name",
    [".", "..", "...", ".a", "..a", "a.", "-", ":", "_x", "9", "x" * 128, "x" * 129, "", "a b", "a\n", ".\n", "é"],
)
def test_a_name_is_one_here_exactly_if_it_is_one_for_requests_and_kinds(
    any_connection: Connection, field: str, name: str
) -> None:
    new_kind = {"name": "any", "payload": None, "handler": None, {"kind": "name", "queue": "queue"}[field]: name}
    if re.fullmatch(NAME, name):
        assert not NewJobSchema().validate({"kind": "any", "payload": None, field: name})
        declare(Kind(**new_kind))
        enqueue(any_connection, **{field: name})
    else:
        assert list(NewJobSchema().validate({"kind": "any", "payload": None, field: name})) == [field]
        with pytest.raises(KindError, match=re.escape(NAME_RULE)):
            declare(Kind(**new_kind))
        assert (
            refusal(any_connection, **{field: name}).message_primary
            == f"windlass.enqueue: {field}: must be {NAME_RULE}"
        )


@pytest.mark.parametrize("document", ['{"a": "\\u0000"}', "{", '"\\ud800"', "NaN"])
def test_what_is_no_jsonb_never_gets_there(connection: Connection, document: str) -> None:
    assert refusal(connection, payload=document).sqlstate in ("22P02", "22P05")


@pytest.mark.parametrize("end", [True, False], ids=["committed", "rolled back"])
def test_a_job_exists_exactly_if_the_transaction_commits(any_connection: Connection, end: bool) -> None:
    job_ids = []
    try:
        with any_connection.transaction():
            job_ids = [enqueue(any_connection, idempotency_key=key) for key in (None, "k")]
            if not end:
                raise LookupError
    except LookupError:
        pass
    assert [jobs.find(any_connection, job_id) is not None for job_id in job_ids] == [end, end]
    assert count(any_connection, "idempotency_keys") == int(end)


def test_nobody_can_claim_it_before_the_commit(connection: Connection, open_another: Callable[[], Connection]) -> None:
    other = open_another()
    with connection.transaction():
        job_id = enqueue(connection, kind="email")
        assert claim_jobs(other) == []
    assert claim_one(other).id == job_id


# -- keys


def test_one_key_makes_one_job(any_connection: Connection) -> None:
    first = enqueue(any_connection, idempotency_key="k", payload='{"b": 1, "a": 2}')
    assert enqueue(any_connection, idempotency_key="k", payload='{"a": 2,  "b": 1}') == first
    assert enqueue(any_connection, idempotency_key="l") != first
    assert count(any_connection, "jobs") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "email"},
        {"payload": "{}"},
        {"queue": "q"},
        {"priority": 1},
        {"run_at": "2030-01-01Z"},
        {"max_attempts": 4},
        {"timeout_seconds": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_used_with_another_request_is_refused(connection: Connection, change: dict[str, Any]) -> None:
    first = enqueue(connection, idempotency_key="k", payload="[]")
    said = refusal(connection, **{"idempotency_key": "k", "payload": "[]", **change})
    assert said.message_primary == "windlass.enqueue: idempotency_key: was used with a different request"
    assert said.message_detail == f"it made the job {first}"
    assert said.sqlstate == "23505"


def test_one_instant_is_one_request_in_whatever_zone_the_session_is(connection: Connection) -> None:
    given = {"idempotency_key": "k", "run_at": "2030-01-01T00:00:00Z"}
    first = enqueue(connection, **given)
    connection.execute("set timezone = 'Asia/Kolkata'")
    connection.execute("set datestyle = 'German, DMY'")
    assert enqueue(connection, **{**given, "run_at": "2030-01-01T05:30:00+05:30"}) == first


def test_a_key_of_another_way_in_is_taken_too(connection: Connection) -> None:
    new = jobs.NewJob("default", "external", 0, 3, 900, "{}", idempotency_key="k", request_hash="of http")
    jobs.enqueue(connection, [new])
    assert refusal(connection, idempotency_key="k").sqlstate == "23505"
    mine = enqueue(connection, idempotency_key="l")
    assert jobs.enqueue(connection, [new._replace(idempotency_key="l")]) == [(mine, False, False)]


def test_a_key_whose_time_is_over_makes_a_new_job(connection: Connection) -> None:
    new = jobs.NewJob("default", "external", 0, 3, 900, "{}", None, "k", "h", key_seconds=60)
    [(first, *_)] = jobs.enqueue(connection, [new])
    past(connection, "idempotency_keys", "expires_at", 61)
    second = enqueue(connection, idempotency_key="k")
    assert second != first
    assert enqueue(connection, idempotency_key="k") == second


def test_one_key_makes_one_job_however_many_ask_at_once(open_another: Callable[[], Connection]) -> None:
    connections = [open_another() for _ in range(8)]
    for round_ in range(10):
        key = f"k{round_}"
        ids = at_once(*(lambda conn=conn, key=key: enqueue(conn, idempotency_key=key) for conn in connections))
        assert len(set(ids)) == 1
    assert count(connections[0], "jobs") == 10


@pytest.mark.parametrize("commits", [True, False])
def test_who_asks_second_waits_for_how_the_first_ends(
    connection: Connection, open_another: Callable[[], Connection], commits: bool
) -> None:
    first, second = open_another(), open_another()
    try:
        with first.transaction():
            mine = enqueue(first, idempotency_key="k")
            asking = Meanwhile(second, lambda: enqueue(second, idempotency_key="k"))
            until(lambda: asking.waits(connection), message="it waits for the first")
            if not commits:
                raise LookupError
    except LookupError:
        pass
    assert (asking.answer() == mine) is commits
    assert count(connection, "jobs") == 1


def test_its_job_is_claimed_and_settled_as_any_other(any_connection: Connection) -> None:
    job_id = enqueue(any_connection, kind="email", priority=3, run_at="2001-01-01Z")
    [claimed] = claim_jobs(any_connection)
    assert (claimed.id, claimed.priority, claimed.attempt, claimed.timeout_seconds) == (job_id, 3, 1, 900)
    assert leases.ack(any_connection, None, [(lease_of(claimed), None)]) == {job_id}
    assert look(any_connection, job_id).status == "succeeded"
