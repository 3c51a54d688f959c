"""The drain bench works; how fast is not a test's business."""

import os
import subprocess
import sys

from support.processes import ROOT


def test_the_drain_bench_runs_every_job(server_url: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.drain", "--jobs", "300", "--workers", "2", "--rounds", "1"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": server_url},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "300 jobs" in run.stdout
    assert "fsync on" in run.stdout
