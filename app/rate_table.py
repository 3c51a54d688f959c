"""How often each client has asked: one table in memory that all processes of one gunicorn share.

A client's window begins with its first request and lasts a minute; in it so many requests pass as the limit says, and
what is refused does not count. So any minute sees at most twice the limit, less one: the end of one window and all
of the next.

**Size.** 4,096 sets of 32 places of 24 bytes: 3 MiB, whatever happens. A client belongs to one set, by a keyed hash
whose key is made at random for each gunicorn: nobody can choose whom to share a set with.

**How exact.** To the request, as long as no set gets more than 32 clients in a minute: at random the first to do so
appears after some 50,000 clients, and of 100,000 less than one in a hundred is in excess. Then a newcomer takes the
place of the one that asked least (of several, the one whose window is oldest), which is forgotten and may begin a new
window at once, so it gets more than its limit. Whoever has used much of its limit stays counted as long as others of
its set have used less: a flood of clients that ask once only pushes out its own kind. Nobody is ever charged for
another's requests, because a place holds 128 bits of its owner's hash: each refusal stands on as many requests as the
limit says, of the client itself and passed within the last minute.

**Deaths.** SIGKILL may come at any instruction. The number that publishes a place is one aligned 8-byte store, and a
place is empty while its key is written. The lock of a set is an `fcntl` record lock, which the kernel frees when its
holder dies; a holder that is stopped is waited for 1 s, and then the request passes uncounted.
"""

import fcntl
import hashlib
import logging
import mmap
import os
import struct
import threading
import time
import weakref
from collections.abc import Callable

log = logging.getLogger(__name__)

SETS = 4096
WAYS = 32
_KEY_BYTES = 16
# A state is 0 (empty), or how many passed in the window and, in the last 40 bits, when it began in milliseconds: so of
# two the smaller is the one to give up.
_STATE_BYTES = 8
_TIME_BITS = 40
_TIME_MASK = (1 << _TIME_BITS) - 1
_ONE = 1 << _TIME_BITS
MOST = (1 << (64 - _TIME_BITS)) - 1
"""The largest limit a table can keep."""

_PARTS = struct.Struct("=Q16s")
_PATIENCE_SECONDS = 1.0
# Holders need some microseconds.
_PAUSE_SECONDS = 0.0001


def _milliseconds() -> int:
    # CLOCK_MONOTONIC: the same for every process of the machine, and nobody sets it.
    return time.monotonic_ns() // 1_000_000


class RateTable:
    """`limit` requests per client and window. Made before the fork, and then the same in every process.

    For tests: `places` is how many sets and how many places in each, `clock` tells the time in milliseconds.
    """

    def __init__(
        self,
        limit: int,
        window_seconds: float = 60.0,
        places: tuple[int, int] = (SETS, WAYS),
        clock: Callable[[], int] = _milliseconds,
    ) -> None:
        if not 1 <= limit <= MOST:
            raise ValueError(f"a limit is from 1 to {MOST}, not {limit}")
        self.limit = limit
        self._window_ms = round(window_seconds * 1000)
        self._sets, self._ways = places
        self._clock = clock
        self._set_bytes = self._ways * (_KEY_BYTES + _STATE_BYTES)
        self._secret = os.urandom(32)
        self._fd = os.memfd_create("windlass-rates")
        weakref.finalize(self, os.close, self._fd)
        os.ftruncate(self._fd, self.size)
        self._map = mmap.mmap(self._fd, self.size)
        self._words = memoryview(self._map).cast("Q")
        # A record lock belongs to a process: between its threads it is no lock at all.
        self._locks = [threading.Lock() for _ in range(self._sets)]

    @property
    def size(self) -> int:
        """Bytes of memory, which never change."""
        return self._sets * self._set_bytes

    def spend(self, client: bytes) -> int:
        """Counts one request of `client`: 0 if it may pass, else the whole seconds until one may, 1 at least."""
        return self._locked(client, self._count)

    def wait(self, client: bytes) -> int:
        """As `spend`, but counts nothing."""
        return self._locked(client, self._look)

    def _locked(self, client: bytes, ask: Callable[[int, bytes], int]) -> int:
        digest = hashlib.blake2b(client, digest_size=_PARTS.size, key=self._secret).digest()
        number, key = _PARTS.unpack(digest)
        number %= self._sets
        if not self._lock(number):
            log.warning("a process holds the limits' lock and does not go on: a request passes uncounted")
            return 0
        try:
            return ask(number, key)
        finally:
            self._unlock(number)

    def _look(self, number: int, key: bytes) -> int:
        first, states = self._set(number)
        place = self._place_of(first, key)
        return 0 if place is None else self._left(states[place], self._clock())

    def _count(self, number: int, key: bytes) -> int:
        first, states = self._set(number)
        now = self._clock()
        place = self._place_of(first, key)
        if place is None:
            place = _least(states.tolist(), now - self._window_ms)
            states[place] = 0
            self._map[first + place * _KEY_BYTES : first + (place + 1) * _KEY_BYTES] = key
        state = states[place]
        left = self._left(state, now)
        if not left:
            states[place] = state + _ONE if self._runs(state, now) else _ONE | now
        return left

    def _set(self, number: int) -> tuple[int, memoryview]:
        """Where its places begin, and their states."""
        first = number * self._set_bytes
        states_at = (first + self._ways * _KEY_BYTES) // _STATE_BYTES
        return first, self._words[states_at : states_at + self._ways]

    def _runs(self, state: int, now: int) -> bool:
        """Whether the window of a state is not over."""
        return state != 0 and now < (state & _TIME_MASK) + self._window_ms

    def _left(self, state: int, now: int) -> int:
        """The whole seconds until another request may pass."""
        if not self._runs(state, now) or state >> _TIME_BITS < self.limit:
            return 0
        return -(-((state & _TIME_MASK) + self._window_ms - now) // 1000)

    def _place_of(self, first: int, key: bytes) -> int | None:
        end = first + self._ways * _KEY_BYTES
        at = self._map.find(key, first, end)
        while at >= 0:
            place, beside = divmod(at - first, _KEY_BYTES)
            if not beside:
                return place
            # The end of one key and the beginning of the next happen to be these bytes.
            at = self._map.find(key, at + 1, end)
        return None

    def _lock(self, number: int) -> bool:
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        if not self._locks[number].acquire(timeout=_PATIENCE_SECONDS):
            return False
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                return True
            except OSError:
                if time.monotonic() >= give_up_at:
                    self._locks[number].release()
                    return False
                time.sleep(_PAUSE_SECONDS)

    def _unlock(self, number: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, number)
        self._locks[number].release()


def _least(states: list[int], over_before: int) -> int:
    """The place to give away: one that is empty or whose window is over, else the oldest of the lowest count."""
    ranks = [state if state & _TIME_MASK > over_before else 0 for state in states]
    return ranks.index(min(ranks))
