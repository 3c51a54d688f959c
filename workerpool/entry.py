"""One claimed job on the board: its states, and what its batch keeps of it, each as a column."""

import struct
from dataclasses import dataclass
from enum import IntEnum

ENTRIES = 1000
HEAP_BYTES = 64 * 1024
JOB_ID_BYTES = 40
FENCE_BYTES = 8

# where in the heap the result is, and its length
RESULT = struct.Struct("ii")
NO_RESULT = RESULT.pack(0, -1)


class State(IntEnum):
    """What became of one claimed job so far. RUNNING is never written: it is the last started, until it is over."""

    CLAIMED = 1
    RUNNING = 2
    FINISHED = 3
    SETTLED = 4
    REVOKED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One claimed job. `result` is set only while FINISHED."""

    job_id: str
    fence: int
    state: State
    result: bytes | None
