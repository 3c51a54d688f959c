"""The checks: a database in which all is well has no problems, and each thing that can be wrong is named."""

from collections.abc import Callable, Iterator

import pytest
from support.database import Databases, open_connection
from support.embedded import Playground
from support.server import Server
from support.waiting import until
from support.work import add, add_many, at_once, claim, claim_one, lease_of

from sql import checks, jobs, leases
from sql.connection import Connection
from sql.leases import Failure

Opener = Callable[[], Connection]
ID = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def broken(unchecked_database_url: str) -> Iterator[Connection]:
    """A connection to a database that the test breaks."""
    opened = open_connection(unchecked_database_url)
    yield opened
    opened.close()


def test_a_database_in_ordinary_use_has_no_problem(connection: Connection) -> None:
    add_many(connection, 10)
    add(connection, idempotency_key="k", request_hash="r")
    held = [lease_of(job) for job in claim(connection, limit=5)]
    leases.ack(connection, None, [(held[0], None)])
    leases.fail(connection, None, [Failure(held[1], "boom"), Failure(held[2], "boom", permanent=True)])
    jobs.cancel(connection, held[3].id)
    assert checks.states(connection) == []


def test_the_states_are_proved_while_jobs_move(connection: Connection, open_another: Opener) -> None:
    movers = [open_another() for _ in range(2)]
    add_many(connection, 50)

    def move(conn: Connection) -> None:
        for _ in range(100):
            leases.release(conn, None, [lease_of(job) for job in claim(conn, limit=10)])

    def check() -> None:
        for _ in range(50):
            assert checks.states(connection) == []

    at_once(check, *[lambda conn=conn: move(conn) for conn in movers])


def test_a_job_in_no_state_is_named(broken: Connection) -> None:
    job_id = add(broken)
    broken.execute("delete from windlass.ready")
    assert checks.states(broken) == [f"job {job_id} is in 0 of the state tables"]


def test_a_job_in_two_states_is_named(broken: Connection) -> None:
    job_id = add(broken)
    broken.execute(
        "insert into windlass.done (id, run_at, fence, attempts, kind, status)"
        " values (%(id)s, now(), 0, 0, 'email', 'cancelled')",
        id=job_id,
    )
    assert checks.states(broken) == [f"job {job_id} is in 2 of the state tables"]


def test_a_row_of_a_job_that_is_not_there_is_named(broken: Connection, subtests: pytest.Subtests) -> None:
    add(broken, idempotency_key="k", request_hash="r")
    leases.fail(broken, None, [Failure(claim_one(broken), "boom")])
    queued, running, ended = sorted(add_many(broken, 3))
    broken.execute("update windlass.ready set run_at = run_at + interval '1 hour' where id = %(id)s", id=queued)
    held = [lease_of(job) for job in claim(broken, limit=3)]
    leases.ack(broken, None, [(lease, None) for lease in held if lease.id == ended])
    assert checks.states(broken) == []
    broken.execute("delete from windlass.jobs")
    problems = checks.states(broken)
    for state in ("ready", "running", "done", "failures", "idempotency_keys"):
        with subtests.test(state):
            assert any(problem.endswith(f", which {state} names") for problem in problems)
    assert f"no job {queued}, which ready names" in problems
    assert f"no job {ended}, which done names" in problems
    assert f"no job {running}, which running names" in problems


def test_more_attempts_than_allowed_are_named(broken: Connection) -> None:
    waiting = add(broken, max_attempts=2, run_at="2999-01-01T00:00:00Z")
    running = add(broken, max_attempts=2)
    claim_one(broken)
    broken.execute("update windlass.ready set attempts = 2")
    broken.execute("update windlass.running set attempts = 3")
    assert sorted(checks.states(broken)) == sorted(f"job {job_id} has 3 attempts of 2" for job_id in (waiting, running))


def test_no_more_than_a_hundred_problems_are_told(broken: Connection) -> None:
    add_many(broken, 150)
    broken.execute("delete from windlass.ready")
    assert len(checks.states(broken)) == 100


def test_a_durable_server_has_no_problem(own_server: Server) -> None:
    conn = open_connection(own_server.url)
    assert checks.server(conn) == []
    conn.close()


def test_what_can_lose_jobs_is_named() -> None:
    playground = Playground()
    try:
        conn = open_connection(playground.server(durable=False).start())
        conn.execute("set default_transaction_read_only = on")
        problems = checks.server(conn)
        conn.close()
    finally:
        playground.clear()
    named = ["fsync is off", "full_page_writes is off", "synchronous_commit is off", "the server is read-only"]
    assert [problem.split(":")[0].removesuffix(" (a standby?)") for problem in problems] == named


def test_commits_that_wait_for_no_standby_though_there_should_be_one_are_named(own_server: Server) -> None:
    conn = open_connection(own_server.url)
    conn.execute("set synchronous_commit = local")
    assert checks.server(conn) == []
    conn.execute("alter system set synchronous_standby_names = 'somebody'")
    conn.execute("select pg_reload_conf()")
    try:
        (problem,) = until(lambda: checks.server(conn), message="the setting is read")
        assert problem.startswith("synchronous_commit is local: ")
    finally:
        conn.execute("alter system reset synchronous_standby_names")
        conn.execute("select pg_reload_conf()")
        until(lambda: checks.server(conn) == [], message="the setting is read")
        conn.close()


def test_a_database_that_cannot_hold_all_text_is_named(own_server: Server) -> None:
    databases = Databases(own_server.url)
    admin = open_connection(own_server.url)
    admin.execute("create database windlass_latin encoding 'LATIN1' locale 'C' template template0")
    conn = open_connection(databases.url_of("windlass_latin"))
    problems = checks.server(conn)
    conn.close()
    admin.execute("drop database windlass_latin with (force)")
    admin.close()
    databases.close()
    assert [problem.split(":")[0] for problem in problems] == ["the database's encoding is LATIN1"]
