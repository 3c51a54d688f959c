"""What handlers saw, written for the bench to read. Also loaded in our own workers."""

import os
import threading
import time
from pathlib import Path

_FOLDER = Path(os.environ["BENCH_FOLDER"])
_EACH_START = os.environ.get("BENCH_EACH_START") == "1"
# How far behind the bench may be; it looks as often.
_INTERVAL_SECONDS = 0.02


class Tally:
    """Counts starts in memory and writes `count first_start` to a file named by the pid, from a thread.

    With BENCH_EACH_START it writes `number start` of every job instead. Times are of the monotonic clock, in
    nanoseconds. Begins at the first start, so always in the process that runs handlers.
    """

    def __init__(self) -> None:
        self._count = 0
        self._first = 0
        self._starts: int | None = None

    def started(self, number: int) -> None:
        """A handler of job `number` starts."""
        now = time.monotonic_ns()
        if not self._count:
            self._first = now
            self._begin()
        self._count += 1
        if self._starts is not None:
            os.write(self._starts, b"%d %d\n" % (number, now))

    def _begin(self) -> None:
        path = _FOLDER / str(os.getpid())
        if _EACH_START:
            self._starts = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        else:
            threading.Thread(target=self._write, args=[path], daemon=True).start()

    def _write(self, path: Path) -> None:
        draft, written = path.with_suffix(".new"), 0
        while True:
            if self._count != written:
                written = self._count
                draft.write_text(f"{written} {self._first}")
                draft.rename(path)
            time.sleep(_INTERVAL_SECONDS)


tally = Tally()
