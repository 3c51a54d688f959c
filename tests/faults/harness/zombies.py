"""Zombies: processes stopped for longer than their lease, while others take their jobs over, and then woken.

Single workers, a whole pool with its supervisor and steward, and holders of HTTP leases, all at the same time.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from faults.harness.feed import Feeder
from support import lease_holder
from support.pool import Pool
from support.processes import ROOT
from support.tables import drained
from support.waiting import until

LEASE_SECONDS = 2
_WORKERS, _WORKERS_STOPPED, _HOLDERS = 6, 3, 4


def run(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` zombies: half of them single workers, a tenth of them pools of two workers, the rest holders."""
    history.record(arena.connection)
    answers = arena.folder / "answers"
    answers.touch()
    with contextlib.ExitStack() as ends:
        herd = arena.pool(worker_processes=_WORKERS, lease_seconds=LEASE_SECONDS)
        pair = arena.pool(worker_processes=2, lease_seconds=LEASE_SECONDS)
        web = arena.web(REQUIRE_LEASE_TOKEN="1").ready()
        for pool in (herd, pair):
            pool.ready()
        holders = [ends.enter_context(_Holder(web.url, answers, seed + n)) for n in range(_HOLDERS)]
        feeder = ends.enter_context(Feeder(arena, random.Random(seed), external=True))
        pools, workers = max(1, rounds // 10), max(1, rounds // 2)
        nemesis = _Nemesis(herd, pair, holders, seed)
        nemesis.run(workers=workers, pools=pools, holders=max(1, rounds - workers - pools))
        ids = feeder.end()
        drained(arena.connection, 60)
    refused = sum(pool.metric("settles_refused_total") for pool in (herd, pair))
    expired = sum(pool.metric("leases_expired_total") for pool in (herd, pair)) + web.value("leases_expired_total")
    return {
        "seed": seed,
        **nemesis.woken,
        "rescued": int(expired),
        "stale_settles_refused": int(refused),
        **holders_verdict(arena, answers),
        **history.verdict(arena.connection, ids, arena.effects.all(), most_attempts=100),
    }


def holders_verdict(arena: Arena, log: Path) -> dict[str, int]:
    """What holders were answered, held against the tables: who was told 204 has settled the job."""
    said = lease_holder.answers(log)
    accepted = {(answer.job, answer.token, answer.verb) for answer in said if answer.status == 204}
    rows = arena.connection.fetch_all("select id::text, result #>> '{}' from windlass.done where worker_id is null")
    results = dict(rows)
    failures = arena.connection.fetch_all("select id::text, error from windlass.failures")
    false_ends = sum(results.get(job) != token for job, token, verb in accepted if verb == "ack")
    false_failures = {(job, f"under {token}") for job, token, verb in accepted if verb == "fail"} - set(failures)
    return {
        "settles_over_http": len(accepted),
        "refused_over_http": sum(answer.status == 409 for answer in said),
        "told_of_a_settle_that_is_not_there": false_ends + len(false_failures),
    }


class _Holder:
    """One `lease_holder`, as a process."""

    def __init__(self, url: str, log: Path, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.lease_holder", url, str(log), str(seed)], cwd=ROOT / "tests"
        )
        self.pid = self._process.pid

    def __enter__(self) -> "_Holder":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.poll() is None, "a holder has ended by itself"
        self._process.kill()
        self._process.wait()


class _Nemesis:
    """Stops and wakes; `woken` counts the zombies by kind."""

    def __init__(self, herd: Pool, pair: Pool, holders: list[_Holder], seed: int) -> None:
        self._herd, self._pair, self._holders, self._seed = herd, pair, holders, seed
        self._taken: set[int] = set()
        self._lock = threading.Lock()
        self.woken = {"zombie_workers": 0, "zombie_pools": 0, "zombie_holders": 0}

    def run(self, *, workers: int, pools: int, holders: int) -> None:
        """Until there were so many of each."""
        lanes = [(self._stop_workers, part) for part in _parts(workers, _WORKERS_STOPPED)]
        lanes += [(self._stop_pools, pools)]
        lanes += [(self._stop_holders, part) for part in _parts(holders, _HOLDERS // 2)]
        with ThreadPoolExecutor(len(lanes)) as threads:
            done = [
                threads.submit(stop, times, random.Random(f"{self._seed} {lane}"))
                for lane, (stop, times) in enumerate(lanes)
            ]
            for each in done:
                each.result()

    def _stop_workers(self, times: int, chance: random.Random) -> None:
        for _ in range(times):
            with self._lock:
                free = until(lambda: sorted(self._herd.registered().items() - self._busy()), 10, "a worker to stop")
                victim, identity = chance.choice(free)
                self._taken.add(victim)
            self._freeze([victim], lambda pid=victim: self._identity(pid) is None, chance.uniform(0.0, 1.5), chance)
            until(lambda pid=victim: self._identity(pid), 10, f"a new identity after {identity}")
            self._taken.discard(victim)
            self._count("zombie_workers")
            let_pass(chance.uniform(0.0, 0.5))

    def _busy(self) -> set[tuple[int, int]]:
        return {(pid, identity) for pid, identity in self._herd.registered().items() if pid in self._taken}

    def _identity(self, pid: int) -> int | None:
        with self._lock:
            return self._herd.registered().get(pid)

    def _stop_pools(self, times: int, chance: random.Random) -> None:
        for _ in range(times):
            before = until(self._whole_pair, 10, "the pair is whole")
            self._freeze(self._pair.everyone(), lambda: not self._pair.registered(), chance.uniform(0.0, 1.5), chance)
            until(self._whole_pair, 15, f"new identities after {before}")
            self._count("zombie_pools")
            let_pass(chance.uniform(0.0, 0.5))

    def _whole_pair(self) -> set[int]:
        identities = set(self._pair.registered().values())
        return identities if len(identities) == 2 else set()

    def _stop_holders(self, times: int, chance: random.Random) -> None:
        for _ in range(times):
            with self._lock:
                victim = chance.choice([holder for holder in self._holders if holder.pid not in self._taken])
                self._taken.add(victim.pid)
            # Unlike a worker a holder is not told that it is lost: its lease is over by the clock.
            self._freeze([victim.pid], lambda: True, lease_holder.LEASE_MS / 1000 * chance.uniform(1.2, 2.5), chance)
            self._taken.discard(victim.pid)
            self._count("zombie_holders")
            let_pass(chance.uniform(0.0, 0.2))

    @staticmethod
    def _freeze(pids: list[int], lost: Callable[[], bool], seconds: float, chance: random.Random) -> None:
        """Stops all, and so long after they are lost wakes them in any order."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        until(lost, LEASE_SECONDS + 5, "they are taken for lost")
        let_pass(seconds)
        for pid in chance.sample(pids, len(pids)):
            let_pass(chance.choice((0.0, 0.0, 0.01, 0.1)))
            # One of them may end another, and that is no fault of either.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _count(self, kind: str) -> None:
        with self._lock:
            self.woken[kind] += 1


def _parts(total: int, lanes: int) -> list[int]:
    return [total // lanes + (lane < total % lanes) for lane in range(lanes)]
