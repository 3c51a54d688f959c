"""The pipe that a pool's idle workers wait on: each byte in it wakes one of them."""

import array
import fcntl
import os
import termios


class WakePipe:
    """Made before the first fork; `workers` are how many there may be to wake."""

    def __init__(self, workers: int) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._workers = workers

    def fileno(self) -> int:
        """Readable while somebody is to wake."""
        return self._read

    def wake(self, count: int) -> None:
        """Adds `count` bytes, up to one for each worker: busy ones do not read them."""
        unread = array.array("i", [0])
        fcntl.ioctl(self._read, termios.FIONREAD, unread)
        try:
            os.write(self._write, b"!" * max(0, min(count, self._workers - unread[0])))
        except BlockingIOError:
            # Full: everybody is awake already.
            pass

    def woken(self) -> bool:
        """Takes a byte; False when another worker was quicker."""
        try:
            return bool(os.read(self._read, 1))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """For tests: a pool has it as long as it lives."""
        os.close(self._read)
        os.close(self._write)
