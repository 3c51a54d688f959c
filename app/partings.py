"""Clients that were told that this is all. They may read it to the end, so that no reset overtakes it, but nobody waits
for them to hang up, and they keep their socket for a moment only.
"""

import selectors
import socket
import time
from typing import Any

TOO_MUCH_FRAMING = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# So long a client may take to hang up.
_LINGER_SECONDS = 2.0


class Partings:
    """For the main thread alone; `most` is how many may be under way at once."""

    def __init__(self, poller: selectors.BaseSelector, most: int) -> None:
        self._poller = poller
        self._most = most
        self._lingering: dict[socket.socket, float] = {}

    def refuse(self, sock: socket.socket, answer: bytes) -> None:
        """Answers without the thread that the request would have cost, as far as that goes without waiting."""
        try:
            sock.send(answer, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            pass
        self.linger(sock)

    def linger(self, sock: socket.socket) -> None:
        """Says that there is no more, and closes when the client has done the same or its time is over."""
        try:
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
            self._poller.register(sock, selectors.EVENT_READ, self._discard)
        except (OSError, ValueError):
            sock.close()
            return
        self._lingering[sock] = time.monotonic() + _LINGER_SECONDS
        if len(self._lingering) > self._most:
            self._hang_up(next(iter(self._lingering)))

    def sweep(self, now: float, force: bool) -> None:
        """Hangs up on those whose time is over; on all, if forced."""
        for sock, until in list(self._lingering.items()):
            if now > until or force:
                self._hang_up(sock)

    def _discard(self, sock: Any) -> None:
        if sock not in self._lingering:
            return
        try:
            if sock.recv(65536):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._hang_up(sock)

    def _hang_up(self, sock: socket.socket) -> None:
        del self._lingering[sock]
        self._poller.unregister(sock)
        sock.close()
