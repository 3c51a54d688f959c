"""One role each, as a platform starts them: `windlass web`, `worker`, `migrate`; and `check`, which starts nothing."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from support.ports import free_port
from support.service import Surroundings
from support.waiting import until

from sql import jobs
from sql.connection import connect

JOB = jobs.NewJob(
    queue="default", kind="summarize_text", priority=0, max_attempts=3, timeout_seconds=60, payload='{"text": "One."}'
)


@pytest.fixture
def bare() -> Iterator[Surroundings]:
    """Surroundings without any database."""
    surroundings = Surroundings()
    yield surroundings
    surroundings.clear()


@pytest.fixture
def surroundings(database_url: str) -> Iterator[Surroundings]:
    """Surroundings on a database with the schema."""
    made = Surroundings(DATABASE_URL=database_url)
    yield made
    made.clear()


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Surroundings]:
    """Surroundings on a database without the schema."""
    made = Surroundings(DATABASE_URL=empty_database_url)
    yield made
    made.clear()


# -- web and worker


@pytest.mark.parametrize("role", ["web", "worker"])
def test_a_role_becomes_the_program_that_serves_it(surroundings: Surroundings, role: str) -> None:
    running = surroundings.start(role)
    assert until(lambda: surroundings.roles(role), 20) == [running.process.pid]
    until(lambda: "web: Listening at" in running.output or "registered as worker" in running.output, 30)
    running.signal(signal.SIGTERM)
    assert running.wait(20) == 0, running.output
    assert surroundings.everybody() == []


def test_web_says_every_problem_of_its_settings_and_does_not_start(bare: Surroundings) -> None:
    refused = bare.run("web", API_BIND_ADDR="here", WEB_CONCURRENCY="many", API_TOKEN="two words")
    assert refused.returncode == 1
    assert sorted(line.partition(":")[0] for line in refused.stderr.splitlines()) == [
        "API_BIND_ADDR",
        "API_TOKEN",
        "DATABASE_URL",
        "WEB_CONCURRENCY",
    ]
    assert "two words" not in refused.stderr


def test_web_refuses_an_open_bind_without_a_token(surroundings: Surroundings) -> None:
    del surroundings.environ["API_BIND_ADDR"]
    refused = surroundings.run("web", PORT=str(surroundings.port))
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert "set API_TOKEN" in line


def test_worker_says_every_problem_of_its_settings_and_does_not_start(bare: Surroundings) -> None:
    refused = bare.run("worker", LEASE_SECONDS="0", WORKER_PROCESSES="x")
    assert refused.returncode == 1
    assert sorted(line.partition(":")[0] for line in refused.stderr.splitlines()) == [
        "DATABASE_URL",
        "LEASE_SECONDS",
        "WORKER_PROCESSES",
    ]


def test_an_idle_worker_leaves_at_once_although_the_database_is_away(bare: Surroundings) -> None:
    running = bare.start("worker", DATABASE_URL=f"postgresql://127.0.0.1:{free_port()}/nowhere")
    until(lambda: running.output.count("waiting for the database") >= 3, 30, "all three children wait")
    running.signal(signal.SIGTERM)
    assert running.wait(5) == 0, running.output


@pytest.mark.parametrize("role", ["web", "worker", "migrate"])
def test_a_role_whose_up_is_gone_does_not_start(surroundings: Surroundings, role: str) -> None:
    stranger = os.getppid()
    refused = surroundings.run(role, WINDLASS_UP=str(stranger))
    assert refused.returncode == 1
    assert refused.stderr == "windlass up has gone\n"


# -- migrate


def test_migrate_says_what_it_applied_and_then_that_nothing_is_left(empty: Surroundings) -> None:
    first = empty.run("migrate")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "applied 0001_jobs"
    second = empty.run("migrate")
    assert second.returncode == 0
    assert second.stdout.startswith("nothing to do: the schema is at version ")


def test_migrate_gives_up_on_a_database_that_does_not_come(bare: Surroundings) -> None:
    gone = bare.run("migrate", "--wait", "1", DATABASE_URL=f"postgresql://127.0.0.1:{free_port()}/nowhere")
    assert gone.returncode == 1
    first, last = gone.stderr.splitlines()
    assert first.endswith("trying again for 1 s")
    assert last.startswith("migrate failed: the database cannot be reached: ")


def test_migrate_without_a_database_says_what_to_set(bare: Surroundings) -> None:
    refused = bare.run("migrate")
    assert refused.returncode == 1
    assert refused.stderr.startswith("DATABASE_URL: is not set; ")


# -- check


def test_check_finds_no_problem_where_there_is_none(surroundings: Surroundings) -> None:
    found = surroundings.run("check")
    assert found.stdout == "no problem found\n"
    assert found.returncode == 0


def test_check_says_each_problem_once_whoever_reads_the_variable(bare: Surroundings) -> None:
    found = bare.run("check", KIND_MODULES="no-module", SMTP_URL="x", LEASE_SECONDS="x", LOG_FORMAT="xml", PORT="")
    assert found.returncode == 1
    assert sorted(line.partition(" ")[0].rstrip(":") for line in found.stdout.splitlines()) == [
        "DATABASE_URL",
        "KIND_MODULES",
        "LEASE_SECONDS",
        "LOG_FORMAT",
        "SMTP_URL",
    ]


def test_check_says_that_migrations_are_missing(empty: Surroundings) -> None:
    found = empty.run("check")
    assert found.returncode == 1
    assert found.stdout.startswith("not yet applied: 0001_jobs")
    assert found.stdout.endswith("; run `windlass migrate`\n")


def test_check_says_that_a_database_cannot_be_reached(bare: Surroundings) -> None:
    found = bare.run("check", DATABASE_URL=f"postgresql://127.0.0.1:{free_port()}/nowhere")
    assert found.returncode == 1
    assert found.stdout.startswith("DATABASE_URL: the database cannot be reached: ")


def test_check_says_that_a_setting_of_the_server_loses_jobs(surroundings: Surroundings) -> None:
    url = surroundings.environ["DATABASE_URL"]
    unsafe = url + ("&" if "?" in url else "?") + "options=-c%20synchronous_commit%3Doff"
    found = surroundings.run("check", DATABASE_URL=unsafe)
    assert found.returncode == 1
    assert found.stdout.startswith("synchronous_commit is off: ")


def test_check_finds_a_job_that_is_in_no_state(unchecked_database_url: str) -> None:
    connection = connect(unchecked_database_url, application_name="tests")
    [job] = jobs.enqueue(connection, [JOB])
    connection.execute("delete from windlass.ready")
    connection.close()
    surroundings = Surroundings(DATABASE_URL=unchecked_database_url)
    found = surroundings.run("check")
    surroundings.clear()
    assert found.returncode == 1
    [line] = found.stdout.splitlines()
    assert job.id in line


def test_check_asks_the_database_of_a_running_up(bare: Surroundings) -> None:
    bare.up()
    found = bare.run("check")
    assert found.stdout == "no problem found\n"
    assert found.returncode == 0
    recorded = json.loads((bare.folder / "data/up.json").read_text())
    assert recorded["database_url"].startswith("postgresql://")
