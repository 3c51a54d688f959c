"""Injects faults at random instants, several at once, all of it decided by a seed.

The seed decides which faults, whom they hit, how long they last and how far they lie apart; what they meet depends on
the machine. A fault that finds nobody free to be hit is no fault, and not counted.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import psycopg2
from faults.harness.cast import Cast
from faults.harness.evidence import Injected
from faults.harness.faults import FAULTS
from faults.harness.hits import Fault

from sql.embedded.errors import EmbeddedFailure


class Nemesis:
    """`kinds` are names of FAULTS, all by default; at most `at_once` of them go on at a time, `gap` seconds apart on
    average.
    """

    def __init__(
        self, cast: Cast, seed: str, *, kinds: Mapping[str, Fault] = FAULTS, at_once: int = 3, gap: float = 0.3
    ):
        self._cast, self._seed, self._kinds, self._gap = cast, seed, dict(kinds), gap
        self._free = threading.Semaphore(at_once)
        self._began = time.monotonic()
        self._number = 0
        self.injected: list[Injected] = []
        self.begun: list[Injected] = []
        self.errors: list[str] = []

    def rage(self, seconds: float) -> None:
        """For so long, and until the last fault is over."""
        chance = random.Random(self._seed)
        until = time.monotonic() + seconds
        threads = []
        pause = threading.Event()
        while time.monotonic() < until:
            pause.wait(chance.expovariate(1 / self._gap))
            name = chance.choice(list(self._kinds))
            own = random.Random(chance.random())
            self._free.acquire()
            thread = threading.Thread(target=self._inject, args=(name, own), name=name)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _inject(self, name: str, chance: random.Random) -> None:
        began = time.monotonic() - self._began
        whom: str | None = None
        try:
            # Whom it was to hit may be gone just then, by another fault.
            with contextlib.suppress(ProcessLookupError, psycopg2.Error, IndexError, EmbeddedFailure):
                whom = self._kinds[name](self._cast, chance)
        except Exception as error:
            self.errors.append(f"{name}, begun at {began:.2f} s: {type(error).__name__}: {error}")
        finally:
            self._free.release()
        fault = Injected(name, whom or "", began, time.monotonic() - self._began)
        # What did not come to its end may have done harm all the same.
        self.begun.append(fault)
        if whom:
            self.injected.append(fault)

    def spans(self) -> list[Injected]:
        """What was begun from when to when, in seconds since 1970."""
        epoch = time.time() - time.monotonic() + self._began
        return [replace(each, began=epoch + each.began, ended=epoch + each.ended) for each in self.begun]

    def counts(self) -> Counter[str]:
        """How many of each."""
        return Counter(each.name for each in self.injected)

    def overlapping(self) -> int:
        """How many went on while another did."""
        spans = sorted(self.injected, key=lambda each: each.began)
        last = float("-inf")
        over: set[int] = set()
        for index, each in enumerate(spans):
            if each.began < last:
                over.add(index)
                over.add(index - 1)
            last = max(last, each.ended)
        return len(over)
