"""More workers, fewer, new ones with new code, and pools that cannot start."""

import signal
from pathlib import Path

import pytest
from support.effects import Effects
from support.pool import Pool
from support.pool_fixtures import StartPool
from support.tables import ended, look, put, put_one
from support.waiting import until

from sql.connection import Connection

KIND = """
from marshmallow import INCLUDE, Schema
from workerpool import kind

class Anything(Schema):
    class Meta:
        unknown = INCLUDE

@kind({name!r}, payload=Anything)
def changing(payload, context):
    return {answer!r}
"""


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """The module of a kind that answers `one`, where the first pool of the test finds it."""
    folder = tmp_path / "pool1"
    folder.mkdir()
    module = folder / "changing_kinds.py"
    module.write_text(KIND.format(name="changing", answer="one"))
    return module


def answer(connection: Connection) -> str | None:
    """What a job of the changing kind has for a result now."""
    return ended(connection, put_one(connection, "changing")).result


def test_ttin_adds_a_worker_and_ttou_drains_one(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    first = put_one(connection, "gate")
    effects.wait_for("began", first)
    pool.send(signal.SIGTTIN)
    pool.ready(2)
    second = put_one(connection, "gate")
    assert effects.wait_for("began", second).pid != effects.wait_for("began", first).pid
    until(lambda: pool.metric("worker_processes") == 2)
    pool.send(signal.SIGTTOU)
    for job_id in (first, second):
        effects.open_gate(job_id)
        job = ended(connection, job_id)
        assert (job.status, job.attempts) == ("succeeded", 1)
    pool.ready(1)
    until(lambda: pool.metric("worker_processes") == 1)


def test_hup_brings_new_code_of_kinds_in_and_lets_the_running_job_finish(
    start_pool: StartPool, connection: Connection, effects: Effects, kinds: Path
) -> None:
    pool = start_pool(kind_modules="support.fault_kinds,changing_kinds").ready()
    assert answer(connection) == '"one"'
    job_id = put_one(connection, "gate")
    began = effects.wait_for("began", job_id)
    old = set(pool.workers())
    kinds.write_text(KIND.format(name="changing", answer="two"))
    pool.send(signal.SIGHUP)
    until(lambda: set(pool.workers()) - old, 10, "a new one is there")
    assert began.pid in pool.workers()
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    until(lambda: not old & set(pool.workers()), 10, "all are replaced")
    pool.ready()
    assert [answer(connection) for _ in range(4)] == ['"two"'] * 4
    assert pool.metric("worker_restarts_total", cause="replaced") == 2
    assert pool.metric("worker_restarts_total", cause="crashed") == 0


def test_after_hup_with_code_that_does_not_import_the_old_workers_stay(
    start_pool: StartPool, connection: Connection, kinds: Path
) -> None:
    pool = start_pool(kind_modules="changing_kinds").ready()
    old = set(pool.workers())
    kinds.write_text("import no_such_module")
    pool.send(signal.SIGHUP)
    until(lambda: pool.said("cannot boot, the old ones stay"))
    assert pool.said("No module named 'no_such_module'")
    until(lambda: set(pool.workers()) == old)
    assert answer(connection) == '"one"'


@pytest.mark.parametrize(
    ("modules", "reason"),
    [
        ("no_such_kinds", "no_such_kinds cannot be imported"),
        ("changing_kinds,support.clashing_kinds", "kind 'changing' is declared twice"),
    ],
)
def test_a_pool_whose_kinds_cannot_be_loaded_stops_with_the_reason_and_code_3(
    start_pool: StartPool, connection: Connection, kinds: Path, modules: str, reason: str
) -> None:
    (kinds.parent / "clashing_kinds.py").write_text(KIND.format(name="changing", answer="another"))
    waiting = put(connection, "note", {})
    pool: Pool = start_pool(kind_modules=modules.replace("support.", ""))
    assert pool.ends(10) == 3
    assert pool.said(f"windlass: the worker cannot boot: {reason}") or reason in pool.log
    assert look(connection, waiting[0]).status == "queued"


@pytest.mark.parametrize(
    "settings", [{"worker_prefetch": "many"}, {"lease_seconds": "1"}, {"database_url": ""}, {"worker_queues": "a b"}]
)
def test_a_pool_with_bad_settings_does_not_start_and_names_them(
    start_pool: StartPool, settings: dict[str, str]
) -> None:
    pool = start_pool(**settings)
    assert pool.ends(10) == 1
    assert pool.log.startswith(f"{next(iter(settings)).upper()}: ")
    assert len(pool.log.splitlines()) == 1


def test_a_pool_whose_metrics_address_is_taken_does_not_start_and_says_so(start_pool: StartPool) -> None:
    first = start_pool(worker_processes=1).ready()
    taken = first.address()
    second = start_pool(worker_processes=1, worker_metrics_bind_addr=taken)
    assert second.ends(10) == 1
    assert f"WORKER_METRICS_BIND_ADDR: cannot listen on {taken}: Address already in use" in second.log
