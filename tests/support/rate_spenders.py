"""Processes that share one table of rates, for tests/processes/test_rate_table.py: `rate_spenders.py <what> <times>`.

`together`: threads of several processes spend one client's limit. `kills`: a child spends without a pause and is killed
at a random instant, over and over, also while it holds the lock of the set. `stopped`: a child is stopped while it
holds it. Prints what was seen as JSON.
"""

import json
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable

from app.rate_table import RateTable
from support.waiting import until
from support.work import at_once

_PROCESSES = 4
_THREADS = 4
WATCHED = b"watched"


class Tally:
    """Numbers that outlive the process that counts in them: one per process, in shared memory."""

    def __init__(self, places: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, places * 8)).cast("Q")

    def add(self, place: int) -> None:
        self._numbers[place] += 1

    def of(self, place: int) -> int:
        return self._numbers[place]

    def total(self) -> int:
        return sum(self._numbers)


def _fork(target: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            target()
            code = 0
        finally:
            os._exit(code)
    return pid


def together(times: int) -> dict[str, object]:
    """`times` requests of two clients from each of 16 threads in 4 processes; how many of each passed."""
    table = RateTable(times)
    passed = {client: Tally(_PROCESSES * _THREADS) for client in (b"one", b"two")}

    def spend(place: int) -> None:
        for _ in range(times):
            for client, tally in passed.items():
                if table.spend(client) == 0:
                    tally.add(place)

    def process(number: int) -> None:
        at_once(*[lambda n=n: spend(number * _THREADS + n) for n in range(_THREADS)])

    pids = [_fork(lambda number=number: process(number)) for number in range(_PROCESSES)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"codes": codes, "passed": [tally.total() for tally in passed.values()]}


def kills(times: int) -> dict[str, object]:
    """Each child writes new clients and the watched one into one set until it is killed."""
    limit = 200_000
    table, tally = RateTable(limit, places=(1, 32)), Tally(times)
    held, slowest = 0, 0.0

    def spend_for_ever(place: int) -> None:
        number = 0
        while True:
            if table.spend(WATCHED) == 0:
                tally.add(place)
            number += 1
            table.spend(b"%d/%d" % (place, number))

    for n in range(times):
        pid = _fork(lambda n=n: spend_for_ever(n))
        until(lambda n=n: tally.of(n) > 0, message="the child spends")
        # Whoever wants the set now has to wait for its holder, and is let in by its death.
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        waiter = threading.Thread(target=table.spend, args=(b"waiter",))
        waiter.start()
        waiter.join(random.uniform(0.005, 0.01))
        held += waiter.is_alive()
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        waiter.join(5)
        table.spend(WATCHED)
        slowest = max(slowest, time.monotonic() - began)
    counted = limit - _left(table, limit)
    # Of each child the last request may have been counted without being told of; the parent's own are `times`.
    return {"held": held, "slowest": slowest, "untold": counted - tally.total() - times}


def _left(table: RateTable, limit: int) -> int:
    """How many requests of the watched client pass until it is refused."""
    for left in range(limit + 1):
        if table.spend(WATCHED):
            return left
    raise AssertionError("it is never refused")


def stopped(_times: int) -> dict[str, object]:
    """How long a request waits for a holder that is stopped, whether it passes, and whether counting goes on after."""
    table = RateTable(1)
    # Known, or one of the forty would share a set with the held one in a hundredth of all runs, and wait with it.
    table._secret = bytes(32)
    clients = [b"%d" % number for number in range(40)]

    tally = Tally(1)

    def spend_for_ever() -> None:
        while True:
            tally.add(0)
            table.spend(b"held")

    table.spend(b"held")
    pid = _fork(spend_for_ever)
    for _ in range(1000):
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        began = time.monotonic()
        wait = table.spend(b"held")
        seconds = time.monotonic() - began
        if wait == 0:
            break
        before = tally.total()
        os.kill(pid, signal.SIGCONT)
        until(lambda before=before: tally.total() > before)
    began = time.monotonic()
    others = sum(table.spend(client) == 0 for client in clients)
    others_seconds = time.monotonic() - began
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"wait": wait, "seconds": seconds, "after": table.spend(b"held"), "others": [others, others_seconds]}


if __name__ == "__main__":
    print(json.dumps({"together": together, "kills": kills, "stopped": stopped}[sys.argv[1]](int(sys.argv[2]))))
