"""The batch a worker has claimed, in its cell: what it runs, what is finished and not yet written, what was taken back.

SIGKILL may take any process at any instruction, so nothing here is ever half true: whatever spans more than eight bytes
is written first and then published by one aligned 8-byte store or one state byte. A byte lock (an `fcntl` record lock,
which the kernel frees when its holder dies) is held to publish a batch or a result, to read, and to revoke.

Starting a job takes no lock: two system calls for each of 50,000 jobs a second are a tenth of the worker's time. The
worker says which entry it starts and then looks whether somebody is revoking; who revokes says so, waits until what the
worker may have said meanwhile has reached the memory, and then looks what was started. Whichever comes first, at least
one of them sees the other; a worker that sees a revocation waits for its lock and reads the verdict.
"""

import fcntl
import time
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from workerpool import proc
from workerpool.entry import ENTRIES, FENCE_BYTES, HEAP_BYTES, JOB_ID_BYTES, NO_RESULT, RESULT, Entry, State
from workerpool.memory import Flag, Float, Int, Memory

HEADER_BYTES = 1024
_STATES_AT = HEADER_BYTES
_FENCES_AT = _STATES_AT + -(-ENTRIES // 8) * 8
_IDS_AT = _FENCES_AT + ENTRIES * FENCE_BYTES
_RESULTS_AT = _IDS_AT + ENTRIES * JOB_ID_BYTES
_HEAP_AT = _RESULTS_AT + ENTRIES * RESULT.size
BATCH_END = _HEAP_AT + HEAP_BYTES

_LOCK_AT = 88
# How long a reader waits for the byte lock: its holders need microseconds, unless one of them is stopped.
_PATIENCE_SECONDS = 0.05
# A processor's own stores reach the memory within microseconds, and at once when it is taken off the process.
_VISIBLE_SECONDS = 0.002
# A handler that ends so shortly before it is to be killed ends under the lock, which the supervisor holds to kill it.
_LATE_SECONDS = 0.5
_OVER = {State.SETTLED, State.REVOKED}
# As plain numbers: comparing a byte with an enum takes longer than reading it.
_CLAIMED, _FINISHED, _SETTLED = int(State.CLAIMED), int(State.FINISHED), int(State.SETTLED)


class Batch:
    """One worker's claimed jobs. Every time is `time.monotonic()` seconds, 0 when there is none.

    pid           of the worker
    kill_at       the supervisor kills the child after this (armed by `start`, or by the child for itself)
    running_since when the running entry was started
    """

    pid = Int(2)
    kill_at = Float(5)
    running_since = Float(6)
    _cancelled_fence = Int(7)
    _published = Int(10)
    # word 11 is the byte lock (_LOCK_AT)
    _started = Int(105)
    _revoking = Flag(106)

    def __init__(self, memory: Memory, offset: int) -> None:
        self.memory = memory
        self.word = offset // 8
        self._offset = offset
        self._states = offset + _STATES_AT
        self._fences = offset + _FENCES_AT
        self._ids = offset + _IDS_AT
        self._results = offset + _RESULTS_AT
        self._heap = offset + _HEAP_AT
        self._heap_used = 0
        self._finished = 0
        # The fields that every job writes, without the 0.1 µs a descriptor takes.
        self._ints, self._floats, self._map = memory.ints, memory.floats, memory.map
        self._at_kill_at, self._at_since = self.word + 5, self.word + 6
        self._at_started, self._at_revoking = self.word + 105, self.word + 106

    @property
    def stopped(self) -> bool:
        """The process is held by SIGSTOP, a tracer or a shell."""
        return proc.state(self.pid) in {"T", "t"}

    # -- the worker's side -------------------------------------------------------------------------------

    def begin(self, claims: Sequence[tuple[str, int]]) -> None:
        """Publish a fresh batch of up to ENTRIES (job id, fence), every entry CLAIMED.

        It replaces the former batch, whose entries must all be settled or revoked. Raises ValueError when a
        batch or an id is too long, RuntimeError when the former batch still holds something.
        """
        if len(claims) > ENTRIES:
            raise ValueError(f"a batch holds {ENTRIES} jobs, not {len(claims)}")
        # Columns, so that each is written at once: 0.15 µs a job, record by record 0.6.
        ids = "".join([job_id.ljust(JOB_ID_BYTES, "\0") for job_id, _ in claims]).encode("ascii")
        if len(ids) > JOB_ID_BYTES * len(claims):
            raise ValueError(f"a job id has at most {JOB_ID_BYTES} bytes")
        fences = array("Q", [fence for _, fence in claims]).tobytes()
        with self._locked():
            if self.holds:
                raise RuntimeError("the former batch still holds jobs that are neither settled nor revoked")
            self._published = self._started = 0
            # Of one that was killed while it revoked.
            self._revoking = False
            self._write(self._ids, ids)
            self._write(self._fences, fences)
            self._write(self._results, NO_RESULT * len(claims))
            self._write(self._states, bytes([State.CLAIMED]) * len(claims))
            self._heap_used = self._finished = 0
            self._published = len(claims)

    def start(self, index: int, *, now: float, kill_at: float) -> bool:
        """Mark the entry RUNNING since `now`, to be killed after `kill_at`. False when it was revoked.

        Entries are started in their order; one of those behind cannot be started any more.
        """
        ints, floats = self._ints, self._floats
        if index < ints[self._at_started]:
            return False
        ints[self._at_started] = index + 1
        if ints[self._at_revoking]:
            with self._locked():
                pass
        if self._map[self._states + index] != _CLAIMED:
            return False
        floats[self._at_since] = now
        floats[self._at_kill_at] = kill_at
        return True

    def disarm(self, now: float) -> None:
        """The handler is over: nothing kills the worker for it any more, nor for it in the middle of the next."""
        kill_at = self._floats[self._at_kill_at]
        if 0.0 < kill_at < now + _LATE_SECONDS:
            with self._locked():
                self.kill_at = 0.0
        else:
            self._floats[self._at_kill_at] = 0.0

    def finish(self, index: int, result: bytes | None, *, now: float) -> bool:
        """The handler returned: disarm, and put its result on the board, FINISHED, for anyone to settle.

        False when the results of this batch leave no room for it: then the entry stays RUNNING and the caller
        settles at once.
        """
        self.disarm(now)
        if result is not None and not self._keep(index, result):
            return False
        self._map[self._states + index] = _FINISHED
        self._floats[self._at_since] = 0.0
        self._finished += 1
        return True

    def _keep(self, index: int, result: bytes) -> bool:
        start, end = self._heap_used, self._heap_used + len(result)
        if end > HEAP_BYTES:
            return False
        # Nobody may be reading the room of results that are settled, and the lock orders the memory of two processors.
        with self._locked():
            self._write(self._heap + start, result)
            self._write(self._results + index * RESULT.size, RESULT.pack(start, len(result)))
        self._heap_used = end
        return True

    def settled(self, index: int) -> None:
        """The entry's outcome is written in the database, or its lease is lost: the worker is rid of it."""
        at = self._states + index
        state = self._map[at]
        self._map[at] = _SETTLED
        if state == _FINISHED:
            self._finished -= 1
            if self._finished == 0:
                self._heap_used = 0
        elif state == _CLAIMED and self._started == index + 1:
            self.kill_at = self.running_since = 0.0

    def give_up(self, fences: Collection[int]) -> list[int]:
        """The worker starts no more: those of the fences that nobody has revoked yet, now REVOKED."""
        with self._locked():
            return self._revoke(fences)

    @property
    def cancel_requested(self) -> bool:
        """Somebody asked to cancel the entry started last."""
        started = self._started
        return started > 0 and self._cancelled_fence == self._fence(started - 1)

    # -- the steward's side ------------------------------------------------------------------------------

    def entries(self) -> list[Entry] | None:
        """What the batch holds at one instant, living child or dead; None when the lock could not be had."""
        with self.held() as gained:
            if not gained:
                return None
            started = self._started
            states = self._state_bytes()
            count = len(states)
            ids = self._read(self._ids, count * JOB_ID_BYTES).decode("ascii")
            fences = array("Q", self._read(self._fences, count * FENCE_BYTES))
            results = RESULT.iter_unpack(self._read(self._results, count * RESULT.size))
            heap = self._read(self._heap, HEAP_BYTES) if State.FINISHED in states else b""
        entries = []
        for n, (state, fence, (start, length)) in enumerate(zip(states, fences, results, strict=True)):
            job_id = ids[n * JOB_ID_BYTES : (n + 1) * JOB_ID_BYTES].rstrip("\0")
            result = heap[start : start + length] if state == State.FINISHED and length >= 0 else None
            if state == State.CLAIMED and n + 1 == started:
                state = State.RUNNING
            entries.append(Entry(job_id, fence, State(state), result))
        return entries

    @property
    def holds(self) -> bool:
        """Something of the batch is neither settled nor revoked."""
        return not set(self._state_bytes()) <= _OVER

    @property
    def keeps_waiting(self) -> bool:
        """Something of the batch waits behind what runs, and nobody has revoked it."""
        return State.CLAIMED in self._state_bytes()[self._started :]

    def revoke(self, fences: Collection[int]) -> list[int]:
        """Take back those of the fences that are CLAIMED and not started; the fences really taken back."""
        with self.held() as gained:
            if not gained:
                return []
            self._revoking = True
            try:
                time.sleep(_VISIBLE_SECONDS)
                return self._revoke(fences)
            finally:
                self._revoking = False

    def request_cancel(self, fence: int) -> bool:
        """Ask the handler that runs just this fence to stop; False when it does not run now."""
        started = self._started
        if not started or self._fence(started - 1) != fence:
            return False
        if self.memory.map[self._states + started - 1] != State.CLAIMED:
            return False
        # By its fence: if the next has been started meanwhile, it is not meant.
        self._cancelled_fence = fence
        return True

    # -- the lock ----------------------------------------------------------------------------------------

    @contextmanager
    def held(self, patience: float = _PATIENCE_SECONDS) -> Iterator[bool]:
        """Hold the byte lock: meanwhile the worker publishes no batch and no result.

        Yields False when the lock could not be had in `patience` seconds, or its worker is stopped with it.
        """
        gained = self._try_lock(patience)
        try:
            yield gained
        finally:
            if gained:
                self._unlock()

    def _try_lock(self, patience: float) -> bool:
        give_up_at = time.monotonic() + patience
        while True:
            try:
                fcntl.lockf(self.memory.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._offset + _LOCK_AT)
                return True
            except OSError:
                if time.monotonic() >= give_up_at or self.stopped:
                    return False
                time.sleep(0.0005)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self.memory.fd, fcntl.LOCK_EX, 1, self._offset + _LOCK_AT)
        try:
            yield
        finally:
            self._unlock()

    def _unlock(self) -> None:
        fcntl.lockf(self.memory.fd, fcntl.LOCK_UN, 1, self._offset + _LOCK_AT)

    def _revoke(self, fences: Collection[int]) -> list[int]:
        revoked = []
        for index in range(self._started, self._published):
            fence = self._fence(index)
            if fence in fences and self.memory.map[self._states + index] == State.CLAIMED:
                self.memory.map[self._states + index] = State.REVOKED
                revoked.append(fence)
        return revoked

    def _state_bytes(self) -> bytes:
        return self._read(self._states, self._published)

    def _fence(self, index: int) -> int:
        return self._ints[self._fences // FENCE_BYTES + index]

    def _read(self, at: int, length: int) -> bytes:
        return self._map[at : at + length]

    def _write(self, at: int, what: bytes) -> None:
        self._map[at : at + len(what)] = what
