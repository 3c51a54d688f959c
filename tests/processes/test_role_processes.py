"""The loop of `windlass up` that starts roles, shows what they say, and ends them."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from support.processes import alive
from support.waiting import until

from app.commands.processes import Processes, Role, StopAsked, on_terminal


class Loop:
    """A loop under test, and the lines it showed."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.processes = Processes(lambda role, line: self.shown.append((role, line.decode())))

    def start(self, code: str, name: str = "role") -> Role:
        """A role that runs this Python code."""
        return self.processes.start(name, [sys.executable, "-c", code], dict(os.environ))

    def lines(self) -> list[str]:
        """What was shown, without the names."""
        return [line for _, line in self.shown]


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that hears signals; whatever it started is ended."""
    made = Loop()
    with made.processes.hearing_signals():
        yield made
        made.processes.stop(0)


def test_every_line_of_a_role_is_shown_also_those_of_its_last_moment(loop: Loop) -> None:
    role = loop.start("for n in range(20000): print('line', n)")
    assert loop.processes.until(lambda: role.ended, 20)
    role.listen()
    assert loop.lines() == [f"line {n}" for n in range(20000)]
    assert list(role.tail) == [f"line {n}" for n in range(19985, 20000)]


def test_a_last_line_without_its_end_is_shown(loop: Loop) -> None:
    role = loop.start("import sys; sys.stderr.write('first\\nhalf a line')")
    assert loop.processes.until(lambda: role.silent, 10)
    assert loop.lines() == ["first", "half a line"]


def test_a_line_without_end_does_not_fill_the_memory(loop: Loop) -> None:
    role = loop.start("import sys; sys.stdout.write('x' * 1_000_000)")
    assert loop.processes.until(lambda: role.silent, 10)
    assert "".join(loop.lines()) == "x" * 1_000_000
    assert max(map(len, loop.lines())) <= 2 * 64 * 1024


def test_signals_ask_to_stop_once_and_do_not_reach_the_roles(loop: Loop) -> None:
    role = loop.start("import signal; print('there', flush=True); signal.pause()")
    assert loop.processes.until(lambda: loop.lines() == ["there"], 10)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
    with pytest.raises(StopAsked):
        loop.processes.until(lambda: False, 10)
    assert not role.ended
    assert loop.processes.stop(10) == []
    assert role.exit == "killed by SIGTERM"


def test_a_role_that_does_not_leave_is_killed_with_all_it_started(loop: Loop) -> None:
    role = loop.start(
        "import os, signal, sys, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "print(child.pid, flush=True)\n"
        "while True: signal.pause()\n"
    )
    assert loop.processes.until(lambda: bool(loop.lines()), 10)
    [child] = map(int, loop.lines())
    assert loop.processes.stop(0.5) == [role]
    assert role.exit == "killed by SIGKILL"
    until(lambda: not alive(child), 5)


def test_what_a_role_leaves_behind_is_ended_too(loop: Loop) -> None:
    role = loop.start("import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True)")
    assert loop.processes.until(lambda: role.ended, 10)
    role.listen()
    [child] = map(int, loop.lines())
    assert alive(child)
    assert loop.processes.stop(1) == []
    until(lambda: not alive(child), 5)


def test_an_end_is_noticed_and_told(loop: Loop) -> None:
    loop.start("import signal; signal.pause()", "lasting")
    ending = loop.start("raise SystemExit(7)", "ending")
    assert loop.processes.until(lambda: loop.processes.ended is not None, 10)
    assert loop.processes.ended is ending
    assert ending.exit == "exit code 7"


def test_lines_carry_the_name_of_their_role_unless_they_are_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    on_terminal(plain=False)("web", b'{"message": "x"}')
    on_terminal(plain=True)("web", b'{"message": "x"}')
    on_terminal(plain=True)("worker", b"Traceback")
    out, _ = capfdbinary.readouterr()
    assert out.splitlines() == [b'web     | {"message": "x"}', b'{"message": "x"}', b"worker  | Traceback"]
