"""gunicorn's threaded worker with promises of ours: nobody who got through to it is left unanswered when it stops;
nobody holds one of its threads by sending slowly or not at all, or its main loop by not hanging up; and nothing that a
client sent is repeated in what is said of its malformed request.

Requests are gathered by the main thread (`app.arrivals`) and get a thread when they are whole. Where gunicorn itself
does TLS all that is as gunicorn has it.
"""

import errno
import select
import selectors
import socket
import struct
import threading
import time
from functools import partial
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from app import context
from app.arrivals import Arrival, Bounds
from app.connection import ClientConnection
from app.listening import has_open
from app.partings import NO_ROOM, TOO_MUCH_FRAMING, Partings

# gunicorn's way, back to the main thread and from there to a thread of the pool, took 100 µs of an enqueue's 900. Who
# asks again at once does so within a fraction of this.
_NEXT_REQUEST_MS = 2
# What all requests that no thread has begun with may hold together, beside the largest body there may be.
_MOST_GATHERED = 64 * 1024 * 1024
_SWEEP_SECONDS = 0.5
# A master that is told to end together with its workers hangs up within so long, unless it is stopped.
_MASTER_SECONDS = 1.0
# A send that gets nothing out for so long ends the connection; the first ones of an answer fill buffers and get by.
_STALLED = struct.pack("ll", 5, 0)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Set as gunicorn's `worker_class`. `timeout` is the longest that one request may take, reading it included."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: dict[Any, float] = {}
        self._arriving: dict[Any, Arrival] = {}
        self._gathered = 0
        self._handed: dict[Any, int] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._swept_at = 0.0
        cfg = self.cfg
        head = cfg.limit_request_line + cfg.limit_request_fields * (cfg.limit_request_field_size + 2) + 4
        self._bounds = Bounds(head, cfg.limit_request_field_size, 0)

    def init_process(self) -> None:
        """gunicorn's, which loads the application."""
        self._bounds = self._bounds._replace(body=context.of(self.app.wsgi()).settings.max_body_bytes)
        super().init_process()

    def run(self) -> None:
        """gunicorn's."""
        self.partings = Partings(self.poller, self.worker_connections // 4)
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        """gunicorn's; and once it stops, ends the waits, answers those still in the listener's queue, and hangs it up.

        gunicorn keeps it open until the last request is answered: whoever connects meanwhile would wait, and be reset.
        """
        if not enabled and not self.alive:
            self._outlast_the_master()
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
            for arrival in self._arriving.values():
                arrival.until = min(arrival.until, time.monotonic() + STOP_KEEPALIVE_LINGER)

    def _outlast_the_master(self) -> None:
        """Serves on until the master has hung up. It accepts nobody: whoever connects between our end and its own waits
        for its end, and is reset. One that replaces its workers does not hang up, and nobody is lost by it.
        """
        until = time.monotonic() + _MASTER_SECONDS
        while time.monotonic() < until and has_open(self.ppid, self.sockets):
            self.notify()
            self.wait_for_and_dispatch_events(timeout=0.01)

    def accept(self, listener: Any) -> None:
        """gunicorn's, but no thread waits for the first byte, and those who send nothing keep nobody out."""
        if self.cfg.is_ssl:
            super().accept(listener)
            return
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.log.warning("no descriptor is left for another connection")
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _STALLED)
        conn = ClientConnection(self.cfg, sock, client, listener.getsockname(), self.partings)
        conn.init()
        self.enqueue_req(conn)

    def enqueue_req(self, conn: Any) -> None:
        """gunicorn's, once all of the request is there."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        arrival = Arrival(self._bounds, conn.parser.unreader.take_buffered())
        arrival.read(conn.sock)
        if arrival.whole:
            self._hand_over(conn, arrival)
            return
        arrival.until = time.monotonic() + (self.cfg.timeout if arrival.data else self.cfg.keepalive)
        if not self.alive:
            arrival.until = min(arrival.until, time.monotonic() + STOP_KEEPALIVE_LINGER)
        self._arriving[conn] = arrival
        self._gathered += len(arrival.data)
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._gather, conn, arrival))
        self._answer_expectation(conn, arrival)
        self._have_room()

    def _gather(self, conn: Any, arrival: Arrival, sock: Any) -> None:
        if conn not in self._arriving:
            # Dropped for another that came with the same look at the poller.
            return
        had = len(arrival.data)
        arrival.read(sock)
        self._gathered += len(arrival.data) - had
        if arrival.whole:
            self._forget(conn)
            self._hand_over(conn, arrival)
            return
        if not had and arrival.data:
            arrival.until = min(arrival.until, time.monotonic() + self.cfg.timeout)
        self._answer_expectation(conn, arrival)
        self._have_room()

    def _have_room(self, size: int = 0) -> bool:
        """Whether so many bytes more may be held; those who have sent most, and are not done, make way for them."""
        while self._gathered + self._waiting + size > _MOST_GATHERED + self._bounds.body:
            largest = max(self._arriving, key=lambda each: len(self._arriving[each].data), default=None)
            if largest is None or not self._arriving[largest].data:
                return False
            self._forget(largest)
            self._drop(largest)
        return True

    def _hand_over(self, conn: Any, arrival: Arrival) -> None:
        if not arrival.data:
            self._drop(conn)
            return
        size = len(arrival.data)
        if arrival.refused or not self._have_room(size):
            self.nr_conns -= 1
            self.partings.refuse(conn.sock, TOO_MUCH_FRAMING if arrival.refused else NO_ROOM)
            return
        conn.complete = arrival.complete
        conn.parser.unreader.give(bytes(arrival.data))
        with self._lock:
            self._handed[conn] = size
            self._waiting += size
        super().enqueue_req(conn)

    def _answer_expectation(self, conn: Any, arrival: Arrival) -> None:
        if arrival.expects:
            arrival.expects = False
            try:
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                pass

    def _forget(self, conn: Any) -> None:
        self._gathered -= len(self._arriving.pop(conn).data)
        self.poller.unregister(conn.sock)

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def _make_room(self) -> None:
        """Hangs up on whoever has been sending a request, or nothing, for longest; else on who was answered first."""
        if self._arriving:
            oldest = next(iter(self._arriving))
            self._forget(oldest)
            self._drop(oldest)
        elif self.keepalived_conns:
            idle = self.keepalived_conns.popleft()
            self.poller.unregister(idle.sock)
            self._drop(idle)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """gunicorn's, unless room was made meanwhile."""
        if conn in self.keepalived_conns:
            super().on_client_socket_readable(conn, client)

    def handle(self, conn: Any) -> Any:
        """gunicorn's; in a thread of the pool, from a request that is whole to the last of its answer, and on with the
        client's next one if that comes at once.
        """
        try:
            with self._lock:
                self._waiting -= self._handed.pop(conn, 0)
            while True:
                self._busy[conn] = time.monotonic() + self.cfg.timeout
                kept = super().handle(conn)
                if kept is not True or not self._asks_again(conn):
                    return kept
        finally:
            self._busy.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """gunicorn's; a client that reads no answer is one that hung up, and not an error of ours."""
        try:
            return super().handle_request(req, conn)
        except BlockingIOError as error:
            raise BrokenPipeError(errno.EPIPE, "the client reads no answer") from error

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """gunicorn's, which answers and logs what it could not read: a header without its colon, token and all."""
        if isinstance(exc, ParseException):
            kind = type(exc)
            exc.__class__ = type(kind.__name__, (kind,), {"__str__": lambda _: kind.__name__})
        if hasattr(req, "uri"):
            req.uri = req.uri.partition("?")[0]
        super().handle_error(req, client, addr, exc)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """gunicorn's, but no thread waits for the rest of a body that was refused before it had come."""
        whole = self.cfg.is_ssl or conn.complete
        return bool(whole and super()._keepalive_after(conn, keepalive))

    def _asks_again(self, conn: Any) -> bool:
        """Whether the next request of a client that has been answered comes, whole, while its thread waits for it."""
        buffered = conn.parser.unreader.take_buffered()
        if not buffered:
            # A thread that waits here takes nobody else's request.
            if len(self._busy) > self.cfg.threads // 2:
                return False
            arrivals = select.poll()
            arrivals.register(conn.sock, select.POLLIN)
            if not arrivals.poll(_NEXT_REQUEST_MS):
                return False
        if self.cfg.is_ssl:
            conn.parser.unreader.unread(buffered)
            return True
        arrival = Arrival(self._bounds, buffered)
        arrival.read(conn.sock)
        conn.complete = arrival.complete
        # That a client has hung up gunicorn sees for itself.
        if arrival.whole and not arrival.refused:
            conn.parser.unreader.give(bytes(arrival.data))
            return True
        # gunicorn looks here for what it hands on to the poller.
        conn.parser.unreader.unread(bytes(arrival.data))
        return False

    def murder_keepalived(self, force: bool = False) -> None:
        """gunicorn's, every second at least; and hangs up on requests that take too long."""
        super().murder_keepalived(force)
        now = time.monotonic()
        if now < self._swept_at + _SWEEP_SECONDS and not force:
            return
        self._swept_at = now
        for conn, until in list(self._busy.items()):
            if now > until:
                try:
                    conn.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        for conn, arrival in list(self._arriving.items()):
            if now > arrival.until or force:
                self._forget(conn)
                self._drop(conn)
        self.partings.sweep(now, force)
