"""The role processes of `windlass up`: started, listened to, and ended, by one loop without threads."""

import math
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

_TAIL_LINES = 15
_LONGEST_LINE = 64 * 1024
_ORPHANS_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Show = Callable[[str, bytes], None]


class StopAsked(Exception):
    """A signal asked us to end."""


class Role:
    """One started process and what it says. Its session is its own: a Ctrl-C in our terminal does not reach it."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], show: Show) -> None:
        assert process.stdout is not None
        self.name = name
        self.process = process
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._output = process.stdout
        self._show = show
        self._partial = b""
        os.set_blocking(self._output.fileno(), False)

    def fileno(self) -> int:
        """Readable when it said something."""
        return self._output.fileno()

    @property
    def silent(self) -> bool:
        """Nobody will say anything any more."""
        return self._output.closed

    @property
    def ended(self) -> bool:
        """The process has ended; what it left may still be running."""
        return self.process.poll() is not None

    @property
    def exit(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def listen(self) -> None:
        """Shows the lines that are there; does not wait for more."""
        while not self.silent:
            try:
                said = os.read(self._output.fileno(), _LONGEST_LINE)
            except BlockingIOError:
                return
            *lines, self._partial = (self._partial + said).split(b"\n")
            if not said or len(self._partial) > _LONGEST_LINE:
                lines, self._partial = [*lines, *filter(None, [self._partial])], b""
            for line in lines:
                self.tail.append(line.decode(errors="replace"))
                self._show(self.name, line)
            if not said:
                self._output.close()

    def signal(self, number: signal.Signals) -> None:
        """To the process itself: what it started, it ends."""
        if not self.ended:
            self.process.send_signal(number)

    def kill_all(self) -> bool:
        """KILL to its whole process group; False when nothing is left of it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    @property
    def left_over(self) -> bool:
        """Anything of its process group still runs."""
        try:
            os.killpg(self.process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class Processes:
    """The roles that run, and the one loop that serves them. Use inside `hearing_signals`."""

    def __init__(self, show: Show) -> None:
        self._stop_asked = False
        self._show = show
        self._roles: list[Role] = []
        self._wakeup = -1

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Inside, TERM, INT and HUP only ask to stop, however often they come."""
        self._wakeup, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        former = {number: signal.signal(number, self._heard) for number in (*_STOP_SIGNALS, signal.SIGCHLD)}
        former_wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(former_wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(self._wakeup)
            os.close(write)

    def _heard(self, number: int, _frame: object) -> None:
        self._stop_asked = self._stop_asked or number in _STOP_SIGNALS

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str], inherit: Iterable[int] = ()) -> Role:
        """Starts `command` as the role `name`, in a session of its own."""
        process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(inherit),
        )
        role = Role(name, process, self._show)
        self._roles.append(role)
        return role

    def _wait(self, seconds: float) -> None:
        """Shows what the roles say, until something happened (a line, a signal, an end) or `seconds` have passed."""
        listening = [role for role in self._roles if not role.silent]
        handles = [self._wakeup, *(role.fileno() for role in listening)]
        if self._wakeup in select.select(handles, [], [], max(0.0, seconds))[0]:
            os.read(self._wakeup, 4096)
        for role in listening:
            role.listen()

    def until(self, condition: Callable[[], bool], seconds: float = math.inf) -> bool:
        """Serves the roles until `condition`; False when `seconds` passed first. Raises StopAsked."""
        return self._served(lambda: self._stop_noticed() or condition(), seconds)

    def _stop_noticed(self) -> bool:
        if self._stop_asked:
            raise StopAsked
        return False

    def _served(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait(min(_LOOK_SECONDS, left))
        return True

    @property
    def ended(self) -> Role | None:
        """A role that has ended, if any has."""
        return next((role for role in self._roles if role.ended), None)

    def forget(self, role: Role) -> None:
        """A role that has done its work."""
        role.listen()
        self._roles.remove(role)

    def stop(self, seconds: float) -> list[Role]:
        """TERM to all in the order they were started, KILL after `seconds`; returns those that had to be killed."""
        for role in self._roles:
            role.signal(signal.SIGTERM)
        self._served(lambda: all(role.ended for role in self._roles), seconds)
        late = [role for role in self._roles if not role.ended]
        for role in late:
            role.kill_all()
        # Children of a role that was killed notice it themselves; they get a moment to.
        self._served(lambda: not any(role.left_over for role in self._roles), _ORPHANS_SECONDS)
        for role in self._roles:
            role.kill_all()
            role.process.wait()
            role.listen()
        return late


def tell(line: str | bytes, file: TextIO | None = None) -> None:
    """Writes a line to standard output, or to the other of the two, past Python's buffer.

    A reader that went away, a closed terminal or a full disk must not end the service, nor spoil its exit code.
    """
    left = memoryview((line.encode() if isinstance(line, str) else line) + b"\n")
    with suppress(OSError):
        while left:
            left = left[os.write((file or sys.stdout).fileno(), left) :]


def on_terminal(plain: bool) -> Show:
    """Tells each line with the name of its role before it; with `plain`, lines of JSON go as they are."""

    def show(role: str, line: bytes) -> None:
        tell(line if plain and line.startswith(b"{") else f"{role:<8}| ".encode() + line)

    return show
