"""`windlass remote` when it starts: what it does not accept, where the service is, and whether a shell sees CMD."""

import signal
from collections.abc import Iterator

import pytest
from support.ports import free_port
from support.receiver import Receiver
from support.remote import Workshop, jobs_body
from support.service import Surroundings
from support.waiting import until


@pytest.fixture
def alone() -> Iterator[Surroundings]:
    """A place for workers whose service a test plays."""
    made = Surroundings()
    yield made
    made.clear()


@pytest.fixture
def workshop(database_url: str) -> Iterator[Workshop]:
    """A web service on the test's database, and workers of it."""
    made = Workshop(Surroundings(DATABASE_URL=database_url))
    yield made
    made.close()


# -- wrong usage


@pytest.mark.parametrize("given", ["ten", "0", "-1", "1001", "1.5", "1e3", "9" * 30])
@pytest.mark.parametrize("as_variable", [False, True], ids=["option", "variable"])
def test_a_concurrency_out_of_bounds_is_wrong_usage(alone: Surroundings, given: str, as_variable: bool) -> None:
    options, variables = ([], {"CONCURRENCY": given}) if as_variable else ([f"--concurrency={given}"], {})
    refused = alone.run("remote", *options, **variables)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith(f"must be a whole number from 1 to 1000, not {given!r}")
    assert "'--concurrency'" in refused.stderr


@pytest.mark.parametrize(
    ("variable", "given", "bounds"),
    [
        ("LEASE_MS", "99", "from 100 to 86400000"),
        ("LEASE_MS", "86400001", "from 100 to 86400000"),
        ("POLL_INTERVAL_MS", "9", "from 10 to 60000"),
        ("POLL_INTERVAL_MS", "60001", "from 10 to 60000"),
    ],
)
def test_every_number_has_bounds(alone: Surroundings, variable: str, given: str, bounds: str) -> None:
    refused = alone.run("remote", **{variable: given})
    assert refused.returncode == 2
    assert bounds in refused.stderr


def test_every_problem_of_the_environment_is_a_line(alone: Surroundings) -> None:
    refused = alone.run("remote", SHUTDOWN_GRACE_SECONDS="soon", LOG_FORMAT="xml", LOG_LEVEL="loud")
    assert refused.returncode == 1
    assert sorted(line.partition(":")[0] for line in refused.stderr.splitlines()) == [
        "LOG_FORMAT",
        "LOG_LEVEL",
        "SHUTDOWN_GRACE_SECONDS",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--exec", "no-such-program --now"], "there is no program no-such-program"),
        (["--exec", "./nothing-here"], "there is no program ./nothing-here"),
        (["--exec", "echo 'one"], "No closing quotation"),
        (["--exec", "  "], "there is no command in it"),
        (["--exec", "A=1 env"], "there is no program A=1; what only a shell understands needs --shell"),
        (["--shell"], "--exec, which is not given"),
        (["--kinds", ","], "names no kind"),
    ],
)
def test_a_command_that_cannot_run_is_wrong_usage(alone: Surroundings, options: list[str], said: str) -> None:
    refused = alone.run("remote", *options)
    assert refused.returncode == 2
    assert said in refused.stderr.splitlines()[-1]


# -- a service that will never lease to us


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_service_that_refuses_from_the_start_is_one_line_and_exit_1(alone: Surroundings, status: int) -> None:
    body = b'{"error": "x", "message": "not you"}'
    with Receiver(lambda exchange: exchange.reply(status, body)) as service:
        refused = alone.run("remote", "--exec", "true", WINDLASS_URL=f"http://127.0.0.1:{service.port}")
    assert refused.returncode == 1
    assert len(service.requests) == 1
    assert refused.stderr.splitlines()[-1] == f"lease refused: {status} not you"
    assert "Traceback" not in refused.stderr


def test_a_queue_that_is_none_and_a_wrong_token_are_said_by_the_service(workshop: Workshop) -> None:
    refused = workshop.surroundings.run("remote", "--queue", "two words")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("lease refused: 422 queue: ")
    workshop.stop_web()
    workshop.surroundings.environ["API_TOKEN"] = "right"
    workshop.start_web()
    refused = workshop.surroundings.run("remote", API_TOKEN="wrong")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == "lease refused: 401 the token is not known"


# -- what it reads


def test_the_variables_of_the_system_before_are_understood(alone: Surroundings) -> None:
    del alone.environ["WINDLASS_URL"]
    with Receiver(lambda exchange: exchange.reply(200, jobs_body())) as service:
        variables = {"QUEUE_URL": f"http://127.0.0.1:{service.port}/", "QUEUE_NAME": "slow", "API_TOKEN": "a-token"}
        alone.start("remote", **variables, CONCURRENCY="7", LEASE_MS="1234", POLL_INTERVAL_MS="50")
        until(lambda: len(service.requests) >= 2, 10)
        alone.end()
    request = service.requests[0]
    assert request.path == "/v1/lease"
    assert request.headers["authorization"] == "Bearer a-token"
    assert request.body == b'{"queue":"slow","limit":7,"lease_ms":1234,"wait_ms":10000}'


def test_windlass_url_beats_queue_url(alone: Surroundings) -> None:
    with Receiver(lambda exchange: exchange.reply(200, jobs_body())) as service:
        other = f"http://127.0.0.1:{free_port()}"
        alone.start("remote", WINDLASS_URL=f"http://127.0.0.1:{service.port}", QUEUE_URL=other)
        until(lambda: service.requests, 10)
        alone.end()


# -- the shell


def test_no_shell_sees_the_command_unless_asked(workshop: Workshop) -> None:
    command = "echo '\"$(touch pwned-by-command); $HOME `touch pwned` > pwned-too\"'"
    workshop.remote("--exec", command)
    job = workshop.ended(workshop.add("$(touch pwned-by-payload)", kind="external"))
    assert job["result"] == "$(touch pwned-by-command); $HOME `touch pwned` > pwned-too"
    assert list(workshop.folder.glob("pwned*")) == []


def test_a_shell_sees_the_command_if_asked_and_never_the_payload(workshop: Workshop) -> None:
    workshop.remote("--shell", "--exec", "cat > got; touch by-command; cat got | tr a-z A-Z")
    job = workshop.ended(workshop.add("$(touch pwned); `touch pwned`"))
    assert job["result"] == "$(TOUCH PWNED); `TOUCH PWNED`"
    assert (workshop.folder / "by-command").exists()
    assert list(workshop.folder.glob("pwned*")) == []


def test_a_worker_whose_log_nobody_reads_goes_on(workshop: Workshop) -> None:
    running = workshop.remote()
    workshop.ended(workshop.add())
    running.stop_reading()
    for number in range(5):
        assert workshop.ended(workshop.add(number))["status"] == "succeeded"
    running.signal(signal.SIGTERM)
    running.process.wait(10)
    assert running.process.returncode == 0
