"""The program that `test_contention` runs several of: all verbs at random on few jobs, taken from living holders too.

`python -m support.contention URL SEED SECONDS` prints, as JSON, which fences it was given, which it settled, which jobs
its keys made, what its cancels were answered, and how often each verb had an effect.
"""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable

from sql import dead_letters, jobs, leases, retention, stats, workers
from sql.leases import Failure, Lease
from sql.rows import Status
from support.database import open_connection
from support.work import KIND, claim, lease_of, new_job, register

KINDS = (KIND, "resize")
KEYS = 12
KEY_SECONDS = 1
# Far shorter than the time a lease is kept here, so that living holders lose jobs all the time.
LEASE_SECONDS = 0.15
HTTP_LEASE_MS = 80
_STALE_KEPT = 50

Held = tuple[Lease, int | None]


class Mover:
    """One process: what it holds, what it held before, and what it has done."""

    def __init__(self, url: str, seed: int) -> None:
        self.conn = open_connection(url)
        # Waiting for the disk would only keep them out of each other's way.
        self.conn.execute("set synchronous_commit = off")
        self.random = random.Random(seed)
        self.worker = register(self.conn, lease_seconds=LEASE_SECONDS)
        self.held: list[Held] = []
        self.stale: list[Held] = []
        self.fences: list[int] = []
        self.settled: list[int] = []
        self.created: list[str] = []
        self.cancels: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        verbs: dict[Callable[[], int], int] = {
            self.claim_for_pool: 20,
            self.claim_over_http: 20,
            self.ack: 8,
            self.fail: 12,
            self.release: 12,
            self.ack_cancelled: 3,
            self.extend: 8,
            self.report_progress: 4,
            self.rescue: 6,
            self.cancel: 8,
            self.redrive: 8,
            self.redrive_matching: 2,
            self.enqueue: 4,
            self.enqueue_with_keys: 8,
            self.prune_keys: 2,
            self.beat: 4,
            self.mark_lost: 3,
            self.read: 2,
        }
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            (verb,) = self.random.choices(list(verbs), list(verbs.values()))
            self.effects[verb.__name__] += verb()

    def claim_for_pool(self) -> int:
        return self._take(self.worker)

    def claim_over_http(self) -> int:
        return self._take(None)

    def _take(self, worker: int | None) -> int:
        kinds = self.random.sample(KINDS, self.random.randint(1, 2))
        limit = self.random.randint(1, 12)
        claimed = claim(self.conn, worker, kinds=kinds, limit=limit, lease_ms=HTTP_LEASE_MS)
        self.held += [(lease_of(job), worker) for job in claimed]
        self.fences += sorted(job.fence for job in claimed)
        return len(claimed)

    def ack(self) -> int:
        return self._settle(lambda worker, given: leases.ack(self.conn, worker, [(lease, "1") for lease in given]))

    def fail(self) -> int:
        delay, permanent = self.random.choice([0.0, 0.0, 0.01]), self.random.random() < 0.2
        return self._settle(
            lambda worker, given: set(
                leases.fail(self.conn, worker, [Failure(lease, "boom", delay, permanent) for lease in given])
            )
        )

    def release(self) -> int:
        return self._settle(lambda worker, given: leases.release(self.conn, worker, given))

    def ack_cancelled(self) -> int:
        return self._settle(lambda worker, given: leases.ack_cancelled(self.conn, worker, given))

    def _settle(self, settle: Callable[[int | None, list[Lease]], set[str]]) -> int:
        """Some of what is or was held under one identity, at most one lease of a job, in any order."""
        worker = self.random.choice([self.worker, None])
        mine = [one for one in self.held if one[1] == worker]
        batch = self.random.sample(mine, min(len(mine), self.random.randint(1, 10)))
        old = [one for one in self.stale if one[1] == worker]
        batch += self.random.sample(old, min(len(old), 2))
        given = list({lease.id: lease for lease, _ in reversed(batch)}.values())
        self.random.shuffle(given)
        answer = settle(worker, given)
        settled = [lease.fence for lease in given if lease.id in answer]
        self.settled += settled
        self.effects["refused"] += len(given) - len(settled)
        gone = {lease.fence for lease in given}
        self.stale = [*self.stale, *(one for one in self.held if one[0].fence in gone)][-_STALE_KEPT:]
        self.held = [one for one in self.held if one[0].fence not in gone]
        return len(settled)

    def extend(self) -> int:
        lease = self._any_lease()
        return lease is not None and leases.extend(self.conn, lease[0], HTTP_LEASE_MS) is not None

    def report_progress(self) -> int:
        lease = self._any_lease()
        return lease is not None and leases.report_progress(self.conn, lease[1], lease[0], "1")

    def _any_lease(self) -> Held | None:
        among = self.held if self.random.random() < 0.8 else self.stale
        return self.random.choice(among) if among else None

    def rescue(self) -> int:
        return len(leases.rescue(self.conn, workers_too=True, limit=self.random.choice([5, 500])))

    def cancel(self) -> int:
        answer = jobs.cancel(self.conn, self.random.choice(self._some_jobs()))
        self.cancels[answer] += 1
        return answer != "terminal"

    def redrive(self) -> int:
        ids = self._some_jobs()
        self.random.shuffle(ids)
        return len(dead_letters.redrive(self.conn, ids, [Status.FAILED_PERMANENT, Status.CANCELLED]))

    def redrive_matching(self) -> int:
        limit = self.random.choice([1, 5, 50])
        return dead_letters.redrive_matching(self.conn, "default", error_contains="boom", limit=limit).requeued

    def _some_jobs(self) -> list[str]:
        return [job.id for job in jobs.page(self.conn, limit=30, offset=self.random.randint(0, 250)).jobs]

    def enqueue(self) -> int:
        given = [self._job() for _ in range(self.random.randint(1, 5))]
        return len(jobs.enqueue(self.conn, given))

    def enqueue_with_keys(self) -> int:
        keys = self.random.sample(range(KEYS), self.random.randint(1, 6))
        given = [
            self._job()._replace(
                idempotency_key=f"key {key}", request_hash=self.random.choice("ab"), key_seconds=KEY_SECONDS
            )
            for key in keys
        ]
        created = [answer.id for answer in jobs.enqueue(self.conn, given) if answer.created]
        self.created += created
        return len(created)

    def _job(self) -> jobs.NewJob:
        return new_job(kind=self.random.choice(KINDS), priority=self.random.randint(0, 2), max_attempts=5)

    def prune_keys(self) -> int:
        return retention.prune_keys(self.conn, limit=5)

    def beat(self) -> int:
        if workers.beat(self.conn, [self.worker]):
            return 0
        # Lost: what it holds is not its any more, and it goes on under a new identity.
        self.stale = [*self.stale, *(one for one in self.held if one[1] is not None)][-_STALE_KEPT:]
        self.held = [one for one in self.held if one[1] is None]
        self.worker = register(self.conn, lease_seconds=LEASE_SECONDS)
        return 1

    def mark_lost(self) -> int:
        return len(workers.mark_lost(self.conn))

    def read(self) -> int:
        stats.depths(self.conn)
        stats.oldest_ready(self.conn)
        workers.forget(self.conn, seconds=1)
        return len(leases.held_by(self.conn, [self.worker]))


def main(url: str, seed: str, seconds: str) -> None:
    mover = Mover(url, int(seed))
    mover.run(float(seconds))
    mover.conn.close()
    report = {name: getattr(mover, name) for name in ("fences", "settled", "created", "cancels", "effects")}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
