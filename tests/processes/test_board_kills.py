"""The board between processes: whole whenever its writer dies, and never a reason to wait for a stopped one."""

import json
import os
import subprocess
import sys
from typing import Any

from support import board_writer


def _run(what: str, times: int = 1) -> dict[str, Any]:
    """In a process of its own, since it forks."""
    done = subprocess.run(
        [sys.executable, board_writer.__file__, what, str(times)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_no_reader_ever_sees_a_torn_record_whenever_the_writer_is_killed() -> None:
    seen = _run("kills", 200)
    assert seen["torn"] == []
    # The kills came at all stages, or this proves little.
    assert all(seen["states"].values())
    assert seen["readings"] > 200
    assert seen["revoked"] > 0
    assert seen["refused"] < seen["readings"] / 10


def test_what_another_process_must_not_miss_waits_for_the_lock_it_holds() -> None:
    steps = ("begin", "start during a revocation", "finish with a result", "end when it is to be killed")
    assert _run("waits") == {step: [False, True] for step in steps}


def test_an_entry_is_either_started_or_revoked() -> None:
    seen = _run("revokes", 300)
    assert (seen["both"], seen["neither"]) == (0, 0)
    # They met in the middle of a batch, or this proves little.
    assert seen["started"] > 1000
    assert seen["revoked"] > 1000


def test_a_lock_held_by_another_process_is_waited_for_only_so_long_and_the_kernel_frees_it_on_death() -> None:
    seen = _run("locks")
    *answers, seconds = seen["while held"]
    assert answers == [None, [], False]
    assert seconds < 1.0
    *answers, seconds = seen["while stopped"]
    assert answers == [None, [], False]
    assert seconds < 0.05
    assert seen["after death"] == [2, [1]]
