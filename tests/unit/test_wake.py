"""How many bytes the steward leaves in the pipe that idle workers wait on."""

import os

from workerpool.duties.wake import Wake


def left(*counts: int, most: int) -> int:
    """Bytes in the pipe after waking so many, one after the other, with nobody reading."""
    read, write = os.pipe2(os.O_NONBLOCK)
    try:
        wake = Wake(write, most)
        for count in counts:
            wake.wake(count)
        try:
            return len(os.read(read, 65536))
        except BlockingIOError:
            return 0
    finally:
        os.close(read)
        os.close(write)


def test_jobs_that_come_before_the_first_byte_is_read_each_wake_a_worker() -> None:
    assert left(1, 1, 1, most=8) == 3


def test_no_more_bytes_wait_than_there_are_workers() -> None:
    assert left(1000, 5, most=8) == 8
    assert left(0, most=8) == 0
