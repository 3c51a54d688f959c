"""Ends of whole pools and services: TERM to everybody and twice, a killed supervisor, the new beside the old."""

import os
import random
import signal
import time
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from faults.harness.feed import Client, keys_and_jobs
from support.pool import Pool
from support.tables import drained, put, running
from support.waiting import until
from support.web import Web

GRACE_SECONDS = 1
_LATE_SECONDS = 3
# From the first line of Python to workers in the middle of their work takes so long here; half of the signals come
# before that.
_START_SECONDS = 1.2
# Jobs that wait for the next pool to be interrupted.
_ENOUGH = 100


def term_storm(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` pools, each told TERM twice with all its processes, at some instant of its start or of its work."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    ids: list[str] = []
    slowest = stranded = 0.0
    for _ in range(rounds):
        _open_gates(arena)
        if len(arena.unfinished()) < _ENOUGH:
            ids += _mixed_work(arena, chance)
        pool = arena.pool(worker_processes=3, shutdown_grace_seconds=GRACE_SECONDS)
        if chance.random() < 0.5:
            let_pass(chance.uniform(0.0, _START_SECONDS))
        else:
            until(pool.registered, 20, "a worker is at work")
            let_pass(chance.uniform(0.0, 0.3))
        # Before that it is a program like any other, and dies of the signal.
        heard = pool.has_begun()
        told_at = time.monotonic()
        pool.send_group(signal.SIGTERM)
        let_pass(chance.choice((0.0, chance.uniform(0.0, GRACE_SECONDS + 0.5))))
        if not pool.ended:
            pool.send_group(signal.SIGTERM)
        code = pool.ends(GRACE_SECONDS + 10)
        assert code == 0 or (code == -signal.SIGTERM and not heard), code
        slowest = max(slowest, time.monotonic() - told_at)
        stranded += running(connection)
        pool.end()
    spent = connection.fetch_one("select count(*) from windlass.ready where attempts > 0")
    assert spent is not None
    _open_gates(arena)
    arena.pool(worker_processes=3).ready()
    drained(connection, 60)
    more = connection.fetch_one("select count(*) from windlass.done where attempts > 1")
    assert more is not None
    return {
        "seed": seed,
        "pools": rounds,
        "slowest_exit_seconds": round(slowest, 3),
        "exits_past_their_time": int(slowest > GRACE_SECONDS + _LATE_SECONDS),
        "stranded": int(stranded),
        "attempts_spent_on_give_backs": spent[0] + more[0],
        **history.verdict(connection, ids, arena.effects.all(), most_attempts=1),
    }


def supervisor_kills(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` pools whose supervisor is killed at some instant of their work."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    ids: list[str] = []
    slowest = 0.0
    for _ in range(rounds):
        if len(arena.unfinished()) < _ENOUGH:
            notes = [{"seconds": chance.choice((0.0, 0.01, 0.3))} for _ in range(60)]
            ids += put(connection, "note", *notes, max_attempts=rounds + 1)
        pool = arena.pool(worker_processes=3, lease_seconds=2)
        until(pool.registered, 20, "a worker is at work")
        let_pass(chance.uniform(0.0, 0.5))
        pool.send(signal.SIGKILL)
        killed_at = time.monotonic()
        until(lambda pool=pool: not pool.everyone(), 5, "all its children are gone")
        slowest = max(slowest, time.monotonic() - killed_at)
        pool.end()
    arena.pool(worker_processes=3, lease_seconds=2).ready()
    drained(connection, 60)
    return {
        "seed": seed,
        "supervisors_killed": rounds,
        "slowest_gone_seconds": round(slowest, 3),
        **history.verdict(connection, ids, arena.effects.all(), most_attempts=rounds + 1),
    }


def rolling_replacement(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` times a new web service and a new pool beside the old, which are told TERM twice."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    web, pool = _generation(arena)
    addresses = [web.url]
    clients = [
        Client(f"client-{seed}-{n}", lambda: list(addresses), 0.04, payload={"seconds": 0.002}) for n in range(3)
    ]
    for client in clients:
        client.start()
    slowest = 0.0
    try:
        for _ in range(rounds):
            enough = sum(len(client.accepted) for client in clients) + 30
            until(
                lambda enough=enough: sum(len(client.accepted) for client in clients) > enough, 20, "requests answered"
            )
            new_web, new_pool = _generation(arena)
            # A router learns of the new before it forgets the old; whoever is refused asks the other.
            addresses.insert(chance.randint(0, 1), new_web.url)
            let_pass(chance.uniform(0.0, 0.2))
            told_at = time.monotonic()
            for _ in range(2):
                os.killpg(web.process.pid, signal.SIGTERM)
                pool.send_group(signal.SIGTERM)
                let_pass(chance.uniform(0.0, 0.1))
            assert pool.ends(20) == 0
            assert web.process.wait(20) in (0, -signal.SIGTERM)
            slowest = max(slowest, time.monotonic() - told_at)
            addresses.remove(web.url)
            pool.end()
            web, pool = new_web, new_pool
    finally:
        for client in clients:
            client.end()
    drained(connection, 60)
    told = keys_and_jobs(arena, clients)
    ids = [job_id for client in clients for ids in client.accepted.values() for job_id in ids]
    spent = connection.fetch_one("select count(*) from windlass.done where attempts > 1")
    assert spent is not None
    return {
        "seed": seed,
        "replacements": rounds,
        "slowest_drain_seconds": round(slowest, 3),
        "attempts_spent": spent[0],
        **history.verdict(connection, ids, arena.effects.all()),
        **told,
    }


def web_kills(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` web processes killed while clients enqueue by key as fast as they can."""
    chance = random.Random(seed)
    web = arena.web(WEB_CONCURRENCY="2").ready()
    clients = [Client(f"client-{seed}-{n}", lambda: [web.url], kind="external") for n in range(6)]
    for client in clients:
        client.start()
    try:
        for _ in range(rounds):
            let_pass(chance.uniform(0.0, 0.3))
            victim = chance.choice(until(web.workers, 20, "a web process"))
            os.kill(victim, signal.SIGKILL)
            until(lambda gone=victim: gone not in web.workers() and len(web.workers()) == 2, 20, "another follows it")
    finally:
        for client in clients:
            client.end()
    return {"seed": seed, "web_processes_killed": rounds, **keys_and_jobs(arena, clients)}


def _generation(arena: Arena) -> tuple[Web, Pool]:
    web = arena.web(SHUTDOWN_GRACE_SECONDS="5")
    pool = arena.pool(worker_processes=2).ready()
    return web.ready(), pool


def _open_gates(arena: Arena) -> None:
    for job_id in arena.unfinished():
        arena.effects.open_gate(job_id)


def _mixed_work(arena: Arena, chance: random.Random) -> list[str]:
    """Quick and slow jobs, jobs that end in a transaction of several statements, and one that outlasts the grace."""
    notes = [{"seconds": chance.choice((0.0, 0.0, 0.005, 0.05))} for _ in range(80)]
    follows: list[dict[str, Any]] = [{"notes": [{}]} for _ in range(20)]
    return (
        put(arena.connection, "note", *notes, max_attempts=1)
        + put(arena.connection, "follow", *follows, max_attempts=1)
        + put(arena.connection, "gate", {}, max_attempts=1)
    )
