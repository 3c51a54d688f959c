"""Runs a command over a job's payload: fed, listened to, ended in time, and nothing of it left behind."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from app.commands.remote.held import Held

MOST_OUTPUT = 512 * 1024
MOST_ERRORS = 4 * 1024
_CHUNK = 64 * 1024
# More than a pipe can hold.
_LAST_CHUNKS = 32
# How often we look, where the kernel gives no handle on a process.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is what it exited with, or the negative number of the signal that killed it.

    `told`: it had been asked to end. `output` is None when there was more than MOST_OUTPUT of it; `errors` is the last
    MOST_ERRORS of standard error.
    """

    code: int
    timed_out: bool
    told: bool
    output: bytes | None
    errors: bytes

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exit {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"


class Command:
    """One run of a command, which leads a process group of its own, `group`."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], stdin: bytes) -> None:
        """Starts it. Raises OSError or ValueError when it cannot be started."""
        self._process = subprocess.Popen(
            arguments,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self.group = self._process.pid
        self._unsaid = memoryview(stdin)
        self._output = bytearray()
        self._errors = bytearray()
        self._told = False
        self._kill_at: float | None = None

    def run(self, held: Held, seconds: float | None) -> Ended:
        """Until it ends by itself, or `held` is asked to end, or `seconds` have passed; nothing is left of it then.

        Its group's number stays taken until `forget`.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        timed_out = False
        with selectors.DefaultSelector() as selector, self._end_handle() as handle:
            stdin, stdout, stderr = self._pipes()
            selector.register(stdin, selectors.EVENT_WRITE, self._feed)
            selector.register(stdout, selectors.EVENT_READ, self._hear)
            selector.register(stderr, selectors.EVENT_READ, self._hear_errors)
            selector.register(held.asked, selectors.EVENT_READ, lambda: self._leave(held))
            if handle is not None:
                selector.register(handle, selectors.EVENT_READ, lambda: True)
            while (code := self._exit_code()) is None:
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    timed_out, deadline, self._kill_at = True, None, now
                if self._kill_at is not None and now >= self._kill_at:
                    self._kill_at = None
                    self.kill()
                look = None if handle is not None else now + _LOOK_SECONDS
                self._serve(selector, [moment for moment in (deadline, self._kill_at, look) if moment is not None])
        # Before the rest is read: whoever is left could write without end.
        self.kill()
        for hear in (self._hear, self._hear_errors):
            for _ in range(_LAST_CHUNKS):
                if not hear():
                    break
        output = bytes(self._output) if len(self._output) <= MOST_OUTPUT else None
        return Ended(code, timed_out, self._told, output, bytes(self._errors))

    def kill(self) -> None:
        """Ends its whole group at once."""
        self._signal(signal.SIGKILL)

    def forget(self) -> None:
        """Closes its pipes and gives its number back; what was killed is gone then."""
        with self._process:
            pass

    # Those that serve a pipe answer False when there will be nothing more to do, None when there is nothing just now.

    def _pipes(self) -> tuple[int, int, int]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        pipes = process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()
        for pipe in pipes:
            os.set_blocking(pipe, False)
        return pipes

    @contextmanager
    def _end_handle(self) -> Iterator[int | None]:
        """Readable once the process has ended; None from a kernel that has none."""
        try:
            handle = os.pidfd_open(self.group)
        except OSError:
            yield None
            return
        try:
            yield handle
        finally:
            os.close(handle)

    def _exit_code(self) -> int | None:
        ended = os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    @staticmethod
    def _serve(selector: selectors.BaseSelector, moments: Sequence[float]) -> None:
        """Waits until something happens or the first of `moments` has come."""
        wait = max(0.0, min(moments) - time.monotonic()) if moments else None
        for key, _ in selector.select(wait):
            if key.data() is False:
                selector.unregister(key.fileobj)

    def _leave(self, held: Held) -> bool:
        os.eventfd_read(held.asked)
        assert held.ending is not None
        self._told = True
        if held.ending.value:
            self._signal(signal.SIGTERM)
        self._kill_at = time.monotonic() + held.ending.value
        return True

    def _signal(self, number: signal.Signals) -> None:
        # Another user's, as sudo makes them, are not ours to signal.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, number)

    def _feed(self) -> bool:
        assert self._process.stdin is not None
        try:
            self._unsaid = self._unsaid[os.write(self._process.stdin.fileno(), self._unsaid[:_CHUNK]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            # It does not want the rest.
            self._unsaid = self._unsaid[:0]
        if not self._unsaid:
            self._process.stdin.close()
        return bool(self._unsaid)

    def _hear(self) -> bool | None:
        assert self._process.stdout is not None
        chunk = _read(self._process.stdout.fileno())
        # One byte beyond the limit says that there was more.
        self._output += (chunk or b"")[: MOST_OUTPUT + 1 - len(self._output)]
        return None if chunk is None else bool(chunk)

    def _hear_errors(self) -> bool | None:
        assert self._process.stderr is not None
        chunk = _read(self._process.stderr.fileno())
        self._errors = (self._errors + (chunk or b""))[-MOST_ERRORS:]
        return None if chunk is None else bool(chunk)


def _read(pipe: int) -> bytes | None:
    """What is there: b"" at the end, None when there is nothing just now."""
    try:
        return os.read(pipe, _CHUNK)
    except BlockingIOError:
        return None
