"""`windlass up`: what it starts, and that nothing of it stays."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from support.ports import free_port
from support.service import HeldWebhooks, Surroundings
from support.waiting import until

# Grace 10 and the 3 s after it, the keeper's part and a slow machine's.
GONE_SECONDS = 30


@pytest.fixture
def here() -> Iterator[Surroundings]:
    """Surroundings without a database: `up` brings its own."""
    surroundings = Surroundings()
    yield surroundings
    surroundings.clear()


@pytest.fixture
def there(database_url: str) -> Iterator[Surroundings]:
    """Surroundings on the test's database."""
    surroundings = Surroundings(DATABASE_URL=database_url)
    yield surroundings
    surroundings.clear()


def _enqueue(at: Surroundings, kind: str, payload: dict[str, object]) -> str:
    done = at.run("enqueue", "--kind", kind, "--json", json.dumps(payload))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _status(at: Surroundings, job_id: str) -> str:
    answer = urllib3.request("GET", f"{at.url}/jobs/{job_id}", headers={"Connection": "close"})
    assert answer.status == 200
    return str(answer.json()["status"])


def test_up_serves_demo_succeeds_and_ctrl_c_leaves_nothing_running(here: Surroundings) -> None:
    up = here.up()
    for told in (
        f"{here.url}/jobs",
        f"{here.url}/docs",
        f"{here.url}/metrics",
        f"127.0.0.1:{here.metrics_port}/metrics",
    ):
        assert told in up.output
    demo = here.run("demo")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "all 32 jobs succeeded" in demo.stdout
    assert len(here.everybody()) > 5
    up.signal(signal.SIGINT)
    assert up.wait(GONE_SECONDS) == 0, up.output
    assert here.everybody() == []
    # The database was there for the roles to the end.
    assert "ERROR" not in up.output
    assert "cannot be reached" not in up.output


def test_jobs_survive_a_restart(here: Surroundings) -> None:
    up = here.up()
    job = _enqueue(here, "summarize_text", {"text": "One. Two."})
    up.signal(signal.SIGTERM)
    assert up.wait(GONE_SECONDS) == 0
    here.up()
    until(lambda: _status(here, job) == "succeeded", 20)


def test_kill_9_of_up_leaves_nothing_and_the_running_job_is_finished_first(here: Surroundings) -> None:
    with HeldWebhooks() as webhooks:
        up = here.up(WEBHOOK_ALLOW_NETS=f"127.0.0.1/32:{webhooks.port}")
        job = _enqueue(here, "webhook_delivery", {"url": webhooks.url})
        until(lambda: webhooks.arrived, 10, "the job runs")
        up.kill()
        assert here.everybody() != []
        webhooks.let_go.set()
        until(lambda: not here.everybody(), GONE_SECONDS, "nothing is left running")
        here.up()
        assert _status(here, job) == "succeeded"
        assert webhooks.arrived == 1


def test_kill_9_while_it_starts_leaves_nothing(here: Surroundings) -> None:
    up = here.start("up")
    until(lambda: "worker in slot 1 started" in up.output, 60, "the pool starts")
    up.kill()
    # Nobody has a job, so nobody needs the grace, although the database may be gone before a worker ever saw it.
    until(lambda: not here.everybody(), 8, "nothing is left running")


def test_a_second_up_on_the_same_data_is_refused(there: Surroundings) -> None:
    there.up()
    second = there.run("up", API_BIND_ADDR=f"127.0.0.1:{free_port()}")
    assert second.returncode == 1
    [line] = second.stderr.splitlines()
    assert line.startswith(f"a windlass up runs already on {there.environ['WINDLASS_DATA']} (process ")
    assert there.run("ping").returncode == 0


def test_an_up_started_after_kill_9_waits_for_the_roles_of_the_former(there: Surroundings) -> None:
    with HeldWebhooks() as webhooks:
        up = there.up(WEBHOOK_ALLOW_NETS=f"127.0.0.1/32:{webhooks.port}")
        job = _enqueue(there, "webhook_delivery", {"url": webhooks.url})
        until(lambda: webhooks.arrived, 10, "the job runs")
        up.kill()
        following = there.start("up")
        until(lambda: "waiting for its roles" in following.output, 10)
        assert "windlass is up" not in following.output
        webhooks.let_go.set()
        until(lambda: "windlass is up" in following.output, GONE_SECONDS, following.output)
        assert _status(there, job) == "succeeded"


def test_signals_repeated_during_the_drain_change_nothing(there: Surroundings) -> None:
    with HeldWebhooks() as webhooks:
        up = there.up(WEBHOOK_ALLOW_NETS=f"127.0.0.1/32:{webhooks.port}")
        job = _enqueue(there, "webhook_delivery", {"url": webhooks.url})
        until(lambda: webhooks.arrived, 10, "the job runs")
        up.signal(signal.SIGTERM)
        until(lambda: "draining" in up.output, 10, "the pool drains")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            up.signal(number)
        assert not up.ended
        webhooks.let_go.set()
        assert up.wait(GONE_SECONDS) == 0, up.output
        assert there.everybody() == []
        assert up.output.count("stopping:") == 1
    there.up()
    assert _status(there, job) == "succeeded"


def test_a_job_longer_than_the_grace_does_not_hold_up_the_stop(there: Surroundings) -> None:
    with HeldWebhooks() as webhooks:
        allowed = f"127.0.0.1/32:{webhooks.port}"
        up = there.up(WEBHOOK_ALLOW_NETS=allowed, SHUTDOWN_GRACE_SECONDS="1")
        job = _enqueue(there, "webhook_delivery", {"url": webhooks.url, "timeout_seconds": 60})
        until(lambda: webhooks.arrived, 10, "the job runs")
        up.signal(signal.SIGTERM)
        assert up.wait(1 + 3 + 2) == 0, up.output
        assert there.everybody() == []
        webhooks.let_go.set()
        there.up(WEBHOOK_ALLOW_NETS=allowed)
        until(lambda: _status(there, job) == "succeeded", 20)


@pytest.mark.parametrize("role", ["web", "worker"])
def test_a_role_that_dies_ends_up_with_its_name(there: Surroundings, role: str) -> None:
    up = there.up()
    [pid] = there.roles(role)
    os.kill(pid, signal.SIGKILL)
    assert up.wait(GONE_SECONDS) == 1
    assert f"{role} ended by itself (killed by SIGKILL); the last it said:\n  " in up.output
    assert there.everybody() == []


def test_a_pool_that_cannot_start_ends_up_with_the_reason(there: Surroundings) -> None:
    up = there.start("up", KIND_MODULES="windlass_tests_no_such_module")
    assert up.wait(60) == 1
    assert "windlass_tests_no_such_module cannot be imported" in up.output
    assert there.everybody() == []


def test_a_taken_port_is_one_line_that_names_the_variable(here: Surroundings, there: Surroundings) -> None:
    there.up()
    for variable in ("API_BIND_ADDR", "WORKER_METRICS_BIND_ADDR"):
        refused = here.run("up", **{variable: there.environ[variable]})
        assert refused.returncode == 1
        [line] = refused.stderr.splitlines()
        assert line.startswith(
            f"{variable}: cannot listen on {there.environ[variable]}: Address already in use; set it"
        )
    assert here.everybody() == []


def test_every_problem_of_the_settings_is_said_before_anything_starts(here: Surroundings) -> None:
    refused = here.run("up", API_BIND_ADDR="0.0.0.0:0x", LEASE_SECONDS="soon", SMTP_URL="ftp://mail", MEDIA_ROOT="here")
    assert refused.returncode == 1
    assert [line.partition(" ")[0].rstrip(":") for line in refused.stderr.splitlines()] == [
        "API_BIND_ADDR",
        "SMTP_URL",
        "MEDIA_ROOT",
        "LEASE_SECONDS",
    ]
    assert not (here.folder / "data/postgresql").exists()


def test_an_open_bind_needs_a_token(here: Surroundings) -> None:
    refused = here.run("up", API_BIND_ADDR=f"0.0.0.0:{here.port}")
    assert refused.returncode == 1
    assert "API_TOKEN" in refused.stderr
    assert here.everybody() == []


def test_what_the_data_folder_holds_is_for_its_user_alone(here: Surroundings) -> None:
    up = here.up()
    data = Path(here.environ["WINDLASS_DATA"])
    assert data.stat().st_mode & 0o066 == 0
    for name in ("up.json", "webhook.secret", "up.lock", "roles.lock"):
        assert (data / name).stat().st_mode & 0o777 == 0o600, name
    secret = (data / "webhook.secret").read_text()
    up.signal(signal.SIGTERM)
    assert up.wait(GONE_SECONDS) == 0
    here.up()
    assert (data / "webhook.secret").read_text() == secret


def test_a_folder_named_app_where_it_is_started_is_not_taken_for_ours(there: Surroundings) -> None:
    for name in ("app", "sql", "workerpool", "gunicorn"):
        (there.folder / name).mkdir()
        (there.folder / name / "__init__.py").write_text("raise SystemExit('somebody else')\n")
    there.up()
    assert there.run("ping").returncode == 0


def test_ctrl_c_at_a_terminal_reaches_up_alone_and_ends_all(there: Surroundings) -> None:
    del there.environ["LOG_FORMAT"]
    with there.terminal("up") as terminal:
        until(lambda: "windlass is up" in terminal.said, 60, "windlass up is ready")
        job = _enqueue(there, "summarize_text", {"text": "One. Two."})
        until(lambda: _status(there, job) == "succeeded", 20)
        # Text with the name of the role before it, because this is a terminal.
        assert "\nweb     | " in terminal.said
        assert "\nworker  | " in terminal.said
        assert '{"' not in terminal.said
        terminal.press(b"\x03\x03")
        assert terminal.wait(GONE_SECONDS) == 0, terminal.said
        assert "supervisor: draining" in terminal.said
        # What gunicorn says of a Ctrl-C of its own, which would cut requests short.
        assert "Handling signal: int" not in terminal.said
    assert there.everybody() == []


def test_a_terminal_that_is_closed_ends_all(there: Surroundings) -> None:
    with there.terminal("up") as terminal:
        until(lambda: "windlass is up" in terminal.said, 60, "windlass up is ready")
    until(lambda: not there.everybody(), GONE_SECONDS, "nothing is left running")


def test_an_output_nobody_reads_any_more_does_not_end_up(there: Surroundings) -> None:
    up = there.up()
    up.stop_reading()
    job = _enqueue(there, "summarize_text", {"text": "One. Two."})
    until(lambda: _status(there, job) == "succeeded", 20)
    up.signal(signal.SIGTERM)
    assert up.process.wait(GONE_SECONDS) == 0
    assert there.everybody() == []


def test_a_database_that_is_restarted_by_its_keeper_ends_nothing(here: Surroundings) -> None:
    up = here.up()
    [postmaster] = here.database()
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: here.database() not in ([], [postmaster]), 20, "the keeper starts it again")
    until(lambda: here.run("enqueue", "--kind", "external", "--json", "1").returncode == 0, 20)
    assert not up.ended


def test_a_keeper_that_dies_ends_up_with_its_name(here: Surroundings) -> None:
    up = here.up()
    [keeper] = here.roles("keeper")
    os.kill(keeper, signal.SIGKILL)
    assert up.wait(GONE_SECONDS) == 1
    assert "the keeper of PostgreSQL ended by itself; the server's log is /" in up.output
    until(lambda: not here.everybody(), 10)
