"""The run of one command of `windlass remote`: it is fed and heard, whatever its manners, and nothing of it is left."""

import os
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.processes import alive
from support.remote import HANG, leased
from support.waiting import until

from app.commands.remote.calls import Lease
from app.commands.remote.command import MOST_ERRORS, MOST_OUTPUT, Command, Ended
from app.commands.remote.guard import Guard
from app.commands.remote.held import Ending, Held
from app.commands.remote.work import SECRETS, Outcome, RunCommand

# Each process of the suite has its own: a guard kills whatever on this machine belongs to the job.
JOB_ID = str(uuid.uuid4())


@pytest.fixture
def held() -> Iterator[Held]:
    """A job in hand."""
    made = Held(Lease.of(leased(JOB_ID, timeout_seconds=20)), 0.0)
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["", "no handles on processes"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with handles on processes, and an older one."""

    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    if not request.param:
        monkeypatch.setattr(os, "pidfd_open", refuse)


def run(held: Held, code: str, stdin: bytes = b"", seconds: float | None = None) -> Ended:
    command = Command([sys.executable, "-S", "-c", f"import os, signal, subprocess, sys, time\n{code}"], {}, stdin)
    try:
        return command.run(held, seconds)
    finally:
        command.kill()
        command.forget()


@pytest.mark.usefixtures("kernel")
def test_output_errors_and_code_are_heard(held: Held) -> None:
    ended = run(held, "print(sys.stdin.read(), end=''); print('e', file=sys.stderr); sys.exit(3)", "grüße".encode())
    assert ended == Ended(3, False, False, "grüße".encode(), b"e\n")


def test_a_command_that_reads_nothing_does_not_matter(held: Held) -> None:
    assert run(held, "os.read(0, 1); os.close(0); print('done')", b"x" * 5_000_000).output == b"done\n"
    assert run(held, "pass", b"x" * 5_000_000).code == 0
    assert run(held, "os.read(0, 10)", b"x" * 5_000_000).code == 0


def test_megabytes_go_both_ways_at_once(held: Held) -> None:
    code = (
        "for _ in range(100):\n"
        "    os.write(1, b'o' * 100_000); os.write(2, b'e' * 100_000)\n"
        "sys.stdin.buffer.read(); os.write(2, b'end')"
    )
    ended = run(held, code, b"x" * 5_000_000)
    assert (ended.code, ended.output) == (0, None)
    assert ended.errors == b"e" * (MOST_ERRORS - 3) + b"end"


@pytest.mark.parametrize(("size", "kept"), [(MOST_OUTPUT, True), (MOST_OUTPUT + 1, False)])
def test_output_is_kept_up_to_its_limit(held: Held, size: int, kept: bool) -> None:
    ended = run(held, f"sys.stdout.write('x' * {size})")
    assert ended.output == (b"x" * size if kept else None)


def test_output_without_end_does_not_fill_the_memory(held: Held) -> None:
    tracemalloc.start()
    try:
        assert run(held, "for _ in range(500): os.write(1, b'o' * 100_000); os.write(2, b'e' * 100_000)").code == 0
        assert tracemalloc.get_traced_memory()[1] < 10 * MOST_OUTPUT
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("kernel")
def test_grandchildren_that_hold_the_pipes_do_not_hold_us(held: Held) -> None:
    began = time.monotonic()
    ended = run(held, "print(subprocess.Popen(['sleep', '1000']).pid, flush=True)")
    assert time.monotonic() - began < 10
    assert ended.output is not None
    until(lambda: not alive(int(ended.output or b"0")), 5)


def test_a_grandchild_that_left_the_group_and_writes_on_does_not_hold_us(held: Held, tmp_path: Path) -> None:
    code = (
        f"loop = 'echo on; echo >&2; while [ ! -e {tmp_path}/stop ]; do echo on; done'\n"
        "child = subprocess.Popen(['sh', '-c', loop], start_new_session=True, stderr=subprocess.PIPE)\n"
        # It is at it.
        "child.stderr.readline()"
    )
    began = time.monotonic()
    assert run(held, code).code == 0
    assert time.monotonic() - began < 10
    (tmp_path / "stop").touch()


@pytest.mark.usefixtures("kernel")
def test_time_that_is_over_kills_the_whole_group(held: Held) -> None:
    code = f"signal.signal(15, signal.SIG_IGN); print(subprocess.Popen(['sleep', '1000']).pid, flush=True); {HANG}"
    ended = run(held, code, seconds=0.5)
    assert (ended.code, ended.timed_out, ended.told) == (-9, True, False)
    until(lambda: not alive(int(ended.output or b"0")), 5)


@pytest.mark.parametrize(
    ("ending", "manners", "code"),
    [
        (Ending.CANCELLED, "pass", -15),
        (Ending.CANCELLED, "signal.signal(15, lambda *_: sys.exit(0))", 0),
        (Ending.CANCELLED, "signal.signal(15, signal.SIG_IGN)", -9),
        (Ending.DRAINED, "signal.signal(15, signal.SIG_IGN)", -9),
        (Ending.LOST, "signal.signal(15, lambda *_: sys.exit(0))", -9),
    ],
)
def test_a_command_is_told_and_then_killed(held: Held, tmp_path: Path, ending: Ending, manners: str, code: int) -> None:
    ready = tmp_path / "ready"
    ended: list[Ended] = []
    script = f"{manners}\nopen({str(ready)!r}, 'w').close()\n{HANG}"
    thread = threading.Thread(target=lambda: ended.append(run(held, script)))
    thread.start()
    until(ready.exists, 10)
    told = time.monotonic()
    assert held.end(ending)
    thread.join(10)
    assert (ended[0].code, ended[0].told) == (code, True)
    patience = ending.value if code == -9 else 0
    assert patience <= time.monotonic() - told < patience + 1.5


def test_a_lease_lost_after_a_cancel_leaves_no_more_patience(held: Held, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"signal.signal(15, signal.SIG_IGN)\nopen({str(ready)!r}, 'w').close()\n{HANG}"
    thread = threading.Thread(target=lambda: run(held, script))
    thread.start()
    until(ready.exists, 10)
    told = time.monotonic()
    assert held.end(Ending.CANCELLED)
    assert not held.end(Ending.DRAINED)
    assert held.end(Ending.LOST)
    thread.join(10)
    assert time.monotonic() - told < Ending.CANCELLED.value


@pytest.mark.parametrize(
    ("code", "said"), [(0, "exit 0"), (3, "exit 3"), (-11, "killed by SIGSEGV"), (-40, "killed by signal 40")]
)
def test_an_end_is_said_in_words(code: int, said: str) -> None:
    assert str(Ended(code, False, False, b"", b"")) == said


# -- with a job


def outcome(held: Held, *arguments: str, **environ: str) -> Outcome:
    with closing(RunCommand(arguments, {"PATH": os.environ["PATH"], **environ})) as work:
        return work(held)


def test_the_command_knows_its_job_and_none_of_our_secrets(held: Held) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    secrets = dict.fromkeys(SECRETS, "secret")
    assert {"API_TOKEN", "ADMIN_TOKEN", "DATABASE_URL", "SMTP_URL", "WEBHOOK_SECRET"} <= set(SECRETS)
    done = outcome(held, sys.executable, "-S", "-c", code, MINE="kept", **secrets)
    found = done.fields["result"]
    assert "secret" not in found.values()
    assert found["MINE"] == "kept"
    assert {name: value for name, value in found.items() if name.startswith("WINDLASS_")} == {
        "WINDLASS_JOB_ID": JOB_ID,
        "WINDLASS_KIND": "external",
        "WINDLASS_QUEUE": "tasks",
        "WINDLASS_ATTEMPT": "1",
        "WINDLASS_MAX_ATTEMPTS": "5",
    }


def test_a_program_that_is_none_fails_the_job_in_words(held: Held, tmp_path: Path) -> None:
    done = outcome(held, str(tmp_path / "gone"))
    assert done.verb == "fail"
    assert done.fields["reason"].startswith("cannot start the command: [Errno 2]")


# -- the guard


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """The leader of a group, with the environment of a command."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True, env={"WINDLASS_JOB_ID": JOB_ID})
    yield process
    process.kill()
    process.wait()


def test_the_guard_kills_what_runs_when_the_worker_is_gone(sleeper: "subprocess.Popen[bytes]") -> None:
    guard = Guard({})
    guard.starting(f"{JOB_ID}/1")
    guard.started(f"{JOB_ID}/1", sleeper.pid)
    guard.close()
    assert sleeper.wait(5) == -9


def test_the_guard_kills_what_was_just_starting(sleeper: "subprocess.Popen[bytes]") -> None:
    guard = Guard({})
    guard.starting(f"{JOB_ID}/1")
    guard.close()
    assert sleeper.wait(5) == -9


def test_the_guard_leaves_alone_what_has_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    guard = Guard({})
    guard.starting(f"{JOB_ID}/1")
    guard.started(f"{JOB_ID}/1", sleeper.pid)
    guard.ended(f"{JOB_ID}/1")
    guard.close()
    assert sleeper.poll() is None


def test_a_guard_that_was_killed_is_replaced(sleeper: "subprocess.Popen[bytes]") -> None:
    guard = Guard({})
    guard.starting(f"{JOB_ID}/1")
    guard.started(f"{JOB_ID}/1", sleeper.pid)
    guard.process.kill()
    guard.process.wait()
    guard.starting("another/1")
    guard.ended("another/1")
    guard.close()
    assert sleeper.wait(5) == -9
