"""One claimed job on the board: its states and the bytes of its record."""

import struct
from dataclasses import dataclass
from enum import IntEnum

ENTRIES = 500
HEAP_BYTES = 64 * 1024
JOB_ID_BYTES = 40

# job id, fence, offset of the result in the heap, its length (-1: none)
RECORD = struct.Struct("40sQii")
RESULT = struct.Struct("ii")
FENCE_AT, RESULT_AT = 40, 48


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
