"""The faults a storm is made of. Each does its harm to somebody who is free, ends it, and says whom it hit; None if
nobody was there.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import urllib3
from faults.harness.cast import CANARIES, LEASE_SECONDS, Cast
from faults.harness.faults_of_server import (
    cancel_statements,
    cut_links,
    fill_connections,
    freeze_links,
    hold_snapshot,
    kill_backend,
    lock_table,
    restart_server,
    slow_links,
    terminate_all_backends,
    terminate_backend,
    vacuum_full,
)
from faults.harness.hits import Fault, hits_one_of
from support.processes import is_stopped, kill_all_at_once
from support.waiting import until

_pause = threading.Event()


def _rest(seconds: float) -> None:
    _pause.wait(seconds)


# -- processes of the pool ---------------------------------------------------------------------------------------------


def kill_worker(cast: Cast, chance: random.Random) -> str | None:
    name = chance.choice(cast.pool_names)
    victim = chance.choice(cast.pool(name).workers())
    os.kill(victim, signal.SIGKILL)
    return f"pid {victim} of pool {name}"


def kill_steward(cast: Cast, chance: random.Random) -> str | None:
    name = chance.choice(cast.pool_names)
    os.kill(chance.choice(cast.pool(name).called("windlass-s")), signal.SIGKILL)
    return f"pool {name}"


@hits_one_of("pool")
def kill_supervisor(cast: Cast, name: str, _chance: random.Random) -> str | None:
    """Its workers die with it; another pool comes."""
    cast.pool(name).send(signal.SIGKILL)
    # Workers are killed by the kernel at once; the steward has a second for its last pass.
    # One that another fault has stopped hears of it when it goes on.
    until(lambda: all(map(is_stopped, cast.pool(name).everyone())), 2, "nobody outlives the supervisor")
    cast.restart_pool(name)
    return f"pool {name}"


@hits_one_of("pool")
def kill_whole_pool(cast: Cast, name: str, chance: random.Random) -> str | None:
    """Nobody is left who knows what its workers held."""
    kill_all_at_once(cast.pool(name).everyone())
    _rest(chance.uniform(0, 2))
    cast.restart_pool(name)
    return f"pool {name}"


def stop_worker(cast: Cast, chance: random.Random) -> str | None:
    """Past its lease, or nearly."""
    name = chance.choice(cast.pool_names)
    victim = chance.choice(cast.pool(name).workers())
    return _stop([victim], LEASE_SECONDS * chance.uniform(0.2, 2.0), f"pid {victim} of pool {name}")


def stop_steward(cast: Cast, chance: random.Random) -> str | None:
    name = chance.choice(cast.pool_names)
    victim = chance.choice(cast.pool(name).called("windlass-s"))
    return _stop([victim], LEASE_SECONDS * chance.uniform(0.2, 2.0), f"pool {name}")


@hits_one_of("pool")
def stop_whole_pool(cast: Cast, name: str, chance: random.Random) -> str | None:
    """Long enough for the others to take over what it holds."""
    return _stop(cast.pool(name).everyone(), LEASE_SECONDS * chance.uniform(1.0, 2.0), f"pool {name}")


@hits_one_of("pool")
def drain_pool(cast: Cast, name: str, chance: random.Random) -> str | None:
    """TERM to the whole group, as a platform does, sometimes twice."""
    pool = cast.pool(name)
    # Before that it hears nothing, holds nothing, and dies of the signal.
    heard = pool.has_begun()
    for _ in range(chance.choice((1, 2))):
        pool.send_group(signal.SIGTERM)
        _rest(chance.uniform(0, 0.05))
    code = pool.ends(8)
    cast.exit_codes += [code] if heard else []
    cast.restart_pool(name)
    return f"pool {name}"


@hits_one_of("pool")
def quit_pool(cast: Cast, name: str, _chance: random.Random) -> str | None:
    # Before that it is deaf to this one where whoever started it was, as what a shell runs in the background is.
    if not cast.pool(name).has_begun():
        return None
    cast.pool(name).send(signal.SIGQUIT)
    cast.pool(name).ends(8)
    cast.restart_pool(name)
    return f"pool {name}"


@hits_one_of("pool")
def replace_workers(cast: Cast, name: str, _chance: random.Random) -> str | None:
    """HUP: one by one, by new ones."""
    cast.pool(name).send(signal.SIGHUP)
    _rest(1)
    return f"pool {name}"


@hits_one_of("pool")
def more_and_fewer_workers(cast: Cast, name: str, chance: random.Random) -> str | None:
    # Before that these two would stop it like any program, and nobody would let it go on.
    if not cast.pool(name).has_begun():
        return None
    cast.pool(name).send(signal.SIGTTIN)
    _rest(chance.uniform(0, 1))
    cast.pool(name).send(signal.SIGTTOU)
    return f"pool {name}"


def _stop(pids: list[int], seconds: float, whom: str) -> str | None:
    stopped = [pid for pid in pids if _tell(pid, signal.SIGSTOP)]
    _rest(seconds)
    for pid in stopped:
        _tell(pid, signal.SIGCONT)
    return f"{whom} for {seconds:.1f} s" if stopped else None


def _tell(pid: int, what: signal.Signals) -> bool:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True


# -- the web, and workers over HTTP ------------------------------------------------------------------------------------


def kill_web_worker(cast: Cast, chance: random.Random) -> str | None:
    victim = chance.choice(cast.web.workers())
    os.kill(victim, signal.SIGKILL)
    return f"pid {victim}"


@hits_one_of("web")
def kill_web(cast: Cast, name: str, _chance: random.Random) -> str | None:
    cast.restart_web()
    return name


def stop_web_worker(cast: Cast, chance: random.Random) -> str | None:
    victim = chance.choice(cast.web.workers())
    return _stop([victim], chance.uniform(0.1, 3), f"pid {victim}")


@hits_one_of("holder")
def kill_holder(cast: Cast, name: str, _chance: random.Random) -> str | None:
    cast.restart_holder(name)
    return f"holder {name}"


@hits_one_of("holder")
def stop_holder(cast: Cast, name: str, chance: random.Random) -> str | None:
    return _stop([cast.holder(name).pid], chance.uniform(0.5, 3), f"holder {name}")


# -- around them -----------------------------------------------------------------------------------------------------


def pause_queue(cast: Cast, chance: random.Random) -> str | None:
    headers = {"Authorization": f"Bearer {CANARIES['admin']}"}
    status = 0
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        status = cast.web.request("POST", "/v1/admin/queues/default/pause", {}, headers).status
    if status == 204:
        cast.paused_at.append(time.time())
    _rest(chance.uniform(0.5, 2.5))
    # Also when it was not told that it is paused: perhaps it is.
    resumed = 0
    give_up_at = time.monotonic() + 60
    while resumed != 204 and time.monotonic() < give_up_at:
        try:
            resumed = cast.web.request("POST", "/v1/admin/queues/default/resume", {}, headers).status
        except urllib3.exceptions.HTTPError:
            _rest(0.1)
    return "default" if status == 204 else None


def busy_cores(_cast: Cast, chance: random.Random) -> str | None:
    """As many processes as there are cores do nothing but turn, for some seconds."""
    seconds = chance.uniform(1, 4)
    code = f"import time; until = time.monotonic() + {seconds}\nwhile time.monotonic() < until: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]
    for hog in hogs:
        hog.wait()
    return f"{len(hogs)} cores for {seconds:.1f} s"


FAULTS: dict[str, Fault] = {
    each.__name__: each
    for each in (
        kill_worker,
        kill_steward,
        kill_supervisor,
        kill_whole_pool,
        stop_worker,
        stop_steward,
        stop_whole_pool,
        drain_pool,
        quit_pool,
        replace_workers,
        more_and_fewer_workers,
        kill_web_worker,
        kill_web,
        stop_web_worker,
        kill_holder,
        stop_holder,
        restart_server,
        kill_backend,
        terminate_backend,
        terminate_all_backends,
        cancel_statements,
        lock_table,
        hold_snapshot,
        fill_connections,
        vacuum_full,
        cut_links,
        freeze_links,
        slow_links,
        pause_queue,
        busy_cores,
    )
}
