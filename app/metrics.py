"""Every metric of the web processes: what they counted, over all of them, and what the tables say at this moment.

A metrics file belongs to a *slot*, not to a pid: a respawned gunicorn worker goes on counting in the file of the one
before it, so counters never fall and files stay as few as there are slots. Import this only after
PROMETHEUS_MULTIPROC_DIR is set, which prometheus_client reads when it is first imported.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import sql.checks
import sql.stats
from app.counts import Counted, Counts
from sql.connection import Connection
from sql.errors import StorageError
from sql.rows import SnapshotHolder
from workerpool.metric_files import MetricFiles

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
# The client chooses queue names; what it may fill our memory with is bounded.
_MOST_QUEUES = 1000
_OTHER = "(other)"
# Ordinary statements end sooner, and their holders' names would each make a series.
_HELD_SECONDS = 5.0
_HELD_TRANSACTIONS = 10_000
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_slot: str | None = None


def identify(slot: str) -> None:
    """From now on this process counts in the files of `slot`. An underscore would break the files' names."""
    global _slot
    _slot = slot


def _several_processes() -> bool:
    return bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))


if _several_processes():
    values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
        process_identifier=lambda: _slot or str(os.getpid())
    )
# A second series per series, with the time it began: absent with several processes, and noise without.
disable_created_metrics()  # type: ignore[no-untyped-call]

_own = CollectorRegistry()
_enqueued = Counter("jobs_enqueued_total", "Jobs created.", ["queue", "kind"], registry=_own)
leased = Counter("jobs_leased_total", "Jobs handed out over HTTP.", registry=_own)
acked = Counter("jobs_acked_total", "Jobs acknowledged over HTTP.", registry=_own)
expired = Counter("leases_expired_total", "Leases over HTTP that ran out, taken back here.", registry=_own)
failed = Counter("jobs_failed_total", "Jobs reported as failed over HTTP.", registry=_own)
_requests = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"], registry=_own)
_durations = Histogram(
    "http_request_duration_seconds",
    "From the first line of our code to the answer.",
    ["method", "route"],
    buckets=_SECONDS,
    registry=_own,
)
_queues: set[str] = set()


def count_enqueued(queue: str, kind: str, count: int = 1) -> None:
    """Counts jobs that were created; a job found by its key is not one."""
    if queue not in _queues:
        if len(_queues) >= _MOST_QUEUES:
            queue = _OTHER
        else:
            _queues.add(queue)
    _enqueued.labels(queue, kind).inc(count)


def count_request(method: str, route: str | None, status: int, seconds: float) -> None:
    """Counts an answer. Unknown paths (None) and methods share one label each, so that nobody can invent series."""
    method = method if method in _METHODS else _OTHER
    route = route or _OTHER
    _requests.labels(method, route, str(status)).inc()
    _durations.labels(method, route).observe(seconds)


def exposition(connect: Callable[[], Connection], counts: Counts) -> bytes:
    """Prometheus text. Without a database it holds what the processes know, and `database_up` 0."""
    registry = CollectorRegistry()
    if _several_processes():
        MetricFiles(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_own)
    registry.register(_Tables(connect, counts))
    return generate_latest(registry)


class _Tables(Collector):
    """The gauges whose truth is in the tables, read when somebody scrapes, or not long before."""

    def __init__(self, connect: Callable[[], Connection], counts: Counts) -> None:
        self._connect = connect
        self._counts = counts

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("database_up", "Whether the tables could be read for this scrape.")
        counted = None
        holders: list[SnapshotHolder] = []
        try:
            conn = self._connect()
            counted = self._counts.read(conn)
            holders = sql.checks.snapshot_holders(conn)
            up.add_metric([], 1.0)
        except StorageError as error:
            log.warning("metrics without the tables' gauges: %s", error)
            up.add_metric([], 0.0)
        yield up
        if counted is not None:
            yield from _gauges(counted)
        yield from _held(holders)


def _gauges(counted: Counted) -> Iterator[Metric]:
    depth = GaugeMetricFamily("queue_depth", "Jobs that have not ended.", labels=["queue", "status"])
    for row in sql.stats.depths_of(counted.queues):
        depth.add_metric([row.queue, row.status], row.jobs)
    yield depth
    oldest = GaugeMetricFamily(
        "queue_oldest_ready_seconds", "How long the oldest due job has waited.", labels=["queue"]
    )
    for age in sql.stats.oldest_of(counted.queues):
        oldest.add_metric([age.queue], age.seconds)
    yield oldest
    leased = sum(queue.leased for queue in counted.queues)
    yield GaugeMetricFamily("inflight_leases", "Jobs leased over HTTP now.", leased)
    yield GaugeMetricFamily("queue_depth_age_seconds", "How long ago the three above were counted.", counted.age)


def _held(holders: list[SnapshotHolder]) -> Iterator[Metric]:
    """Of each gauge the one that has the most, if any has enough; nobody can invent series faster than that."""
    seconds = GaugeMetricFamily(
        "oldest_snapshot_seconds", "How long dead rows have been kept from removal.", labels=["application"]
    )
    oldest = max(holders, key=lambda holder: holder.seconds or 0.0, default=None)
    if oldest is not None and (oldest.seconds or 0.0) >= _HELD_SECONDS:
        seconds.add_metric([_called(oldest)], oldest.seconds or 0.0)
    yield seconds
    transactions = GaugeMetricFamily(
        "oldest_snapshot_transactions", "The same in transactions.", labels=["application"]
    )
    oldest = max(holders, key=lambda holder: holder.transactions, default=None)
    if oldest is not None and oldest.transactions >= _HELD_TRANSACTIONS:
        transactions.add_metric([_called(oldest)], oldest.transactions)
    yield transactions


def _called(holder: SnapshotHolder) -> str:
    return holder.application if holder.what == "session" else f"{holder.what} {holder.application or holder.name}"
