"""How the signals of a worker over HTTP reach its main thread."""

import os
import select
import signal
from contextlib import suppress
from types import TracebackType
from typing import Self

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """While entered, TERM, INT and HUP only end the wait, however often they come. For the main thread.

    A pipe and not an Event: a handler that sets one while its own thread is about to wait for it would wait for ever.
    """

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # One that is ignored, as nohup does, stays ignored.
        heard = [number for number in _STOP if signal.getsignal(number) is not signal.SIG_IGN]
        self._former = {number: signal.signal(number, lambda *_: None) for number in heard}
        self._former_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self) -> None:
        """Until a signal has come, or `wake` was called."""
        select.select([self._read], [], [])

    def wake(self) -> None:
        """As a signal would; from any thread, also from one that is late."""
        with suppress(OSError):
            os.write(self._write, b"\0")
