"""The pool's settings, from the environment, all checked before the first fork."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TypedDict

from workerpool.entry import ENTRIES
from workerpool.kinds.bounds import NAME, NAME_RULE
from workerpool.kinds.environment import Environment, SettingsError, host_port, names

__all__ = ["PoolArguments", "PoolSettings", "SettingsError"]

_QUEUE = re.compile(NAME)


class PoolArguments(TypedDict, total=False):
    """The settings as a program gives them: a variable's name in lower case; None is as if it were not given."""

    database_url: str | None
    worker_processes: int | None
    worker_queues: Sequence[str] | None
    worker_metrics_bind_addr: str | None
    lease_seconds: int | None
    job_timeout_seconds: int | None
    shutdown_grace_seconds: float | None
    worker_prefetch: int | None
    worker_max_jobs: int | None
    worker_max_rss_mb: int | None
    poll_interval_ms: int | None
    retention_days: int | None
    log_format: str | None
    log_level: str | None
    kind_modules: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The variables of the same names; seconds and milliseconds as the names say."""

    database_url: str
    worker_processes: int
    worker_queues: tuple[str, ...]
    worker_metrics_bind_addr: tuple[str, int]
    lease_seconds: int
    job_timeout_seconds: int
    shutdown_grace_seconds: float
    worker_prefetch: int
    worker_max_jobs: int | None
    worker_max_rss_mb: int | None
    poll_interval_ms: int
    retention_days: int | None
    log_format: str | None
    log_level: str
    kind_modules: tuple[str, ...]

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] = os.environ, arguments: Mapping[str, object] = MappingProxyType({})
    ) -> "PoolSettings":
        """From the arguments (see `PoolArguments`), and from the environment what they leave open.

        Raises SettingsError with every problem.
        """
        env = Environment(environ, arguments)
        known = [field.name for field in fields(cls)]
        env.problems += [
            f"{name}: is no setting of the pool, which are: {', '.join(known)}"
            for name in arguments
            if name not in known
        ]
        settings = cls(
            database_url=env.database_url(),
            worker_processes=env.whole("WORKER_PROCESSES", len(os.sched_getaffinity(0)), 1, 512),
            worker_queues=env.never_empty("WORKER_QUEUES", _queues, ("default",)),
            worker_metrics_bind_addr=env.read("WORKER_METRICS_BIND_ADDR", host_port, ("127.0.0.1", 9091)),
            lease_seconds=env.whole("LEASE_SECONDS", 30, 2, 86_400),
            job_timeout_seconds=env.job_timeout_seconds(),
            shutdown_grace_seconds=env.grace_seconds(),
            worker_prefetch=env.whole("WORKER_PREFETCH", ENTRIES, 1, ENTRIES),
            worker_max_jobs=env.whole("WORKER_MAX_JOBS", None, 1, 10**12),
            worker_max_rss_mb=env.whole("WORKER_MAX_RSS_MB", None, 32, 10**7),
            poll_interval_ms=env.whole("POLL_INTERVAL_MS", 1000, 10, 60_000),
            retention_days=env.whole("RETENTION_DAYS", None, 1, 36_500),
            log_format=env.log_format(),
            log_level=env.log_level(),
            kind_modules=env.kind_modules(),
        )
        env.check()
        return settings


def _queues(value: str) -> tuple[str, ...]:
    for name in names(value):
        if not _QUEUE.fullmatch(name):
            raise ValueError(f"must be a comma list of queue names, each {NAME_RULE}; {name!r} is none")
    if not names(value):
        raise ValueError("must name at least one queue")
    return names(value)
