"""`windlass remote` at work against a real web service: what it takes, keeps, settles and ends."""

import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.processes import alive
from support.remote import HANG, QUEUE, Workshop, lines_about
from support.service import Surroundings
from support.waiting import until
from support.work import past

from sql.connection import Connection

WAIT = "mark(os.getpid()); gate('go')"


@pytest.fixture
def workshop(database_url: str) -> Iterator[Workshop]:
    """A web service on the test's database, and workers of it."""
    made = Workshop(Surroundings(DATABASE_URL=database_url))
    yield made
    made.close()


# -- what it takes, and keeps


def test_it_leases_no_more_than_it_can_start(workshop: Workshop) -> None:
    ids = [workshop.add(0)]
    workshop.remote("--concurrency", "3", command=WAIT)
    until(lambda: len(workshop.marks) == 1, 10, "one has started")
    five = {"jobs": [{"kind": "external", "queue": QUEUE, "payload": number} for number in range(5)]}
    ids += [added["job"]["id"] for added in workshop.post("/jobs/bulk", five).json()["results"]]
    until(lambda: len(workshop.marks) == 3, 10, "two more have started")
    # Those that are not started are not held either.
    assert [workshop.job(job_id)["attempts"] for job_id in ids] == [1, 1, 1, 0, 0, 0]
    workshop.open("go")
    ended = [workshop.ended(job_id) for job_id in ids]
    assert {(job["status"], job["attempts"]) for job in ended} == {("succeeded", 1)}
    assert len(workshop.marks) == 6


def test_jobs_longer_than_several_leases_run_once(workshop: Workshop, connection: Connection) -> None:
    ids = [workshop.add(number, max_attempts=1) for number in range(3)]
    workshop.remote("--lease-ms", "400", command=WAIT)
    until(lambda: len(workshop.marks) == 3, 10)
    ends: set[Any] = set()

    def extended() -> bool:
        ends.update(connection.fetch_all("select id::text, lease_expires_at from windlass.running"))
        return all(sum(found == job_id for found, _ in ends) >= 10 for job_id in ids)

    # Ten thirds of a lease: more than three leases.
    until(extended, 20, "every lease was extended ten times")
    workshop.open("go")
    assert {(job["status"], job["attempts"]) for job in map(workshop.ended, ids)} == {("succeeded", 1)}
    assert len(workshop.marks) == 3


def test_the_shortest_lease_is_kept_too(workshop: Workshop, connection: Connection) -> None:
    job_id = workshop.add(max_attempts=1)
    workshop.remote("--lease-ms", "100", command=WAIT)
    ends: set[Any] = set()

    def extended() -> int:
        ends.update(connection.fetch_all("select lease_expires_at from windlass.running"))
        return len(ends) >= 10

    until(extended, 20)
    workshop.open("go")
    assert workshop.ended(job_id)["status"] == "succeeded"
    assert len(workshop.marks) == 1


def test_it_waits_for_work_and_asks_seldom(workshop: Workshop) -> None:
    workshop.remote(command="pass")

    for number in range(3):
        assert workshop.ended(workshop.add(number), 5)["status"] == "succeeded"
    # Three that were given a job; the one that waits now is not counted yet.
    (asked,) = re.findall(r'^http_requests_total{.*"/v1/lease".*} (\S+)$', workshop.metrics(), re.MULTILINE)
    assert float(asked) == 3


def test_jobs_of_the_kinds_it_was_told_and_no_others(workshop: Workshop) -> None:
    other = workshop.add({"text": "One."}, kind="summarize_text")
    external = workshop.add(None)
    workshop.remote("--kinds", "summarize_text", command="print(json.dumps(os.environ['WINDLASS_KIND']))")
    assert workshop.ended(other)["result"] == "summarize_text"
    assert workshop.job(external)["status"] == "queued"


# -- how a job ends


def test_exit_0_acks_with_what_was_printed_as_the_result(workshop: Workshop) -> None:
    workshop.remote(command="print(json.dumps({'got': payload, 'attempt': int(os.environ['WINDLASS_ATTEMPT'])}))")
    payload = {"text": "grüße $(touch pwned); `id`", "list": [1, 2.5, None, True]}
    job = workshop.ended(workshop.add(payload))
    assert (job["status"], job["result"]) == ("succeeded", {"got": payload, "attempt": 1})


NO_RESULTS = {
    "pass": False,
    "print('  ')": False,
    "print('done')": True,
    "print('NaN')": True,
    "print('\"' + 'x' * 600_000 + '\"')": True,
    "os.write(1, b'\\xff')": True,
    # Deeper than the service takes it inside of a body.
    "print('[' * 64 + ']' * 64)": True,
}


def test_output_that_is_no_result_is_left_out_and_the_job_is_acked(workshop: Workshop) -> None:
    running = workshop.remote(command="exec(payload)")
    for code, warned in NO_RESULTS.items():
        job = workshop.ended(workshop.add(code))
        assert (job["status"], job["result"], job["attempts"]) == ("succeeded", None, 1), code
        lines = until(lambda: [line for line in lines_about(job["id"], running.output) if "acked: " in line], 5)  # noqa: B023
        assert len(lines) == 1
        assert any("WARNING" in line for line in lines_about(job["id"], running.output)) == warned, code


FAILURES = {
    "print('no rope', file=sys.stderr); sys.exit(3)": "exit 3: no rope",
    "sys.exit(1)": "exit 1",
    "os.kill(os.getpid(), signal.SIGSEGV)": "killed by SIGSEGV",
    "os.write(2, b'a\\0b\\xff'); sys.exit(2)": "exit 2: a\ufffdb\ufffd",
    "sys.stderr.write('a' * 5000 + 'the end'); sys.exit(1)": "exit 1: " + "a" * (4096 - 7) + "the end",
}


def test_any_other_end_fails_the_job_with_the_end_of_standard_error(workshop: Workshop) -> None:
    workshop.remote(command="exec(payload)")
    ids = {code: workshop.add(code, max_attempts=1) for code in FAILURES}
    jobs = {code: workshop.ended(job_id) for code, job_id in ids.items()}
    assert {code: (job["status"], job["last_error"]) for code, job in jobs.items()} == {
        code: ("failed_permanent", error) for code, error in FAILURES.items()
    }


def test_a_failed_job_is_tried_again_while_it_has_attempts(workshop: Workshop) -> None:
    workshop.remote(command="mark('try'); sys.exit(1)")
    job_id = workshop.add(max_attempts=2)
    retrying = until(lambda: (job := workshop.job(job_id))["status"] == "retrying" and job, 10)
    assert retrying["run_at"] > retrying["updated_at"]


def test_a_command_that_runs_too_long_is_killed_with_all_it_started(workshop: Workshop) -> None:
    workshop.remote(
        command="signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "mark(os.getpid()); mark(subprocess.Popen(['sleep', '1000']).pid)\n"
        "print('so far', file=sys.stderr, flush=True); " + HANG
    )
    body = {"kind": "external", "queue": QUEUE, "payload": None, "timeout_seconds": 1, "max_attempts": 1}
    job = workshop.ended(workshop.post("/jobs", body).json()["id"])
    assert job["last_error"] == "timed out after 1 s: so far"
    assert len(workshop.pids()) == 2
    until(workshop.nobody_is_left, 5)


def test_what_an_ended_command_leaves_running_is_killed(workshop: Workshop) -> None:
    workshop.remote(command="mark(subprocess.Popen(['sleep', '1000']).pid); print('1', flush=True)")
    assert workshop.ended(workshop.add(), 10)["result"] == 1
    until(workshop.nobody_is_left, 5)


# -- cancel


@pytest.mark.parametrize(
    "manners",
    ["pass", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"],
    ids=["dies of TERM", "exits with 0", "ignores TERM"],
)
def test_cancel_ends_the_command_and_the_job(workshop: Workshop, manners: str) -> None:
    job_id = workshop.add()
    code = f"{manners}\nmark(os.getpid()); mark(subprocess.Popen(['sleep', '1000']).pid); {HANG}"
    running = workshop.remote("--lease-ms", "600", command=code)
    until(lambda: len(workshop.pids()) == 2, 10)
    assert workshop.post(f"/jobs/{job_id}/cancel").status == 202
    assert workshop.ended(job_id, 10)["status"] == "cancelled"
    until(workshop.nobody_is_left, 5)
    until(lambda: "cancel was requested" in running.output, 5)
    assert not running.ended


# -- a lease that is lost


def test_a_lost_lease_kills_the_command_and_settles_nothing(workshop: Workshop, connection: Connection) -> None:
    job_id = workshop.add()
    code = f"mark(os.getpid()); mark(subprocess.Popen(['sleep', '1000']).pid); {HANG}"
    running = workshop.remote("--concurrency", "1", "--lease-ms", "3000", command=code)
    until(lambda: len(workshop.pids()) == 2, 10)
    past(connection, "running", "lease_expires_at", 10)
    body = {"queue": QUEUE, "limit": 1, "lease_ms": 60_000}
    (other,) = workshop.post("/v1/lease", body).json()["jobs"]
    until(workshop.nobody_is_left, 10, "the command was killed")
    until(lambda: "lease lost, nothing settled" in running.output, 5)
    assert workshop.job(job_id)["status"] == "running"
    acked = workshop.post(f"/v1/jobs/{job_id}/ack", {"lease_token": other["lease_token"], "result": "the other's"})
    assert acked.status == 204
    assert workshop.job(job_id)["result"] == "the other's"
    running.signal(signal.SIGTERM)
    assert running.wait(10) == 0, running.output
    assert "lost 1" in running.output


# -- the end of the worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_lets_running_jobs_end_and_takes_no_others(workshop: Workshop, number: signal.Signals) -> None:
    running_id = workshop.add()
    running = workshop.remote("--concurrency", "2", command=WAIT)
    until(lambda: workshop.pids(), 10)
    for _ in range(2):
        running.signal(number)
    until(lambda: "takes no more; 1 in hand" in running.output, 5)
    waiting_id = workshop.add()
    workshop.open("go")
    assert running.wait(10) == 0
    assert workshop.job(running_id)["status"] == "succeeded"
    assert (workshop.job(waiting_id)["status"], workshop.job(waiting_id)["attempts"]) == ("queued", 0)


def test_after_the_grace_commands_are_killed_and_their_jobs_released(workshop: Workshop) -> None:
    job_id = workshop.add(max_attempts=1)
    code = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmark(os.getpid()); {HANG}"
    running = workshop.remote(command=code, SHUTDOWN_GRACE_SECONDS="0.5")
    until(lambda: workshop.pids(), 10)
    running.signal(signal.SIGTERM)
    assert running.wait(0.5 + 3) == 0
    assert workshop.nobody_is_left()
    job = workshop.job(job_id)
    assert (job["status"], job["attempts"], job["last_error"]) == ("queued", 0, None)
    assert "released 1" in running.output


def test_an_idle_worker_leaves_at_once_and_loses_nothing(workshop: Workshop) -> None:
    running = workshop.remote(command="pass")
    assert workshop.ended(workshop.add())["status"] == "succeeded"
    running.signal(signal.SIGTERM)
    assert running.wait(3) == 0
    job_id = workshop.add()
    assert workshop.job(job_id)["status"] == "queued"


@pytest.mark.parametrize("shell", [[], ["--shell"]], ids=["plain", "shell"])
def test_a_killed_worker_leaves_no_command(workshop: Workshop, shell: list[str]) -> None:
    for number in range(3):
        workshop.add(number)
    code = f"mark(os.getpid()); mark(subprocess.Popen(['sleep', '1000']).pid); {HANG}"
    command = workshop.program(code)
    if shell:
        command = f"cat | {command} | cat"
    running = workshop.remote(*shell, "--exec", command)
    until(lambda: len(workshop.pids()) == 6, 10)
    assert all(map(alive, workshop.pids()))
    running.kill()
    until(workshop.nobody_is_left, 5, "no command is left")
    until(lambda: not workshop.left(), 5, "nobody is left")


# -- without a command


def test_without_a_command_jobs_are_printed_and_acked(workshop: Workshop) -> None:
    running = workshop.remote()
    job_id = workshop.add({"text": "grüße"})
    assert workshop.ended(job_id)["status"] == "succeeded"
    printed = until(lambda: [line for line in running.output.splitlines() if line.startswith("{")], 5)
    assert f'"id": "{job_id}"' in printed[0]
    assert '"payload": {"text": "grüße"}' in printed[0]
    assert "token" not in printed[0]


def test_without_a_command_a_payload_that_says_fail_fails(workshop: Workshop) -> None:
    workshop.remote()
    dead = workshop.ended(workshop.add({"fail": True}, max_attempts=1))
    assert (dead["status"], dead["last_error"]) == ("failed_permanent", "simulated failure")
    assert workshop.ended(workshop.add({"fail": "true"}))["status"] == "succeeded"


def test_no_payload_result_or_secret_is_logged(workshop: Workshop) -> None:
    canary = "canary-c0ffee"
    code = "print(json.dumps(payload)); print(payload, file=sys.stderr); sys.exit(payload['exit'])"
    running = workshop.remote(command=code, LOG_LEVEL="debug", API_TOKEN=canary)
    for exit_code in (0, 1):
        workshop.ended(workshop.add({"text": canary, "exit": exit_code}, max_attempts=1))
    until(lambda: "failed: exit 1" in running.output, 5)
    running.signal(signal.SIGTERM)
    assert running.wait(10) == 0
    assert canary not in running.output
