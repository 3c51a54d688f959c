"""How many idle workers a pipe wakes."""

from collections.abc import Iterator

import pytest

from workerpool.wake_pipe import WakePipe


@pytest.fixture
def pipe() -> Iterator[WakePipe]:
    pipe = WakePipe(8)
    yield pipe
    pipe.close()


def woken(pipe: WakePipe) -> int:
    """How many find a byte."""
    return next(count for count in range(100) if not pipe.woken())


def test_jobs_that_come_before_the_first_byte_is_read_each_wake_a_worker(pipe: WakePipe) -> None:
    for _ in range(3):
        pipe.wake(1)
    assert woken(pipe) == 3


def test_no_more_bytes_wait_than_there_are_workers(pipe: WakePipe) -> None:
    pipe.wake(0)
    assert woken(pipe) == 0
    pipe.wake(1000)
    pipe.wake(5)
    assert woken(pipe) == 8
