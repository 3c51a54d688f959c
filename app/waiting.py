"""Long polls: requests that wait for work, and what wakes them.

A waiting request holds a thread, so at most half of a process's threads may. One thread per process listens for all of
them; each also looks by itself now and then, so a pooler that swallows LISTEN costs only delay.
"""

import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable

import sql.hints
from app.services.leases import Found
from sql.connection import Connection
from sql.errors import StorageError

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 0.5
# Whoever waits may cost the database a tenth of its time at most, however often others enqueue.
_SHORTEST_PAUSE_SECONDS = 0.02
_REST = 10
# Shorter than the database lends its connection for.
_LONGEST_REST_SECONDS = 2.0
_LISTEN_ON_SECONDS = 30.0
_LISTENER_TICK_SECONDS = 1.0


class WaitingRoom:
    """The long polls of one process; `places` is how many may wait, `connect` opens the listener's connection."""

    def __init__(self, connect: Callable[[], Connection], places: int) -> None:
        self._connect = connect
        self._places = places
        self._changed = threading.Condition()
        self._heard = 0
        self.waiting = 0
        """How many wait at this moment."""
        self._left_at = 0.0
        self._ended = False
        self._listener: threading.Thread | None = None

    def poll(self, look: Callable[[], Found], seconds: float, is_there: Callable[[], bool]) -> Found:
        """What the first look that finds work found; the last look's answer when `seconds` pass before that, when
        `end` is called, when the client is not there any more, and at once when there is no place.
        """
        until = time.monotonic() + seconds
        # Noted before the look: a hint that comes during it is not missed.
        heard = self._heard
        began = time.monotonic()
        found = look()
        if found.jobs or seconds <= 0 or not self._enter():
            return found
        try:
            while self._pause(heard, began, found.due_in, until) and is_there():
                heard = self._heard
                began = time.monotonic()
                found = look()
                if found.jobs:
                    break
            return found
        finally:
            self._leave()

    def end(self) -> None:
        """The process is to stop: nobody waits any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _pause(self, heard: int, began: float, due_in: float | None, until: float) -> bool:
        """Waits until another look, after one that `began` then, is worth its cost; False when there is to be none."""
        looked = time.monotonic()
        least = min(max(_SHORTEST_PAUSE_SECONDS, _REST * (looked - began)), _LONGEST_REST_SECONDS)
        most = random.uniform(_LONGEST_PAUSE_SECONDS / 2, _LONGEST_PAUSE_SECONDS)
        if due_in:
            most = min(most, due_in)
        left = until - looked
        with self._changed:
            if self._changed.wait_for(lambda: self._ended, min(least, left)) or left < least:
                return False
            most = min(max(most, least), left)
            self._changed.wait_for(lambda: self._ended or self._heard != heard, most - least)
            return not self._ended

    def _enter(self) -> bool:
        with self._changed:
            if self.waiting >= self._places:
                return False
            self.waiting += 1
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen, name="long polls", daemon=True)
                self._listener.start()
            return True

    def _leave(self) -> None:
        with self._changed:
            self.waiting -= 1
            self._left_at = time.monotonic()

    def _listen(self) -> None:
        conn: Connection | None = None
        while not self._is_over():
            try:
                if conn is None:
                    conn = self._connect()
                    sql.hints.listen(conn)
                    # What came until now was not heard.
                    self._tell()
                if _is_readable(conn.fileno(), _LISTENER_TICK_SECONDS) and conn.notifications():
                    self._tell()
            except StorageError as error:
                log.debug("hints are not heard: %s", error)
                if conn is not None:
                    conn.close()
                conn = None
                with self._changed:
                    self._changed.wait_for(lambda: self._ended, _LISTENER_TICK_SECONDS)
        if conn is not None:
            conn.close()

    def _is_over(self) -> bool:
        with self._changed:
            unused = not self.waiting and time.monotonic() - self._left_at > _LISTEN_ON_SECONDS
            if self._ended or unused:
                self._listener = None
                return True
            return False

    def _tell(self) -> None:
        with self._changed:
            self._heard += 1
            self._changed.notify_all()


def is_open(client: socket.socket | None) -> bool:
    """Whether a client has not hung up; who asks without a socket (a test) is there."""
    if client is None:
        return True
    try:
        # The base class's: a TLS socket takes no flags.
        return not _is_readable(client.fileno(), 0) or socket.socket.recv(client, 1, socket.MSG_PEEK) != b""
    except (OSError, ValueError):
        return False


def _is_readable(descriptor: int, seconds: float) -> bool:
    # Not select(), which takes no descriptor beyond 1,023.
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    return bool(readable.poll(seconds * 1000))
