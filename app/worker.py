"""gunicorn's threaded worker with two promises more: nobody who got through to it is left unanswered when it stops, and
nobody holds one of its threads for ever by sending a byte now and then.
"""

import select
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from app import context

# gunicorn's way, back to the main thread and from there to a thread of the pool, took 100 µs of an enqueue's 900. Who
# asks again at once does so within a fraction of this.
_NEXT_REQUEST_MS = 2


class Worker(ThreadWorker):  # type: ignore[misc]
    """Set as gunicorn's `worker_class`. `timeout` is the longest that one request may take, reading it included."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: dict[Any, float] = {}

    def set_accept_enabled(self, enabled: bool) -> None:
        """gunicorn's; and once it stops, ends the waits, answers those still in the listener's queue, and hangs it up.

        gunicorn keeps it open until the last request is answered: whoever connects meanwhile would wait, and be reset.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            here = context.of(self.wsgi)
            here.waiting.end()
            here.counts.end()
            for listener in self.sockets:
                taken = -1
                while taken != self.nr_conns:
                    taken = self.nr_conns
                    self.accept(listener)
                listener.close()

    def handle(self, conn: Any) -> Any:
        """gunicorn's; in a thread of the pool, from the first byte of a request to the last of its answer, and on with
        the client's next one if that comes at once.
        """
        try:
            while True:
                self._busy[conn] = time.monotonic() + self.cfg.timeout
                kept = super().handle(conn)
                if kept is not True or not self._asks_again(conn):
                    return kept
        finally:
            self._busy.pop(conn, None)

    def _asks_again(self, conn: Any) -> bool:
        """Whether the next request of a client that has been answered comes while its thread waits for it."""
        if conn.parser.unreader.buf.getvalue():
            # It has come together with the last, and so the socket has nothing to tell of it.
            return True
        # A thread that waits here takes nobody else's request.
        if len(self._busy) > self.cfg.threads // 2:
            return False
        arrivals = select.poll()
        arrivals.register(conn.sock, select.POLLIN)
        return bool(arrivals.poll(_NEXT_REQUEST_MS))

    def murder_keepalived(self, force: bool = False) -> None:
        """gunicorn's, every second at least; and hangs up on requests that take too long."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for conn, until in list(self._busy.items()):
            if now > until:
                try:
                    conn.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
