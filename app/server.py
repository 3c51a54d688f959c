"""gunicorn's configuration: `gunicorn -c python:app.server app.wsgi:app`. Names that gunicorn knows are its settings.

The application is loaded before the fork and opens nothing there. Each worker gets a slot, which outlives it, and
counts in the slot's files; see `app.metrics`.
"""

import atexit
import math
import os
import resource
import sys
from typing import Any

from gunicorn import glogging

from app import logs
from app.metrics_folder import MetricsFolder
from app.settings import AppSettings, is_loopback, open_bind_problem

_settings = AppSettings.from_env()

bind = _settings.bind
workers = _settings.web_concurrency
threads = _settings.web_threads
worker_class = "app.worker.Worker"
preload_app = True
graceful_timeout = max(1, math.ceil(_settings.shutdown_grace_seconds))
# Longer than what routers keep an idle connection for, so that they close it and never meet a closed one.
keepalive = 100
# Of one request, and of the worker's own loop, which does nothing but hand out connections.
timeout = 60
# Beside connections a process has files, its database's sockets, and those it only waits for to hang up.
worker_connections = max(threads + 10, min(1000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) * 3 // 4))
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# It would write into a home directory and start a thread in the process that forks.
control_socket_disable = True
proc_name = "windlass-web"
loglevel = _settings.log_level
logconfig_dict = logs.config(_settings.log_format, _settings.log_level)

_folder = MetricsFolder.create(_settings.prometheus_multiproc_dir)
# Before anything imports prometheus_client, which reads it then.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder.path)
atexit.register(_folder.remove)


class logger_class(glogging.Logger):  # type: ignore[misc]
    """gunicorn's, without its access log: the application logs its requests, and the two would cost twice."""

    def access(self, *_: Any) -> None:
        """Nothing."""


_taken: set[int] = set()


def when_ready(server: Any) -> None:
    """Refuses to serve others without a token, also where the command line changed what the settings said."""
    for listener in server.LISTENERS:
        address = listener.sock.getsockname()
        shown = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else f"unix:{address}"
        if not is_loopback(shown) and not _settings.may_bind_openly:
            server.log.error("%s", open_bind_problem(shown))
            sys.exit(1)


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Gives the worker the lowest free slot."""
    worker.slot = next(number for number in range(len(_taken) + 1) if number not in _taken)
    _taken.add(worker.slot)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """In the worker: counts in the slot's files from now on."""
    from app import metrics

    metrics.identify(f"web{worker.slot}")


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """In gunicorn's master, also after kill -9: the slot is free for the next worker."""
    _taken.discard(worker.slot)


def worker_exit(server: Any, worker: Any) -> None:
    """gunicorn calls this in the master, and not `child_exit`, for a worker it finds gone."""
    if os.getpid() == server.pid:
        _taken.discard(worker.slot)
