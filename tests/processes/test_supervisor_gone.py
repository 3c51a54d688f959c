"""A supervisor that is gone leaves nobody behind."""

import os
import signal
import time
from pathlib import Path

from support.small_pool import SmallPool
from support.waiting import until


def test_a_killed_supervisor_leaves_no_child_after_a_second(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="deaf", workers=4) as pool:
        pool.ready(4)
        pool.send(signal.SIGKILL)
        until(lambda: not pool.anyone_left(), seconds=1.0)
        assert len(pool.diary("last pass")) == 1


def test_a_worker_that_blocks_every_signal_dies_with_the_supervisor(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="blocks_everything", workers=1) as pool:
        pool.ready(1)
        pool.send(signal.SIGKILL)
        until(lambda: not pool.anyone_left(), seconds=1.0)


def test_an_orphaned_stewards_last_pass_has_an_end(tmp_path: Path) -> None:
    with SmallPool(tmp_path, steward="never_ends_its_last_pass") as pool:
        pool.ready(2)
        killed = time.monotonic()
        pool.send(signal.SIGKILL)
        pool.wait_for("last pass")
        until(lambda: not pool.anyone_left(), seconds=1.5)
        assert time.monotonic() - killed > 0.5


def test_a_steward_that_hangs_when_its_supervisor_dies_does_not_stay(tmp_path: Path) -> None:
    with SmallPool(tmp_path, steward="hangs_before_it_knows") as pool:
        pool.ready(2)
        pool.send(signal.SIGKILL)
        until(lambda: not pool.anyone_left(), seconds=2.0)


def test_children_killed_at_any_moment_of_the_start_leave_nobody(tmp_path: Path) -> None:
    for times in range(1, 11):
        folder = tmp_path / str(times)
        folder.mkdir()
        with SmallPool(folder, workers=4) as pool:
            pool.wait_for("started", (times - 1) % 5 + 1)
            os.kill(pool.process.pid, signal.SIGKILL)
            until(lambda pool=pool: not pool.anyone_left(), seconds=1.0)
