"""`workerpool.run(…)`: a pool started by somebody's own program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.effects import Effects
from support.pool_fixtures import StartPool
from support.processes import ROOT
from support.tables import becomes, ended, put_one
from support.waiting import until

from sql.connection import Connection

PROGRAM = """
import os
import sys
from marshmallow import Schema, fields
from support.effects import Effects
import workerpool
from workerpool import Context, kind

effects = Effects.of_this_process()


class Number(Schema):
    n = fields.Integer(strict=True, required=True)


@kind("mine.double", payload=Number)
def double(payload: dict, context: Context) -> int:
    effects.note(context, "began")
    while payload["n"] < 0 and not effects.is_open(context):
        os.sched_yield()
    return payload["n"] * 2


if __name__ == "__main__":
    code = workerpool.run(worker_processes=3, worker_queues=["default", "mine"], shutdown_grace_seconds=10)
    print("the pool has ended with", code, flush=True)
    sys.exit(40 + code)
"""
CALL = "workerpool.run(database_url='postgresql://127.0.0.1/nowhere', worker_metrics_bind_addr='127.0.0.1:0')"
LINGERING = "import threading; threading.Thread(target=threading.Event().wait, name='lingering', daemon=True).start()"
OF_C = """
import ctypes
libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
"""
IN_A_THREAD = f"""
from concurrent.futures import ThreadPoolExecutor
ThreadPoolExecutor().submit(lambda: {CALL}).result()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


def test_it_runs_the_kinds_of_the_program_and_of_the_modules_in_its_queues(
    start_pool: StartPool, connection: Connection, program: Path
) -> None:
    pool = start_pool(program=program, worker_processes=1, worker_queues="neither").ready(3)
    job = ended(connection, put_one(connection, "mine.double", {"n": 4}, queue="mine"))
    assert (job.status, job.result) == ("succeeded", "8")
    assert ended(connection, put_one(connection, "note")).status == "succeeded"
    assert pool.metric("worker_jobs_completed_total", kind="mine.double", outcome="succeeded") == 1


def test_it_survives_a_worker_drains_at_term_and_gives_the_program_its_exit_code(
    start_pool: StartPool, connection: Connection, effects: Effects, program: Path
) -> None:
    pool = start_pool(program=program).ready(3)
    job_id = put_one(connection, "mine.double", {"n": -1})
    os.kill(effects.wait_for("began", job_id).pid, signal.SIGKILL)
    effects.wait_for("began", job_id, 2)
    pool.ready(3)
    pool.send(signal.SIGTERM)
    until(lambda: pool.said("draining"), message="it drains")
    waiting = put_one(connection, "mine.double", {"n": 1})
    effects.open_gate(job_id)
    assert pool.ends(15) == 40
    assert pool.log.splitlines()[-1] == "the pool has ended with 0"
    job = becomes(connection, job_id, "succeeded")
    assert (job.attempts, job.result) == (2, "-2")
    assert becomes(connection, waiting, "queued").attempts == 0


def test_its_exit_code_says_that_a_pool_could_not_start(start_pool: StartPool, program: Path) -> None:
    pool = start_pool(program=program, kind_modules="nowhere_to_be_found")
    assert pool.ends(20) == 43
    assert "windlass: the worker cannot boot: nowhere_to_be_found cannot be imported" in pool.log


def call(code: str, folder: Path, **environ: str) -> list[str]:
    """The last words of a program that cannot run a pool."""
    done = subprocess.run(
        [sys.executable, "-c", f"import workerpool\n{code}"],
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    _, _, last = done.stderr.rpartition("\nworkerpool.kinds.environment.SettingsError: ")
    return last.splitlines() if last != done.stderr else done.stderr.splitlines()[-1:]


def test_wrong_settings_are_named_as_they_were_given(tmp_path: Path) -> None:
    wrong = "workerpool.run(worker_processes=0, worker_queues=['a b'], kind_modules=(5,), procs=1, retention_days=None)"
    said = call(wrong, tmp_path, LEASE_SECONDS="x", WORKER_QUEUES="fine")
    assert [line.partition(":")[0] for line in sorted(said)] == [
        "DATABASE_URL", "LEASE_SECONDS", "kind_modules", "procs", "worker_processes", "worker_queues",
    ]  # fmt: skip
    assert "procs: is no setting of the pool, which are: database_url, worker_processes, " in "\n".join(said)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"{LINGERING}\n{CALL}", "end them first: lingering"),
        (f"{OF_C}\n{CALL}", "end them first: 1 of C libraries (import them inside the handler)"),
        (IN_A_THREAD, "must be called in the main thread: the pool hears signals, and forks"),
    ],
    ids=["beside a thread", "beside a thread of C", "in a thread"],
)
def test_it_does_not_fork_where_threads_are(tmp_path: Path, code: str, said: str) -> None:
    [line] = call(code, tmp_path)
    assert line.startswith("RuntimeError: workerpool.run() ")
    assert line.endswith(said)


def test_it_runs_once(start_pool: StartPool, tmp_path: Path) -> None:
    again = tmp_path / "again.py"
    again.write_text("import workerpool\nprint(workerpool.run(), flush=True)\nworkerpool.run()\n")
    pool = start_pool(program=again, worker_processes=1).ready()
    pool.send(signal.SIGTERM)
    assert pool.ends(15) == 1
    assert pool.log.splitlines()[-1].startswith("RuntimeError: workerpool.run() can run one pool in the life of a")


def test_what_the_program_had_is_given_back(start_pool: StartPool, tmp_path: Path) -> None:
    polite = tmp_path / "polite.py"
    polite.write_text(
        "import json, os, signal, workerpool\n"
        "def mine(number, frame): ...\n"
        "signal.signal(signal.SIGTERM, mine)\n"
        "former = os.environ['PROMETHEUS_MULTIPROC_DIR']\n"
        "workerpool.run()\n"
        "given_back = [signal.getsignal(signal.SIGTERM) is mine, os.environ['PROMETHEUS_MULTIPROC_DIR'] == former]\n"
        "print(json.dumps(given_back), flush=True)\n"
    )
    pool = start_pool(program=polite, worker_processes=1).ready()
    assert pool.stop() == 0
    assert json.loads(pool.log.splitlines()[-1]) == [True, True]
