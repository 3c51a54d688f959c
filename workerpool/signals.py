"""The inbox: signals become numbers that a loop takes when it is ready for them.

A handler only puts the number in the inbox. The wakeup descriptor ends any wait at once, also a signal that
arrives just before it; Python's own handlers alone would leave that gap.
"""

import os
import select
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

# A worker deep in a handler takes nothing for minutes; a flood meanwhile must not grow without end.
_MOST_PENDING = 64


class Inbox:
    """One per process, used by its main thread.

    received  signal numbers that wait to be taken, in the order they came; looking costs no system call
    """

    def __init__(self) -> None:
        self.received: deque[int] = deque()
        self._former: dict[int, signal._HANDLER] = {}
        self._former_wakeup = -1
        self._open_pipe()

    def _open_pipe(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def _close_pipe(self) -> None:
        os.close(self._read)
        os.close(self._write)

    def install(self, heard: Iterable[int], unheeded: Iterable[int] = ()) -> None:
        """Receive the `heard` signals; `unheeded` ones do nothing but end a wait early.

        Neither is SIG_IGN, which programs started by a handler would inherit.
        """
        self._former_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in heard:
            self._former[number] = signal.signal(number, self._receive)
        for number in unheeded:
            self._former[number] = signal.signal(number, _nothing)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if Counter(self.received)[number] < _MOST_PENDING:
            self.received.append(number)

    def fileno(self) -> int:
        """Readable when a signal came. Only `wait` empties it."""
        return self._read

    def take(self) -> list[int]:
        """Signal numbers in the order they came, each as often as it was delivered."""
        taken = []
        while self.received:
            taken.append(self.received.popleft())
        return taken

    def wait(self, timeout: float | None, *descriptors: int) -> set[int]:
        """Until a signal, a readable descriptor or `timeout` seconds; the descriptors that are ready.

        It may return early with nothing received, and returns at once when something is received already.
        """
        poller = select.poll()
        for descriptor in (self._read, *descriptors):
            poller.register(descriptor, select.POLLIN)
        if self.received:
            timeout = 0
        ready = {descriptor for descriptor, _ in poller.poll(None if timeout is None else max(0.0, timeout) * 1000)}
        if self._read in ready:
            self._empty_pipe()
        return ready - {self._read}

    def _empty_pipe(self) -> None:
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            pass

    def reset_in_child(self) -> None:
        """After a fork: forget the parent's signals, pipe and handlers, and start with a pipe of one's own."""
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        self.received.clear()
        self._former.clear()
        self._close_pipe()
        self._open_pipe()

    def close(self, *, for_good: bool = False) -> None:
        """Give the signals back to whoever had them before; `for_good`, in a process that ends now, to nobody: told to
        end once more it must not die of it.
        """
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_IGN if for_good else handler)
        signal.set_wakeup_fd(self._former_wakeup)
        self._close_pipe()


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN it is not inherited by a program that a handler starts."""


@contextmanager
def blocked() -> Iterator[None]:
    """No signal is delivered inside; the kernel keeps them, for parent and forked child each its own."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
