"""Every end of a process has a sentence that people can act on."""

import signal

import pytest

from workerpool.child import describe_exit


def _exited(code: int) -> int:
    return code << 8


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (_exited(0), "exited with code 0"),
        (_exited(3), "exited with code 3"),
        (_exited(255), "exited with code 255"),
        (signal.SIGKILL, "killed by signal 9 (SIGKILL; possibly out of memory)"),
        (signal.SIGSEGV, "segmentation fault (signal 11)"),
        (signal.SIGSEGV | 0x80, "segmentation fault (signal 11)"),
        (signal.SIGABRT, "aborted (signal 6)"),
        (signal.SIGBUS, "bus error (signal 7)"),
        (signal.SIGFPE, "arithmetic error (signal 8)"),
        (signal.SIGILL, "illegal instruction (signal 4)"),
        (signal.SIGTERM, "killed by signal 15 (SIGTERM)"),
        (signal.SIGALRM, "killed by signal 14 (SIGALRM)"),
        (45, "killed by signal 45"),
    ],
)
def test_an_exit_status_becomes_its_sentence(status: int, sentence: str) -> None:
    assert describe_exit(status) == sentence
