"""One table of rates in several processes: exact together, and whole whoever dies or stands still."""

import json
import os
import subprocess
import sys
from typing import Any

from support import rate_spenders


def _run(what: str, times: int = 1) -> dict[str, Any]:
    """In a process of its own, since it forks."""
    done = subprocess.run(
        [sys.executable, rate_spenders.__file__, what, str(times)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_of_many_requests_at_once_from_threads_and_processes_exactly_the_limit_passes() -> None:
    seen = _run("together", 2000)
    assert seen["codes"] == [0, 0, 0, 0]
    assert seen["passed"] == [2000, 2000]


def test_a_process_killed_at_any_moment_leaves_every_count_whole_and_nobody_waiting() -> None:
    deaths = 80
    seen = _run("kills", deaths)
    # Many died with the lock, or this proves little.
    assert seen["held"] > deaths / 8
    assert seen["slowest"] < 1.0
    assert 0 <= seen["untold"] <= deaths


def test_a_process_stopped_with_the_lock_holds_nobody_for_long_and_no_other_client_at_all() -> None:
    seen = _run("stopped")
    assert seen["wait"] == 0
    assert 0.9 < seen["seconds"] < 5
    others, seconds = seen["others"]
    assert others == 40
    assert seconds < 0.9
    assert seen["after"] > 0
