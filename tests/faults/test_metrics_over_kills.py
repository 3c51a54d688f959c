"""What a scraper sees while workers die."""

import os
import signal
import time
from pathlib import Path

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import drained, ended, put, put_one
from support.waiting import until

from sql.connection import Connection

KILLS = 200
WORKERS = 8


def test_over_200_kills_no_counter_falls_and_files_and_scrapes_stay_as_they_were(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=WORKERS).ready()
    files = Path(pool.folder, "metrics", f"windlass-pool-{pool.process.pid}")

    def work() -> None:
        for job_id in put(connection, "note", *({} for _ in range(20))):
            ended(connection, job_id)

    def scrape_seconds() -> float:
        began = time.monotonic()
        pool.page()
        return time.monotonic() - began

    def file_names() -> set[str]:
        # A dead worker's gauge of what lives is removed, and comes back with its successor's first job.
        return {path.name for path in files.iterdir() if not path.name.startswith("gauge_livesum")}

    # Every worker has to have counted something before the files can be told.
    gates = [put_one(connection, "gate") for _ in range(WORKERS)]
    for job_id in gates:
        effects.wait_for("began", job_id)
    for job_id in gates:
        effects.open_gate(job_id)
    drained(connection)
    os.kill(pool.workers()[0], signal.SIGKILL)
    until(lambda: pool.metric("worker_restarts_total", cause="crashed") == 1)
    pool.ready()
    work()
    names, seconds = file_names(), min(scrape_seconds() for _ in range(5))
    before, kills = pool.counters(), 1
    while kills < KILLS:
        victims = list(pool.registered())
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        kills += len(victims)
        pool.ready()
        work()
        now = pool.counters()
        fell = {name: (value, now.get(name)) for name, value in before.items() if now.get(name, -1.0) < value}
        assert not fell
        before = now
    until(lambda: pool.metric("worker_restarts_total", cause="crashed") == kills)
    assert file_names() == names
    assert len(list(files.iterdir())) <= len(names) + WORKERS + 1
    assert min(scrape_seconds() for _ in range(5)) < 2 * seconds + 0.01
    assert pool.metric("worker_processes") == WORKERS
