"""Workers over HTTP and a pool work through one table, and all of them are killed at random."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.effects import Effects
from support.lease_holder import answers
from support.pool import Pool
from support.pool_fixtures import StartPool
from support.processes import ROOT
from support.tables import drained, put
from support.waiting import until
from support.web import Web, running_web

from sql.connection import Connection

SECONDS = 15
HOLDERS = 2
WORKERS = 4
# Written by the server itself, whoever settles: two ends of one job cannot hide.
RECORD_ENDS = """
create table public.ends (n bigint generated always as identity, id uuid, fence bigint, status text, worker_id bigint);
create function public.record_end() returns trigger language plpgsql as $$
begin
    insert into public.ends (id, fence, status, worker_id) values (new.id, new.fence, new.status, new.worker_id);
    return null;
end $$;
create trigger record_end after insert on windlass.done for each row execute function public.record_end();
"""


class Holders:
    """So many of them; who is killed is followed by another."""

    def __init__(self, web: Web, log: Path) -> None:
        self.web, self.log = web, log
        self.started = 0
        self.living = [self._start() for _ in range(HOLDERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        self.started += 1
        return subprocess.Popen(
            [sys.executable, "-m", "support.lease_holder", self.web.url, str(self.log), str(self.started)],
            cwd=ROOT / "tests",
            start_new_session=True,
        )

    def kill_one(self) -> None:
        """At some instant of its work."""
        victim = self.living.pop(random.randrange(HOLDERS))
        assert victim.poll() is None, "a holder has ended by itself"
        victim.kill()
        victim.wait()
        self.living.append(self._start())

    def end(self) -> None:
        """None is left."""
        for holder in self.living:
            holder.kill()
            holder.wait()


@pytest.fixture
def web(tmp_path: Path, database_url: str) -> Iterator[Web]:
    with running_web(tmp_path, database_url, WEB_CONCURRENCY="2", REQUIRE_LEASE_TOKEN="1") as web:
        yield web


@pytest.fixture
def holders(web: Web, tmp_path: Path) -> Iterator[Holders]:
    holders = Holders(web, tmp_path / "answers")
    yield holders
    holders.end()


def kill_somebody(pool: Pool, holders: Holders) -> str:
    """A worker of the pool, its steward, a holder, or a web process."""
    who = random.choices(("worker", "steward", "holder", "web"), (10, 2, 10, 1))[0]
    if who == "holder":
        holders.kill_one()
        return who
    victims = {"worker": pool.workers, "steward": lambda: [pool.steward()], "web": holders.web.workers}[who]
    os.kill(random.choice(until(victims)), signal.SIGKILL)
    return who


@pytest.mark.timeout(180)
def test_every_job_ends_once_and_no_settle_is_accepted_twice(
    start_pool: StartPool, connection: Connection, effects: Effects, holders: Holders
) -> None:
    connection.execute(RECORD_ENDS)
    pool = start_pool(worker_processes=WORKERS).ready()
    ids: list[str] = []
    kills: Counter[str] = Counter()
    until_then = time.monotonic() + SECONDS
    while time.monotonic() < until_then:
        ids += put(connection, "note", *({"seconds": n % 4 * 0.002} for n in range(40)), max_attempts=3)
        ids += put(connection, "external", *({} for _ in range(10)), max_attempts=3)
        pause_until = time.monotonic() + random.uniform(0.05, 0.4)
        until(lambda end=pause_until: time.monotonic() >= end)
        kills[kill_somebody(pool, holders)] += 1
    counts = drained(connection, 60)
    holders.end()

    assert sum(counts.values()) == len(ids)
    assert set(counts) <= {"succeeded", "failed_permanent"}
    ends = connection.fetch_all("select id::text, fence, status, worker_id from public.ends order by n")
    assert Counter(job for job, *_ in ends) == Counter(ids), "a job ended twice, or never"

    said = answers(holders.log)
    accepted = {(answer.job, answer.token, answer.verb) for answer in said if answer.status == 204}
    assert Counter((job, token) for job, token, _ in accepted).most_common(1)[0][1] == 1, "one lease, two settles"
    acked = {job: token for job, token, verb in accepted if verb == "ack"}
    assert len(acked) == sum(verb == "ack" for *_, verb in accepted), "two acks of one job were accepted"
    rows = connection.fetch_all(
        "select id::text, result #>> '{}', worker_id from windlass.done where status = 'succeeded'"
    )
    results = {job: result for job, result, worker in rows if worker is None}
    # Killed between the commit and the answer, a holder never learned of its success; but what it was told is true.
    assert acked.items() <= results.items()
    failures = dict(connection.fetch_all("select error, id::text from windlass.failures where error like 'under %'"))
    failed = {f"under {token}": job for job, token, verb in accepted if verb == "fail"}
    assert failed.items() <= failures.items()

    runs = Counter((effect.job, effect.fence) for effect in effects.all("ran"))
    assert max(runs.values()) == 1, "one claim ran twice"
    by_holder = Counter(worker is None for *_, worker in ends)
    print(
        f"{sum(kills.values())} kills in {SECONDS} s ({dict(kills)}), {len(ids)} jobs: {counts}, {by_holder[True]} of"
        f" them over HTTP, {len(accepted)} settles accepted, {sum(answer.status == 409 for answer in said)} refused"
    )
    assert min(by_holder.values()) > len(ids) / 20, "one side did hardly anything"
