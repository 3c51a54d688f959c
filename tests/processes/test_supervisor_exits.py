"""CHLD: how an exit is called, what follows from it, and when nothing is started again."""

import os
import signal
import time
from pathlib import Path

import pytest
from support.small_pool import SmallPool
from support.waiting import until


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGKILL, "killed by signal 9 (SIGKILL; possibly out of memory)"),
        (signal.SIGSEGV, "segmentation fault (signal 11)"),
        (signal.SIGABRT, "aborted (signal 6)"),
    ],
)
def test_a_killed_worker_is_described_and_at_once_replaced_in_its_slot(
    tmp_path: Path, number: signal.Signals, sentence: str
) -> None:
    with SmallPool(tmp_path, workers=3, worker="deaf") as pool:
        victim = pool.ready(3)[1]
        killed = time.monotonic()
        os.kill(victim, number)
        started = pool.wait_for("started", 4, role="worker")[-1]
        assert started["at"] - killed < 1.0
        [death] = pool.diary("exited", pid=victim)
        assert (death["cause"], death["sentence"]) == ("crashed", sentence)
        assert started["slot"] == death["slot"]
        assert pool.wait_for("restarted")[0]["cause"] == "crashed"
        pool.ready(3)
        assert len(pool.diary("restarted")) == 1
        # The steward was woken and found the death on the board.
        assert pool.wait_for("woke", dead=["crashed"])


def test_a_killed_steward_is_replaced_at_once(tmp_path: Path) -> None:
    with SmallPool(tmp_path) as pool:
        workers = pool.ready(2)
        for times in (1, 2, 3):
            pool.ready(2)
            killed = time.monotonic()
            os.kill(pool.pids("steward")[0], signal.SIGKILL)
            started = pool.wait_for("ready", times + 1, role="steward")[-1]
            assert started["at"] - killed < 1.0
        assert pool.pids() == workers
        assert {line["slot"] for line in pool.diary("started", role="steward")} == {0}


def test_killing_ready_workers_over_and_over_meets_no_brake_and_takes_no_more_slots(tmp_path: Path) -> None:
    with SmallPool(tmp_path, workers=2, slots=4) as pool:
        for _ in range(15):
            killed = time.monotonic()
            victim = pool.ready(2)[0]
            os.kill(victim, signal.SIGKILL)
            pool.wait_for("exited", pid=victim)
            pool.ready(2)
            assert time.monotonic() - killed < 1.5
        assert {line["slot"] for line in pool.diary("started", role="worker")} == {1, 2}


def test_a_worker_that_leaves_by_itself_is_recycled(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="recycles_once") as pool:
        pool.wait_for("restarted", cause="recycled")
        pool.ready(2)
        [gone] = pool.diary("exited")
        assert (gone["cause"], gone["sentence"]) == ("recycled", "exited with code 0")


@pytest.mark.parametrize(
    ("worker", "sentence", "logged"),
    [
        ("exits_with_3_at_work", "exited with code 3", ""),
        ("fails_once", "exited with code 1", "LookupError: a mistake of ours"),
        ("calls_sys_exit_once", "exited with code 1", "SystemExit: had enough"),
    ],
)
def test_a_worker_that_fails_at_work_crashed_and_the_pool_goes_on(
    tmp_path: Path, worker: str, sentence: str, logged: str
) -> None:
    with SmallPool(tmp_path, worker=worker) as pool:
        pool.wait_for("started", 3, role="worker")
        pool.ready(2)
        [death] = pool.diary("exited")
        assert (death["cause"], death["sentence"]) == ("crashed", sentence)
        assert logged in pool.stderr()


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_worker_past_its_deadline_is_killed_even_if_it_runs_no_handler(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="overruns_once") as pool:
        [death] = pool.wait_for("exited", seconds=5)
        assert (death["cause"], death["sentence"]) == ("timeout", "killed after its deadline")
        pool.ready(2)
        assert [line["cause"] for line in pool.diary("restarted")] == ["timeout"]
        assert pool.wait_for("woke", dead=["timeout"])


def test_a_worker_within_its_deadlines_lives(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="keeps_its_deadlines") as pool:
        pool.wait_for("done", 2)
        assert pool.diary("exited") == []


# -- children that do not get ready -----------------------------------------------------------------------------------


def test_workers_that_cannot_boot_stop_the_pool_with_their_reason(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="cannot_boot", workers=4) as pool:
        assert pool.ends() == 3
        assert "windlass: the worker cannot boot: no module named 'kinds_of_mine'" in pool.stderr()
        assert len(pool.diary("started", role="worker")) == 4
        assert pool.anyone_left() == []


@pytest.mark.parametrize("role", ["worker", "steward"])
@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ("fails_booting", "cannot boot: LookupError: a mistake of ours"),
        ("calls_sys_exit_booting", "cannot boot: left by SystemExit: 0"),
    ],
)
def test_an_exception_nobody_foresaw_stops_the_pool_too_before_its_child_is_ready(
    tmp_path: Path, role: str, child: str, reason: str
) -> None:
    with SmallPool(tmp_path, **{role: child}) as pool:
        assert pool.ends() == 3
        assert f"windlass: the {role} {reason}" in pool.stderr()
        assert len(pool.diary("started", role="worker")) == 2


def test_a_steward_that_cannot_boot_stops_the_pool_too(tmp_path: Path) -> None:
    with SmallPool(tmp_path, steward="cannot_boot") as pool:
        assert pool.ends() == 3
        assert "windlass: the steward cannot boot: no module named 'kinds_of_mine'" in pool.stderr()


def test_the_others_are_drained_when_one_cannot_boot(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="second_cannot_boot") as pool:
        assert pool.ends() == 3
        assert [line["cause"] for line in pool.diary("exited", role="worker", slot=1)] == ["drained"]
        assert len(pool.diary("last pass")) <= 1


def test_children_that_die_before_they_are_ready_are_braked(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="dies_booting", workers=2) as pool:
        begun = time.monotonic()
        born = pool.wait_for("born", 8)
        # Four generations of two lie 0.25 + 0.5 + 1 seconds apart.
        assert time.monotonic() - begun > 1.5
        starts = [line["at"] for line in pool.diary("started", role="worker")]
        gaps = [starts[n + 2] - starts[n] for n in (0, 2, 4)]
        assert gaps[0] >= 0.25
        assert gaps[1] >= 0.5
        assert gaps[2] >= 1.0
        assert len(born) == 8
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0


def test_the_brake_does_not_keep_a_pool_down_that_can_boot(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="boots_the_third_time") as pool:
        pool.ready(2)
        assert len(pool.diary("exited")) == 2


def test_a_worker_that_lacks_memory_when_it_starts_is_started_again(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="lacks_memory_once") as pool:
        pool.wait_for("started", 3, role="worker")
        pool.ready(2)
        assert "MemoryError" in pool.stderr()


def test_a_steward_that_dies_booting_is_braked_and_the_workers_stay(tmp_path: Path) -> None:
    with SmallPool(tmp_path, steward="dies_booting") as pool:
        starts = [line["at"] for line in pool.wait_for("started", 4, role="steward")]
        assert starts[3] - starts[0] >= 1.75
        assert len(pool.pids()) == 2
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0


def test_what_a_program_of_ones_own_waits_for_is_left_to_it(tmp_path: Path) -> None:
    with SmallPool(tmp_path, sidecar=True) as pool:
        pool.ready(2)
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        until(lambda: pool.diary("sidecar", code=7))
