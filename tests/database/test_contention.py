"""All verbs at once from several processes: every job in one state, no fence twice, one settle of each, no error."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from support.contention import KEY_SECONDS, KINDS
from support.migrations import ROOT
from support.work import add_many

from sql import checks
from sql.connection import Connection

PROCESSES = 4
JOBS = 300
# Each must have happened, or the run proved nothing about it.
VERBS = {
    "claim_for_pool",
    "claim_over_http",
    "ack",
    "fail",
    "release",
    "ack_cancelled",
    "extend",
    "report_progress",
    "rescue",
    "cancel",
    "redrive",
    "redrive_matching",
    "enqueue",
    "enqueue_with_keys",
    "prune_keys",
    "mark_lost",
    "beat",
    "refused",
}


def start(url: str, seconds: float, report: Path) -> "subprocess.Popen[bytes]":
    with report.open("wb") as out, report.with_suffix(".errors").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "support.contention", url, str(random.randrange(2**32)), str(seconds)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            stdout=out,
            stderr=errors,
        )


def test_under_contention_every_invariant_of_the_tables_holds(
    any_connection: Connection, any_url: str, tmp_path: Path
) -> None:
    conn = any_connection
    for kind in KINDS:
        add_many(conn, JOBS // 2, kind=kind, max_attempts=5)
    files = [tmp_path / f"{number}.json" for number in range(PROCESSES)]
    movers = [start(any_url, 8, file) for file in files]
    looks = 0
    while running := [mover for mover in movers if mover.poll() is None]:
        assert checks.states(conn) == []
        looks += 1
        with suppress(subprocess.TimeoutExpired):
            running[0].wait(0.05)
    assert [mover.wait() for mover in movers] == [0] * PROCESSES, [
        file.with_suffix(".errors").read_text() for file in files
    ]
    reports = [json.loads(file.read_text()) for file in files]
    assert looks > 20

    effects: Counter[str] = sum((Counter(report["effects"]) for report in reports), Counter())
    assert {verb for verb in VERBS if not effects[verb]} == set(), effects

    fences = [fence for report in reports for fence in report["fences"]]
    assert len(set(fences)) == len(fences)
    assert all(earlier < later for report in reports for earlier, later in pairwise(report["fences"]))

    settled = [fence for report in reports for fence in report["settled"]]
    rescued = [row[0] for row in conn.fetch_all("select fence from windlass.failures where error <> 'boom'")]
    assert len(set(settled)) == len(settled)
    assert len(rescued) == effects["rescue"]
    assert not set(settled) & set(rescued)
    assert set(settled) | set(rescued) <= set(fences)

    assert sum(report["cancels"].get("missing", 0) for report in reports) == 0

    created = [job_id for report in reports for job_id in report["created"]]
    keyed = conn.fetch_all(
        "select id::text, created_at - lag(created_at) over (partition by idempotency_key order by created_at)"
        " >= %(window)s * interval '1 second' from windlass.jobs where idempotency_key is not null",
        window=KEY_SECONDS,
    )
    assert sorted(created) == sorted(row[0] for row in keyed)
    assert all(far_apart in (None, True) for _, far_apart in keyed)
