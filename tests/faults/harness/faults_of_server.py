"""The faults that are done to PostgreSQL, see `faults`."""

import os
import random
import signal
import threading

from faults.harness.cast import Cast
from faults.harness.hits import hits_one_of
from faults.harness.proxy import Cut, Delay
from faults.harness.wire import CLIENT, SERVER

_LINKED = "pool 0"
"""Who reaches the server by a link."""
_pause = threading.Event()
_TERMINATE = "select pg_terminate_backend(pid) from unnest(%s) as p (pid)"
_CANCEL = "select pg_cancel_backend(pid) from unnest(%s) as p (pid)"


def _rest(seconds: float) -> None:
    _pause.wait(seconds)


@hits_one_of("server")
def restart_server(cast: Cast, name: str, _chance: random.Random) -> str | None:
    """As after a crash."""
    cast.restart_server()
    return name


@hits_one_of("server")
def kill_backend(cast: Cast, _name: str, chance: random.Random) -> str | None:
    """kill -9 of one session's process: the server ends all the others and recovers."""
    victim = chance.choice(_backends(cast))
    os.kill(victim, signal.SIGKILL)
    _rest(1)
    return f"backend {victim}"


def terminate_backend(cast: Cast, chance: random.Random) -> str | None:
    return _tell_backends(cast, _TERMINATE, [chance.choice(_backends(cast))])


def terminate_all_backends(cast: Cast, chance: random.Random) -> str | None:
    for _ in range(chance.randint(1, 10)):
        told = _tell_backends(cast, _TERMINATE, _backends(cast))
        _rest(0.1)
    return told


def cancel_statements(cast: Cast, chance: random.Random) -> str | None:
    """Whatever they do just now."""
    for _ in range(chance.randint(1, 20)):
        told = _tell_backends(cast, _CANCEL, _backends(cast))
        _rest(0.02)
    return told


@hits_one_of("link")
def cut_links(cast: Cast, _name: str, chance: random.Random) -> str | None:
    """Connections end in the middle of what they say, before or after a message came through, with FIN or RST."""
    cuts = 0
    for _ in range(chance.randint(1, 10)):
        sender = chance.choice((CLIENT, SERVER))
        place = Cut(sender, chance.randint(1, 60), chance.random() < 0.5, chance.random() < 0.5)
        cuts += cast.proxy.watch(place).fired.wait(1)
    cast.proxy.watch()
    return f"{cuts} cuts, {_LINKED}" if cuts else None


@hits_one_of("link")
def freeze_links(cast: Cast, _name: str, _chance: random.Random) -> str | None:
    """They stay open, and nothing passes any more."""
    frozen = cast.proxy.freeze()
    return f"{frozen} connections, {_LINKED}" if frozen else None


@hits_one_of("link")
def slow_links(cast: Cast, _name: str, chance: random.Random) -> str | None:
    seconds = chance.uniform(0.005, 0.1)
    cast.proxy.watch(Delay(CLIENT, 1, seconds), Delay(SERVER, 1, seconds))
    _rest(chance.uniform(1, 3))
    cast.proxy.watch()
    return f"{seconds * 1000:.0f} ms each way, {_LINKED}"


def lock_table(cast: Cast, chance: random.Random) -> str | None:
    """As a migration or VACUUM FULL does."""
    table = chance.choice(("ready", "running", "done", "jobs", "workers", "queues"))
    conn = cast.connect(options="-c lock_timeout=5s")
    conn.autocommit = False
    with conn.cursor() as cursor:
        cursor.execute(f"lock table windlass.{table} in access exclusive mode")
        _rest(chance.uniform(0.2, 2.5))
    conn.close()
    return table


def hold_snapshot(cast: Cast, chance: random.Random) -> str | None:
    conn = cast.connect()
    with conn.cursor() as cursor:
        cursor.execute("begin isolation level repeatable read")
        cursor.execute("select count(*) from windlass.ready")
        _rest(chance.uniform(1, 6))
    conn.close()
    return "a session"


def fill_connections(cast: Cast, chance: random.Random) -> str | None:
    """Until no one else is let in."""
    held = []
    full = False
    try:
        while len(held) < 200:
            held.append(cast.connect())
    except Exception as error:
        full = "too many clients" in str(error)
        _rest(chance.uniform(0.5, 2))
    for conn in held:
        conn.close()
    return f"{len(held)} sessions" if full else None


def vacuum_full(cast: Cast, chance: random.Random) -> str | None:
    """VACUUM FULL rewrites a table under an exclusive lock."""
    table = chance.choice(("ready", "running"))
    conn = cast.connect(options="-c lock_timeout=3s")
    with conn.cursor() as cursor:
        cursor.execute(f"vacuum full windlass.{table}")
    conn.close()
    return table


def _backends(cast: Cast) -> list[int]:
    conn = cast.connect()
    with conn.cursor() as cursor:
        cursor.execute("select pid from pg_stat_activity where application_name like 'windlass%'")
        found = [pid for (pid,) in cursor.fetchall()]
    conn.close()
    return found


def _tell_backends(cast: Cast, statement: str, pids: list[int]) -> str | None:
    conn = cast.connect()
    with conn.cursor() as cursor:
        cursor.execute(statement, (pids,))
        told = sum(was_there for (was_there,) in cursor.fetchall())
    conn.close()
    return f"{told} backends" if told else None
