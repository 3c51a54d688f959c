"""A cell: one incarnation of one child on the board, and after its death the record of that death.

Three processes share it and each writes its own fields only: the supervisor opens and buries it, the child
publishes what it holds, the steward writes the lease, the cancel flag and revocations. What it holds is its `Batch`.
"""

import mmap

from workerpool import proc
from workerpool.batch import BATCH_END, HEADER_BYTES, Batch
from workerpool.memory import Flag, Float, Int, Text

WORKER = "worker"
STEWARD = "steward"

_FREE, _LIVING, _DEAD = 0, 1, 2
_LEASE_UNTIL, _LOST = 8, 9

CELL_BYTES = -(-BATCH_END // mmap.PAGESIZE) * mmap.PAGESIZE


class Cell(Batch):
    """One incarnation's place on the board. Every time is `time.monotonic()` seconds, 0 when there is none.

    slot          stable number of the child, the same over its incarnations; names metric files
    role          WORKER or STEWARD
    ready         the child has booted
    incarnation   its row in `workers`; 0 until registered
    lease_until   until when the lease holds (the steward writes it)
    lost          the lease was lost (the steward sets it, the worker clears it when it registers again)
    boot_error    why the child could not boot, up to 400 bytes
    claiming      a claim is under way, or was when its worker left: what it took may not be on the board yet
    astray_at     when a claim last failed: what it took, if it was carried out, or still will be, is on no board
    cause         of death: crashed, timeout, drained, recycled or replaced
    sentence      how it died, for people
    """

    _life = Int(0)
    slot = Int(1)
    ready = Flag(3)
    incarnation = Int(4)
    lease_until = Float(_LEASE_UNTIL)
    lost = Flag(_LOST)
    role = Text(12, 24)
    cause = Text(16, 24)
    sentence = Text(20, 248)
    boot_error = Text(52, 400)
    claiming = Flag(104)
    astray_at = Float(107)

    def lease_holds(self, now: float) -> bool:
        """Its worker may start a job now. Asked before each, so without the 0.2 µs that two descriptors take."""
        return not self._ints[self.word + _LOST] and now < self._floats[self.word + _LEASE_UNTIL]

    def __repr__(self) -> str:
        return f"Cell({self.role} slot={self.slot} pid={self.pid} incarnation={self.incarnation})"

    def open(self, slot: int, role: str) -> None:
        """Make a free cell a living child's. `Board.open_cell` calls it before the fork."""
        self.memory.map[self._offset + 8 : self._offset + HEADER_BYTES] = bytes(HEADER_BYTES - 8)
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
