"""Every metric of the pool, one registry over all its processes.

A file belongs to a *slot*, not to a pid: a respawned worker goes on counting in the file of the one before it, so
counters never fall and files stay as few as there are slots. Import this only after PROMETHEUS_MULTIPROC_DIR is set,
which prometheus_client reads when it is first imported; without it a process counts for itself alone.
"""

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values
from prometheus_client.metrics_core import Metric

_identity = "supervisor"


def identify(slot: str) -> None:
    """From now on this process counts in the files of `slot`. An underscore would break the files' names."""
    global _identity
    _identity = slot


if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _identity)  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

jobs_started = Counter("worker_jobs_started_total", "Jobs whose handler was started.", ["kind"])
jobs_completed = Counter("worker_jobs_completed_total", "Jobs settled, by outcome.", ["kind", "outcome"])
job_duration = Histogram("worker_job_duration_seconds", "Time in the handler.", ["kind"], buckets=_SECONDS)
job_wait = Histogram("worker_job_wait_seconds", "From run_at to the claim.", ["kind"], buckets=_SECONDS)
processes = Gauge("worker_processes", "Worker processes now.", multiprocess_mode="mostrecent")
restarts = Counter("worker_restarts_total", "Workers replaced, by what ended them.", ["cause"])
jobs_in_flight = Gauge("worker_jobs_in_flight", "Jobs claimed and not settled.", multiprocess_mode="livesum")
leases_expired = Counter("leases_expired_total", "Leases rescued because their holder was gone.")
settles_refused = Counter("settles_refused_total", "Settles that came too late: the lease was lost.")
claim_batch_size = Histogram(
    "claim_batch_size", "Jobs taken by one claim.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)


class Tally:
    """What one worker's jobs add to the metrics, kept here until `write`: at each job the shared files cost 9 µs."""

    def __init__(self) -> None:
        self._completed: Counts[tuple[str, str]] = Counts()
        self._waits: defaultdict[str, list[float]] = defaultdict(list)
        self._durations: defaultdict[str, list[float]] = defaultdict(list)

    def started(self, kind: str, waited_seconds: float) -> None:
        """A handler begins, so long after the job was due."""
        self._waits[kind].append(waited_seconds)

    def ran(self, kind: str, seconds: float) -> None:
        """A handler is over."""
        self._durations[kind].append(seconds)

    def completed(self, kind: str, outcome: str) -> None:
        """A job is settled."""
        self._completed[kind, outcome] += 1

    def write(self) -> None:
        """Adds all of it to the files that other processes read."""
        for (kind, outcome), count in self._completed.items():
            jobs_completed.labels(kind, outcome).inc(count)
        for kind, seconds in self._waits.items():
            jobs_started.labels(kind).inc(len(seconds))
            observe_all(job_wait.labels(kind), seconds)
        for kind, seconds in self._durations.items():
            observe_all(job_duration.labels(kind), seconds)
        for kept in (self._completed, self._waits, self._durations):
            kept.clear()


def observe_all(histogram: Histogram, amounts: Sequence[float]) -> None:
    """As `histogram.observe` of each of `amounts`, with one write a bucket. The library has no such call: these are its
    own fields, and a test holds the outcome against it.
    """
    bounds = histogram._upper_bounds
    for bucket, count in Counts(bisect_left(bounds, amount) for amount in amounts).items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(amounts))


def forget_live(slot: str) -> None:
    """Removes a dead child's gauges that speak of living processes only."""
    multiprocess.mark_process_dead(slot)  # type: ignore[no-untyped-call]


class _Files(multiprocess.MultiProcessCollector):
    """The library's, without files that another process is just creating: they are empty for a moment, and one of them
    would fail the whole scrape.
    """

    def collect(self) -> Iterable[Metric]:
        """Every metric of every process."""
        files = [str(path) for path in Path(self._path).glob("*.db") if path.stat().st_size]
        return self.merge(files)  # type: ignore[no-any-return, no-untyped-call]


def registry() -> CollectorRegistry:
    """What all processes counted, summed at scrape time."""
    collected = CollectorRegistry()
    _Files(collected)  # type: ignore[no-untyped-call]
    return collected
