"""What a storm leaves behind to be judged, and the judgement."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from faults.harness.events import Event
from faults.harness.holder import Said
from faults.harness.ledger import Entry
from faults.harness.sink import Effect

_SHOWN = 5
_POOL = re.compile(r"pool (\d+)")


@dataclass(frozen=True)
class Injected:
    """One fault; seconds since the storm began, or since 1970. `whom` is empty if it hit nobody or did not end well; it
    names the pool that was hit, as `pool 0`, and its processes, as `pid 4711`, if there was one.
    """

    name: str
    whom: str
    began: float
    ended: float

    @property
    def pool(self) -> str | None:
        """Whose, or None: everybody's, or nobody knows."""
        found = _POOL.search(self.whom)
        return found[1] if found else None


class Worker(NamedTuple):
    """Of a pool: its process, the name of the pool, and when its heartbeat was written last, in seconds since 1970."""

    pid: int
    pool: str
    heard_at: float


@dataclass
class Evidence:
    """All there is. `rows` are (id, n, key, max_attempts, status, attempts), `errors` (job, fence) → what was recorded
    of a failed attempt, `workers` who is registered by identity, `faults` all that was begun, in seconds since 1970,
    `deadly` the jobs that kill their worker, `pauses` from when to when the queue was known to be paused.
    """

    ledger: Mapping[int, Entry]
    redriven: Iterable[str]
    events: Mapping[str, Sequence[Event]]
    effects: Sequence[Effect]
    said: Sequence[Said]
    rows: Sequence[tuple[str, int | None, str | None, int, str | None, int]]
    errors: Mapping[tuple[str, int], str]
    workers: Mapping[int, Worker]
    faults: Sequence[Injected]
    deadly: Collection[str]
    pauses: Sequence[tuple[float, float]]
    healed_at: float
    lease_seconds: float


@dataclass
class Verdict:
    """`figures` are for the report; no `problems` means that every invariant held. `duplicates` are repeated effects by
    what ended the lease, and which faults can have brought that about.
    """

    figures: dict[str, float] = field(default_factory=dict)
    duplicates: Counter[tuple[str, frozenset[str]]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def note(self, what: str, found: Iterable[str]) -> int:
        """Of each of `found` that `what`; how many."""
        found = list(found)
        self.problems += [f"{what}: {each}" for each in found[:_SHOWN]]
        if len(found) > _SHOWN:
            self.problems.append(f"{what}: and {len(found) - _SHOWN} more")
        return len(found)
