"""The table of signals, cell by cell: what the supervisor, a worker and the steward make of each."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.small_pool import SmallPool
from support.waiting import until

GROUP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


def _heard(pool: SmallPool, number: signal.Signals, role: str = "worker") -> list[dict[str, Any]]:
    return pool.diary("heard", role=role, signal=number.name)


# -- TERM, INT --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_drain_the_workers_and_then_release_the_steward(tmp_path: Path, number: signal.Signals) -> None:
    with SmallPool(tmp_path, worker="finishes_first") as pool:
        pool.ready(2)
        pool.send(number)
        assert pool.ends() == 0
        assert [line["cause"] for line in pool.diary("exited", role="worker")] == ["drained", "drained"]
        assert len(_heard(pool, signal.SIGTERM)) == 2
        last_worker = pool.diary("exited", role="worker")[-1]["at"]
        [last_pass] = pool.diary("last pass")
        assert last_pass["at"] > last_worker
        assert pool.diary("exited")[-1]["role"] == "steward"
        assert pool.anyone_left() == []


def test_term_again_and_again_changes_nothing(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="finishes_first") as pool:
        pool.ready(2)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            pool.send(number)
            pool.wait_for("heard", 2, signal="SIGTERM")
        assert pool.ends() == 0
        assert len(_heard(pool, signal.SIGTERM)) == 2
        assert _heard(pool, signal.SIGQUIT) == []


def test_term_to_the_whole_group_several_times_is_one_drain(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="finishes_first") as pool:
        pool.ready(2)
        for times in (1, 2, 3):
            pool.send_group(signal.SIGTERM)
            pool.wait_for("heard", 2 * times, signal="SIGTERM")
        assert pool.ends() == 0
        exits = pool.diary("exited")
        assert [(line["role"], line["cause"], line["sentence"]) for line in exits] == [
            ("worker", "drained", "exited with code 0"),
            ("worker", "drained", "exited with code 0"),
            ("steward", "drained", "exited with code 0"),
        ]
        assert len(pool.diary("started")) == 3
        assert len(pool.diary("last pass")) == 1


@pytest.mark.parametrize("target", ["boots_slowly", "polite"])
def test_term_during_start_up_ends_the_pool_cleanly(tmp_path: Path, target: str) -> None:
    with SmallPool(tmp_path, worker=target, workers=4) as pool:
        pool.wait_for("started")
        pool.send_group(signal.SIGTERM)
        assert pool.ends() == 0
        assert {line["cause"] for line in pool.diary("exited")} == {"drained"}
        assert len(pool.diary("started")) <= 5
        assert pool.anyone_left() == []


def test_a_draining_supervisor_starts_no_worker_again(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="finishes_first") as pool:
        victim, _ = pool.ready(2)
        pool.send(signal.SIGTERM)
        pool.wait_for("heard", 2)
        os.kill(victim, signal.SIGKILL)
        [death] = pool.wait_for("exited", pid=victim)
        assert death["cause"] == "crashed"
        assert pool.ends() == 0
        assert len(pool.diary("started", role="worker")) == 2


def test_the_steward_is_replaced_even_during_a_drain_since_it_settles_the_dead(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="leaves_on_quit", grace=2.0) as pool:
        pool.ready(2)
        pool.send(signal.SIGTERM)
        pool.wait_for("heard", 2)
        os.kill(pool.pids("steward")[0], signal.SIGKILL)
        pool.wait_for("ready", 2, role="steward")
        assert pool.ends() == 0
        assert len(pool.diary("last pass")) == 1


# -- QUIT, or the grace over ------------------------------------------------------------------------------------------


def test_quit_sends_the_workers_quit_at_once(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="leaves_on_quit", grace=60) as pool:
        pool.ready(2)
        pool.send(signal.SIGQUIT)
        assert pool.ends() == 0
        assert len(_heard(pool, signal.SIGQUIT)) == 2
        assert len(pool.diary("last pass")) == 1


def test_quit_during_a_drain_ends_the_grace(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="leaves_on_quit", grace=60) as pool:
        pool.ready(2)
        pool.send(signal.SIGTERM)
        pool.wait_for("heard", 2, signal="SIGTERM")
        pool.send(signal.SIGQUIT)
        assert pool.ends() == 0
        assert len(_heard(pool, signal.SIGQUIT)) == 2


def test_when_the_grace_is_over_the_workers_get_quit_and_not_before(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="leaves_on_quit", grace=1.0) as pool:
        pool.ready(2)
        told = time.monotonic()
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        assert all(1.0 <= line["at"] - told < 1.5 for line in _heard(pool, signal.SIGQUIT))
        assert len(_heard(pool, signal.SIGQUIT)) == 2
        assert {line["sentence"] for line in pool.diary("exited", role="worker")} == {"exited with code 0"}


# -- 2 s after that ---------------------------------------------------------------------------------------------------


def test_a_worker_that_ignores_everything_is_killed_and_all_is_over_in_grace_and_three_seconds(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="deaf", steward="never_ends_its_last_pass", grace=1.0) as pool:
        pool.ready(2)
        told = time.monotonic()
        pool.send(signal.SIGTERM)
        assert pool.ends(seconds=15) == 0
        assert time.monotonic() - told <= 1.0 + 3.0
        deaths = pool.diary("exited", role="worker")
        assert [(line["cause"], line["sentence"]) for line in deaths] == [
            ("drained", "killed at the end of the drain"),
            ("drained", "killed at the end of the drain"),
        ]
        assert all(line["at"] - told >= 3.0 for line in deaths)
        assert pool.anyone_left() == []


def test_the_stewards_last_pass_sees_the_dead_of_the_drain(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="deaf") as pool:
        pool.ready(2)
        pool.send(signal.SIGQUIT)
        assert pool.ends() == 0
        [last_pass] = pool.diary("last pass")
        assert last_pass["dead"] == ["drained", "drained"]


def test_a_steward_that_never_ends_its_last_pass_is_killed(tmp_path: Path) -> None:
    with SmallPool(tmp_path, steward="never_ends_its_last_pass") as pool:
        pool.ready(2)
        told = time.monotonic()
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        assert time.monotonic() - told < 3.0
        [death] = pool.diary("exited", role="steward")
        assert death["sentence"] == "killed at the end of the drain"


# -- TTIN, TTOU -------------------------------------------------------------------------------------------------------


def test_ttin_is_one_worker_more_up_to_the_size_of_the_board(tmp_path: Path) -> None:
    with SmallPool(tmp_path, workers=2, slots=5) as pool:
        pool.ready(2)
        pool.send(signal.SIGTTIN)
        pool.ready(3)
        pool.send(signal.SIGTTIN)
        until(lambda: "room for 3 workers and no more" in pool.stderr())
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        assert len(pool.diary("started", role="worker")) == 3
        assert [line["n"] for line in pool.diary("count")][:2] == [2, 3]


def test_ttou_is_one_worker_fewer_drained_and_never_the_last(tmp_path: Path) -> None:
    with SmallPool(tmp_path, workers=2, worker="finishes_first") as pool:
        pool.ready(2)
        pool.send(signal.SIGTTOU)
        [gone] = pool.wait_for("exited", role="worker")
        assert (gone["cause"], gone["sentence"]) == ("drained", "exited with code 0")
        pool.send(signal.SIGTTOU)
        until(lambda: "keeps at least one worker" in pool.stderr())
        assert len(pool.pids()) == 1
        pool.send(signal.SIGTTIN)
        pool.ready(2)
        assert len(pool.diary("started", role="worker")) == 3


# -- signals to a child itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", GROUP_SIGNALS)
def test_a_worker_told_directly_leaves_and_is_replaced(tmp_path: Path, number: signal.Signals) -> None:
    with SmallPool(tmp_path) as pool:
        worker, _ = pool.ready(2)
        os.kill(worker, number)
        [gone] = pool.wait_for("exited", pid=worker)
        assert (gone["cause"], gone["sentence"]) == ("recycled", "exited with code 0")
        assert pool.diary("heard", pid=worker, signal=number.name)
        pool.ready(2)


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2])
def test_a_worker_neither_stops_nor_dies_of_the_supervisors_own_signals(tmp_path: Path, number: signal.Signals) -> None:
    with SmallPool(tmp_path) as pool:
        worker, _ = pool.ready(2)
        os.kill(worker, number)
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        assert {line["sentence"] for line in pool.diary("exited")} == {"exited with code 0"}


@pytest.mark.parametrize("number", [*GROUP_SIGNALS, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2])
def test_the_steward_wakes_and_stays_whatever_it_is_told(tmp_path: Path, number: signal.Signals) -> None:
    with SmallPool(tmp_path) as pool:
        pool.ready(2)
        [steward] = pool.pids("steward")
        os.kill(steward, number)
        pool.wait_for("woke", pid=steward)
        assert pool.pids("steward") == [steward]
        assert pool.diary("last pass") == []
        assert _heard(pool, number, role="steward") == []


def test_usr1_and_usr2_do_not_end_the_supervisor(tmp_path: Path) -> None:
    with SmallPool(tmp_path) as pool:
        pool.ready(2)
        pool.send(signal.SIGUSR1)
        pool.send(signal.SIGUSR2)
        pool.send(signal.SIGTTIN)
        pool.ready(3)
