"""Every metric of the pool, one registry over all its processes.

A file belongs to a *slot*, not to a pid: a respawned worker goes on counting in the file of the one before it, so
counters never fall and files stay as few as there are slots. Import this only after PROMETHEUS_MULTIPROC_DIR is set,
which prometheus_client reads when it is first imported; without it a process counts for itself alone.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values

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


def forget_live(slot: str) -> None:
    """Removes a dead child's gauges that speak of living processes only."""
    multiprocess.mark_process_dead(slot)  # type: ignore[no-untyped-call]


def registry() -> CollectorRegistry:
    """What all processes counted, summed at scrape time."""
    collected = CollectorRegistry()
    multiprocess.MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
    return collected
