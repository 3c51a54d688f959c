"""Every bench works, at sizes that take a moment; how fast is not a test's business."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.database import open_connection
from support.processes import ROOT

from bench import database, rates
from bench.pool import Pool

_FRAMEWORK = {"results"}  # what is no question
QUESTIONS = sorted(
    path.stem
    for path in (ROOT / "bench").glob("*.py")
    if '__name__ == "__main__"' in path.read_text() and path.stem not in _FRAMEWORK
)
_FACTS = {"question", "command", "at", "commit", "machine", "python", "servers", "options", "rows", "plots"}


@pytest.mark.parametrize("question", [*QUESTIONS, "peers"])
def test_a_bench_works_and_keeps_what_it_found(question: str, server_url: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", f"bench.{question}", "--smoke", "--out", str(tmp_path)],
        cwd=ROOT,
        # Peers are other programs, looked for in the user's cache: here that is empty, and ours is asked alone.
        env={**os.environ, "DATABASE_URL": server_url, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    kept = json.loads((tmp_path / f"{question}.json").read_text())
    assert kept.keys() >= _FACTS
    assert kept["question"] == question
    assert kept["command"] == f"python -m bench.{question} --smoke"
    assert kept["rows"]
    for row in kept["rows"]:
        assert row["rounds"]
        assert row["median"].keys() == row["rounds"][0].keys()
    for server in kept["servers"]:
        assert server["fsync"] == server["synchronous_commit"] == "on"
    for figure in kept["plots"].values():
        assert all(len(point) == 2 for line in figure["lines"].values() for point in line)


def test_a_job_in_no_state_ends_the_bench(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", server_url)

    def lose_a_job() -> None:
        with database.server() as server, server.fresh() as url:
            database.fill(url, 1)
            connection = open_connection(url)
            connection.execute("delete from windlass.ready")
            connection.close()

    with pytest.raises(SystemExit, match="the invariants do not hold"):
        lose_a_job()


def test_jobs_that_did_not_succeed_are_no_figure(database_url: str) -> None:
    database.fill(database_url, 2)
    with pytest.raises(SystemExit, match="0 of 2 jobs succeeded"):
        rates.span(database_url, 2)


def test_a_pool_that_ends_by_itself_ends_the_bench(database_url: str) -> None:
    database.fill(database_url, 1)

    def drain() -> None:
        with Pool(database_url, WORKER_QUEUES="no name!") as pool:
            pool.wait_until_drained()

    with pytest.raises(SystemExit, match="the pool ended by itself, with 1"):
        drain()
