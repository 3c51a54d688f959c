"""Cuts connections whose answer is overdue, from a thread beside those that wait for it inside libpq.

The server ends a slow statement itself, and the guards of the link see a dead one. This is for what keeps a connection
open and says nothing for ever: a server that is frozen, or a proxy whose own server is gone.
"""

import os
import signal
import socket
import threading
import time
import weakref

from sql.connection import Connection


class Watch:
    """One thread per process, started with the first connection, so never before a fork. It looks `every` seconds."""

    def __init__(self, every: float = 0.25) -> None:
        self._every = every
        self._watched: weakref.WeakKeyDictionary[Connection, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._pid: int | None = None

    def over(self, connection: Connection) -> Connection:
        """`connection`, watched from now on: what it owes too long raises Unavailable where it is waited for."""
        # A descriptor of our own for the same socket: libpq may close its own at any moment, and the number be reused.
        descriptor = os.dup(connection.fileno())
        weakref.finalize(connection, os.close, descriptor)
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                # What a parent has opened is the parent's to cut.
                self._watched.clear()
                threading.Thread(target=self._run, name="database watch", daemon=True).start()
            self._watched[connection] = descriptor
        return connection

    def _run(self) -> None:
        # They are for the main thread, whose waits they end.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pause = threading.Event()
        while True:
            pause.wait(self._every)
            self._look()

    def _look(self) -> None:
        with self._lock:
            # Whoever is held here keeps its descriptor.
            watched = list(self._watched.items())
        now = time.monotonic()
        for connection, descriptor in watched:
            if connection.is_overdue(now):
                _cut(descriptor)


def _cut(descriptor: int) -> None:
    link = socket.socket(fileno=descriptor)
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side was quicker.
        pass
    finally:
        link.detach()
