"""A cell: one incarnation of one child on the board, and after its death the record of that death.

Three processes share it and each writes its own fields only: the supervisor opens and buries it, the child
publishes what it holds, the steward writes the lease, the cancel flag and revocations.

SIGKILL may take any of them at any instruction, so nothing here is ever half true: whatever spans more than
eight bytes is written first and then published by one aligned 8-byte store or one state byte. The byte lock
is an `fcntl` record lock, which the kernel frees when its holder dies; it also orders the memory of two
processors.
"""

import fcntl
import mmap
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from workerpool import proc
from workerpool.entry import (
    ENTRIES,
    FENCE_AT,
    HEAP_BYTES,
    JOB_ID_BYTES,
    RECORD,
    RESULT,
    RESULT_AT,
    STARTED_AT,
    Entry,
    State,
)
from workerpool.memory import Flag, Float, Int, Memory, Text

WORKER = "worker"
STEWARD = "steward"

_FREE, _LIVING, _DEAD = 0, 1, 2

_LOCK_AT = 88
_HEADER_BYTES = 1024
_STATES_AT = _HEADER_BYTES
_RECORDS_AT = _STATES_AT + 512
_HEAP_AT = _RECORDS_AT + ENTRIES * RECORD.size
CELL_BYTES = -(-(_HEAP_AT + HEAP_BYTES) // mmap.PAGESIZE) * mmap.PAGESIZE

# How long a reader waits for the byte lock: its holders need microseconds, unless one of them is stopped.
_PATIENCE_SECONDS = 0.05


class Cell:
    """One incarnation's place on the board. Every time is `time.monotonic()` seconds, 0 when there is none.

    pid           of the child
    slot          stable number of the child, the same over its incarnations; names metric files
    role          WORKER or STEWARD
    ready         the child has booted
    incarnation   its row in `workers`; 0 until registered
    kill_at       the supervisor kills the child after this (armed by `start`, or by the child for itself)
    running_since when the running entry was started
    lease_until   until when the lease holds (the steward writes it)
    lost          the lease was lost (the steward sets it, the worker clears it when it registers again)
    boot_error    why the child could not boot, up to 400 bytes
    claiming      a claim is under way: what it took may not be on the board yet
    cause         of death: crashed, timeout, drained, recycled or replaced
    sentence      how it died, for people
    """

    _life = Int(0)
    slot = Int(1)
    pid = Int(2)
    ready = Flag(3)
    incarnation = Int(4)
    kill_at = Float(5)
    running_since = Float(6)
    _cancel = Flag(7)
    lease_until = Float(8)
    lost = Flag(9)
    _published = Int(10)
    # word 11 is the byte lock (_LOCK_AT)
    role = Text(12, 24)
    cause = Text(16, 24)
    sentence = Text(20, 248)
    boot_error = Text(52, 400)
    claiming = Flag(104)

    def __init__(self, memory: Memory, offset: int) -> None:
        self.memory = memory
        self.word = offset // 8
        self._offset = offset
        self._states = offset + _STATES_AT
        self._records = offset + _RECORDS_AT
        self._heap = offset + _HEAP_AT
        self._heap_used = 0
        self._finished = 0

    def __repr__(self) -> str:
        return f"Cell({self.role} slot={self.slot} pid={self.pid} incarnation={self.incarnation})"

    # -- life: the supervisor's side -------------------------------------------------------------------

    def open(self, slot: int, role: str) -> None:
        """Make a free cell a living child's. `Board.open_cell` calls it before the fork."""
        self.memory.map[self._offset + 8 : self._offset + _HEADER_BYTES] = bytes(_HEADER_BYTES - 8)
        self._heap_used = self._finished = 0
        self.slot, self.role = slot, role
        self._life = _LIVING

    def bury(self, sentence: str, *, cause: str) -> None:
        """Turn the cell into the record of its child's death, for the steward to settle and free.

        A child that never registered an incarnation held nothing: its cell is free at once.
        """
        self.sentence, self.cause = sentence, cause
        self._life = _DEAD if self.incarnation else _FREE

    def free(self) -> None:
        """The steward has settled what a dead child left: the cell may be opened again."""
        if self.dead:
            self._life = _FREE

    @property
    def is_free(self) -> bool:
        return self._life == _FREE

    @property
    def living(self) -> bool:
        """Opened and not buried: what the supervisor believes. See `alive`."""
        return self._life == _LIVING

    @property
    def dead(self) -> bool:
        return self._life == _DEAD

    @property
    def alive(self) -> bool:
        """Not buried, and its process exists and is no zombie: what the kernel says."""
        return self.living and proc.state(self.pid) not in {"", "Z", "X"}

    @property
    def stopped(self) -> bool:
        """The process is held by SIGSTOP, a tracer or a shell."""
        return proc.state(self.pid) in {"T", "t"}

    @contextmanager
    def held(self, patience: float = _PATIENCE_SECONDS) -> Iterator[bool]:
        """Hold the byte lock: meanwhile the worker starts, finishes and publishes nothing.

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

    def _lock(self) -> None:
        fcntl.lockf(self.memory.fd, fcntl.LOCK_EX, 1, self._offset + _LOCK_AT)

    def _unlock(self) -> None:
        fcntl.lockf(self.memory.fd, fcntl.LOCK_UN, 1, self._offset + _LOCK_AT)

    # -- the batch: the worker's side -----------------------------------------------------------------------

    def begin(self, claims: Sequence[tuple[str, int]]) -> None:
        """Publish a fresh batch of up to ENTRIES (job id, fence), every entry CLAIMED.

        It replaces the former batch, whose entries must all be settled or revoked. Raises ValueError when a
        batch or an id is too long, RuntimeError when the former batch still holds something.
        """
        if len(claims) > ENTRIES:
            raise ValueError(f"a batch holds {ENTRIES} jobs, not {len(claims)}")
        ids = [job_id.encode("ascii") for job_id, _ in claims]
        if any(len(job_id) > JOB_ID_BYTES for job_id in ids):
            raise ValueError(f"a job id has at most {JOB_ID_BYTES} bytes")
        records = b"".join(
            RECORD.pack(job_id, fence, 0, -1, 0.0) for job_id, (_, fence) in zip(ids, claims, strict=True)
        )
        self._lock()
        try:
            if not set(self._state_bytes()) <= {State.SETTLED, State.REVOKED}:
                raise RuntimeError("the former batch still holds jobs that are neither settled nor revoked")
            self._published = 0
            self.memory.map[self._records : self._records + len(records)] = records
            self.memory.map[self._states : self._states + len(claims)] = bytes([State.CLAIMED]) * len(claims)
            self._heap_used = self._finished = 0
            self._published = len(claims)
        finally:
            self._unlock()

    def start(self, index: int, *, kill_at: float) -> bool:
        """Mark the entry RUNNING from now on, to be killed after `kill_at`. False when it was revoked."""
        self._lock()
        try:
            if self.memory.map[self._states + index] != State.CLAIMED:
                return False
            now = time.monotonic()
            self._cancel = False
            self.running_since = now
            self.memory.floats[(self._records + index * RECORD.size + STARTED_AT) // 8] = now
            self.kill_at = kill_at
            self.memory.map[self._states + index] = State.RUNNING
            return True
        finally:
            self._unlock()

    def finish(self, index: int, result: bytes | None) -> bool:
        """The handler returned: put its result on the board, FINISHED, for anyone to settle.

        False when the results of this batch leave no room for it: then the entry stays RUNNING and the caller
        settles at once. Either way the handler is over and nothing kills it any more.
        """
        self._lock()
        try:
            self.kill_at = 0.0
            length = 0 if result is None else len(result)
            if self._heap_used + length > HEAP_BYTES:
                return False
            if result:
                start = self._heap + self._heap_used
                self.memory.map[start : start + length] = result
            at = self._records + index * RECORD.size + RESULT_AT
            self.memory.map[at : at + 8] = RESULT.pack(self._heap_used, -1 if result is None else length)
            self.memory.map[self._states + index] = State.FINISHED
            self.running_since = 0.0
            self._heap_used += length
            self._finished += 1
            return True
        finally:
            self._unlock()

    def settled(self, index: int) -> None:
        """The entry's outcome is written in the database, or its lease is lost: the worker is rid of it."""
        state = self.memory.map[self._states + index]
        if state == State.RUNNING:
            self.kill_at = self.running_since = 0.0
        self.memory.map[self._states + index] = State.SETTLED
        if state == State.FINISHED:
            self._finished -= 1
            if self._finished == 0:
                self._heap_used = 0

    @property
    def cancel_requested(self) -> bool:
        """Somebody asked to cancel the running entry."""
        return self._cancel

    # -- the batch: the steward's side ----------------------------------------------------------------------

    def entries(self) -> list[Entry] | None:
        """What the batch holds at one instant, living child or dead; None when the lock could not be had."""
        with self.held() as gained:
            if not gained:
                return None
            states = self._state_bytes()
            records = self.memory.map[self._records : self._records + len(states) * RECORD.size]
            heap = self.memory.map[self._heap : self._heap + HEAP_BYTES] if State.FINISHED in states else b""
        entries = []
        for state, (job_id, fence, start, length, started_at) in zip(states, RECORD.iter_unpack(records), strict=True):
            result = heap[start : start + length] if state == State.FINISHED and length >= 0 else None
            entries.append(Entry(job_id.rstrip(b"\0").decode("ascii"), fence, State(state), result, started_at))
        return entries

    def revoke(self, fences: Collection[int], patience: float = _PATIENCE_SECONDS) -> list[int]:
        """Take back those of the fences that are CLAIMED and not started; the fences really taken back."""
        revoked: list[int] = []
        with self.held(patience) as gained:
            if gained:
                for index, state in enumerate(self._state_bytes()):
                    fence = self._fence(index)
                    if state == State.CLAIMED and fence in fences:
                        self.memory.map[self._states + index] = State.REVOKED
                        revoked.append(fence)
        return revoked

    def request_cancel(self, fence: int) -> bool:
        """Raise the cancel flag if just this fence is RUNNING now; False when it is not, or not to be told."""
        with self.held() as gained:
            running = self._state_bytes().find(State.RUNNING) if gained else -1
            if running < 0 or self._fence(running) != fence:
                return False
            self._cancel = True
            return True

    def _state_bytes(self) -> bytes:
        return self.memory.map[self._states : self._states + self._published]

    def _fence(self, index: int) -> int:
        return self.memory.ints[(self._records + index * RECORD.size + FENCE_AT) // 8]
