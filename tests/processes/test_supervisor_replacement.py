"""HUP: new code comes in worker by worker, or not at all."""

import os
import signal
from pathlib import Path

from support.small_pool import SmallPool
from support.waiting import until


def _write(pool_folder: Path, code: str) -> None:
    # Renamed into place, as a deploy does, so that no worker reads half of it.
    (pool_folder / "next").write_text(code)
    os.rename(pool_folder / "next", pool_folder / "code")


def _codes(pool: SmallPool) -> list[str]:
    at_work = pool.pids()
    return [line["code"] for line in pool.diary("ready", role="worker") if line["pid"] in at_work]


def test_hup_replaces_every_worker_by_one_with_the_new_code(tmp_path: Path) -> None:
    _write(tmp_path, "old")
    with SmallPool(tmp_path, worker="runs_the_code", workers=3, slots=5) as pool:
        old = pool.ready(3)
        steward = pool.pids("steward")
        _write(tmp_path, "new")
        pool.send(signal.SIGHUP)
        until(lambda: _codes(pool) == ["new"] * 3, message=pool.everything())
        assert not set(old) & set(pool.pids())
        assert {line["cause"] for line in pool.diary("exited")} == {"replaced"}
        assert len(pool.diary("restarted", cause="replaced")) == 3
        assert pool.pids("steward") == steward


def test_a_new_worker_is_at_work_before_an_old_one_is_told_to_leave(tmp_path: Path) -> None:
    _write(tmp_path, "old")
    with SmallPool(tmp_path, worker="runs_the_code", workers=2, slots=4) as pool:
        pool.ready(2)
        _write(tmp_path, "slow")
        pool.send(signal.SIGHUP)
        until(lambda: _codes(pool) == ["slow"] * 2, message=pool.everything())
        new = [line["at"] for line in pool.diary("ready", code="slow")]
        told = [line["at"] for line in pool.diary("heard", role="worker", signal="SIGTERM")]
        assert new[0] < told[0] < new[1] < told[1]


def test_replacing_takes_one_spare_slot_however_often_it_is_done_and_however_many_there_are(tmp_path: Path) -> None:
    _write(tmp_path, "0")
    with SmallPool(tmp_path, worker="runs_the_code", workers=3, slots=9) as pool:
        pool.ready(3)
        for code in ("1", "2", "3"):
            _write(tmp_path, code)
            pool.send(signal.SIGHUP)
            until(lambda code=code: _codes(pool) == [code] * 3, message=pool.everything())
        assert {line["slot"] for line in pool.diary("started", role="worker")} == {1, 2, 3, 4}
        assert max(line["n"] for line in pool.diary("count")) == 4


def test_if_the_new_code_cannot_boot_the_old_workers_stay(tmp_path: Path) -> None:
    for code, reason in (("does not import", "the new code does not import"), ("kills", "killed by signal 9")):
        _write(tmp_path, "old")
        folder = tmp_path / code.replace(" ", "_")
        folder.mkdir()
        _write(folder, "old")
        with SmallPool(folder, worker="runs_the_code", workers=2, slots=4) as pool:
            old = pool.ready(2)
            _write(folder, code)
            pool.send(signal.SIGHUP)
            until(lambda pool=pool: "the old ones stay" in pool.stderr())
            assert reason in pool.stderr()
            assert pool.pids() == old
            assert len(pool.diary("started", role="worker")) == 3
            _write(folder, "mended")
            pool.send(signal.SIGHUP)
            until(lambda pool=pool: _codes(pool) == ["mended"] * 2)


def test_a_second_hup_during_a_replacement_leaves_only_the_newest_code(tmp_path: Path) -> None:
    _write(tmp_path, "old")
    with SmallPool(tmp_path, worker="runs_the_code", workers=3, slots=5) as pool:
        pool.ready(3)
        _write(tmp_path, "slow")
        pool.send(signal.SIGHUP)
        pool.wait_for("started", 4, role="worker")
        _write(tmp_path, "newest")
        pool.send(signal.SIGHUP)
        until(lambda: _codes(pool) == ["newest"] * 3, message=pool.everything())


def test_a_worker_that_crashes_during_a_replacement_comes_back_with_the_new_code(tmp_path: Path) -> None:
    _write(tmp_path, "old")
    with SmallPool(tmp_path, worker="runs_the_code", workers=2, slots=4) as pool:
        victim, _ = pool.ready(2)
        _write(tmp_path, "slow")
        pool.send(signal.SIGHUP)
        pool.wait_for("started", 3, role="worker")
        os.kill(victim, signal.SIGKILL)
        until(lambda: _codes(pool) == ["slow"] * 2, message=pool.everything())
        assert max(line["n"] for line in pool.diary("count")) == 3


def test_term_during_a_replacement_drains_old_and_new(tmp_path: Path) -> None:
    _write(tmp_path, "old")
    with SmallPool(tmp_path, worker="runs_the_code", workers=2, slots=4) as pool:
        pool.ready(2)
        _write(tmp_path, "slow")
        pool.send(signal.SIGHUP)
        pool.wait_for("started", 3, role="worker")
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        assert len(pool.diary("started", role="worker")) == 3
        assert {line["cause"] for line in pool.diary("exited")} == {"drained"}
