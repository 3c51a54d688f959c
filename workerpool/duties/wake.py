"""Hears the enqueuers' hints and wakes so many idle workers."""

import array
import fcntl
import logging
import os
import secrets
import termios
import time

from sql import hints
from sql.connection import Connection

log = logging.getLogger(__name__)

_PROOF_SECONDS = 1.0


class Wake:
    """Only the steward listens: four workers that did made five claims a job.

    `write_fd` is the non-blocking pipe idle workers wait on; one byte wakes one of them.
    """

    def __init__(self, write_fd: int, most: int) -> None:
        self._write_fd = write_fd
        self._most = most
        self._proof = ""
        self._proof_until = 0.0

    def listen(self, conn: Connection) -> None:
        """Starts to listen on a fresh connection, and sends itself a hint to prove that it hears."""
        hints.listen(conn)
        self._proof = f"proof {secrets.token_hex(8)}"
        self._proof_until = time.monotonic() + _PROOF_SECONDS
        hints.hint(conn, self._proof)

    def hear(self, conn: Connection) -> None:
        """Wakes as many workers as jobs came since the last call."""
        came = 0
        for payload in conn.notifications():
            if payload.isascii() and payload.isdigit():
                came += min(int(payload[:9]), self._most)
            elif payload == self._proof:
                self._proof = ""
                log.info("hears the hints of enqueuers")
        if self._proof and time.monotonic() > self._proof_until:
            self._proof = ""
            log.warning("polling only: a pooler between here and PostgreSQL swallows LISTEN")
        if came:
            self.wake(came)

    def wake(self, count: int) -> None:
        """Leaves `count` bytes in the pipe, no more than there are workers: busy ones do not read them."""
        unread = array.array("i", [0])
        fcntl.ioctl(self._write_fd, termios.FIONREAD, unread)
        try:
            os.write(self._write_fd, b"!" * max(0, min(count, self._most) - unread[0]))
        except BlockingIOError:
            # Full: everybody is awake already.
            pass
