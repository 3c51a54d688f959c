"""The board: what every child of one pool holds, in shared memory sized before the first fork.

It has one cell per incarnation, twice the slots and eight more: a dead child's cell itself is the death record until
the steward has settled what it held, so nothing is copied and no death is forgotten. All times are
`time.monotonic()` seconds, which every process of a machine shares.
"""

import mmap
import os

from workerpool.cell import CELL_BYTES, STEWARD, WORKER, Cell
from workerpool.entry import ENTRIES, HEAP_BYTES, Entry, State
from workerpool.memory import Flag, Float, Int, Memory

__all__ = ["ENTRIES", "HEAP_BYTES", "STEWARD", "WORKER", "Board", "Cell", "Entry", "State"]

# Dead workers must never take all cells: only a steward can settle and free them.
_CELLS_FOR_STEWARDS = 4


class Board:
    """Shared by the supervisor and all its children; each inherits it over the fork.

    slots         how many children may exist at once: the steward, the workers, and one worker more while
                  the pool replaces its workers one by one
    closing       the supervisor lets the steward go: one last pass, then exit 0
    looked_at     when somebody last began to look for all who wait, or had last seen all of every queue
    supervisor    pid of the supervisor, 0 before it runs
    """

    word = 0
    closing = Flag(0)
    looked_at = Float(1)
    supervisor = Int(2)

    def __init__(self, memory: Memory, slots: int) -> None:
        self.memory = memory
        self.slots = slots
        self._cells = [Cell(memory, mmap.PAGESIZE + n * CELL_BYTES) for n in range(2 * slots + 8)]

    @classmethod
    def create(cls, slots: int) -> "Board":
        """A board for `slots` children; call it in the supervisor's process, before the first fork."""
        return cls(Memory(mmap.PAGESIZE + (2 * slots + 8) * CELL_BYTES), slots)

    def open_cell(self, slot: int, role: str) -> Cell | None:
        """A fresh living cell, or None while all are death records that the steward has not settled yet."""
        cells = self._cells[:_CELLS_FOR_STEWARDS] if role == STEWARD else self._cells[_CELLS_FOR_STEWARDS:]
        for cell in cells:
            if cell.is_free:
                cell.open(slot, role)
                return cell
        return None

    def living(self) -> list[Cell]:
        """Cells of children that the supervisor has not buried, itself and those still booting included."""
        return [cell for cell in self._cells if cell.living]

    def dead(self) -> list[Cell]:
        """Death records to settle and then to `free`."""
        return [cell for cell in self._cells if cell.dead]

    @property
    def most_workers(self) -> int:
        """How many workers there may be, beside the steward and the one more."""
        return self.slots - 2

    @property
    def orphaned(self) -> bool:
        """In a child: the supervisor is gone, so nobody collects, buries or releases anybody any more."""
        return self.supervisor != os.getppid()
