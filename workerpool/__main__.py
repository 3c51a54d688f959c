"""`python -m workerpool`: starts the pool. The only module that knows both of its halves."""

import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Unpack

from workerpool import logs, proc
from workerpool.board import STEWARD, WORKER, Board, Cell
from workerpool.child import ChildSpec
from workerpool.errors import BootFailure
from workerpool.kinds import registry
from workerpool.listener import bind
from workerpool.settings import PoolArguments, PoolSettings, SettingsError
from workerpool.signals import Inbox
from workerpool.supervisor import Supervisor
from workerpool.wake_pipe import WakePipe

log = logging.getLogger(__name__)

_FOLDER = "windlass-pool-"
_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


_started = False


def run(**arguments: Unpack[PoolArguments]) -> int:
    """Run a pool from a program of one's own, until TERM or INT; the exit code: 0, or not if the pool could not start.

        workerpool.run(worker_processes=4, worker_queues=["default", "mail"])

    The settings are those of `windlass worker`, from the environment; arguments named as the variables in lower case
    come before it. Kinds that this process has declared are run, whether or not a module of `kind_modules` declares
    more. This process becomes the supervisor: signals and the root logger are its own meanwhile.

    It forks, so it must be called in the main thread of a process that has no other thread, and once.

    Raises SettingsError with every problem, RuntimeError where it cannot run.
    """
    settings = PoolSettings.from_env(os.environ, arguments)
    _refuse_company()
    return _start(settings)


def _refuse_company() -> None:
    if _started:
        raise RuntimeError("workerpool.run() can run one pool in the life of a process: start another process")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("workerpool.run() must be called in the main thread: the pool hears signals, and forks")
    names = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    foreign = len(os.listdir("/proc/self/task")) - 1 - len(names)
    if foreign > 0:
        names.append(f"{foreign} of C libraries (import them inside the handler)")
    if names:
        raise RuntimeError(
            f"workerpool.run() forks, and a fork copies the locks of other threads without them; end them first:"
            f" {', '.join(names)}"
        )


def _start(settings: PoolSettings, *, for_good: bool = False) -> int:
    global _started
    _started = True
    logs.configure(settings.log_format, settings.log_level, "supervisor")
    try:
        listener = bind(settings.worker_metrics_bind_addr)
    except OSError as error:
        host, port = settings.worker_metrics_bind_addr
        print(
            f"WORKER_METRICS_BIND_ADDR: cannot listen on {host}:{port}: {error.strerror}; name a free one",
            file=sys.stderr,
        )
        return 1
    folder = _metrics_folder()
    former = os.environ.get(_METRICS_VARIABLE)
    os.environ[_METRICS_VARIABLE] = str(folder)
    try:
        return _run(settings, listener, for_good)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if former is None:
            del os.environ[_METRICS_VARIABLE]
        else:
            os.environ[_METRICS_VARIABLE] = former


def _metrics_folder() -> Path:
    """A fresh folder for this pool's metric files, named after its supervisor; those of dead ones are removed."""
    parent = Path(os.environ.get(_METRICS_VARIABLE) or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    for abandoned in parent.glob(f"{_FOLDER}*"):
        pid = abandoned.name.removeprefix(_FOLDER)
        if pid.isdecimal() and abandoned.stat().st_uid == os.getuid() and not proc.state(int(pid)):
            shutil.rmtree(abandoned, ignore_errors=True)
    folder = parent / f"{_FOLDER}{os.getpid()}"
    folder.mkdir(mode=0o700)
    return folder


def _run(settings: PoolSettings, listener: socket.socket, for_good: bool) -> int:
    # Not before: prometheus_client reads the folder's variable when it is first imported.
    from workerpool import metrics

    host, port = listener.getsockname()[:2]
    log.info("metrics are at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
    board = Board.create(slots=settings.worker_processes * 2 + 2)
    wake_pipe = WakePipe(board.most_workers)

    def worker(cell: Cell, inbox: Inbox) -> int:
        metrics.identify(f"w{cell.slot}")
        logs.configure(settings.log_format, settings.log_level, f"worker {cell.slot}")
        listener.close()
        from workerpool.worker import Worker

        try:
            kinds = registry.load(settings.kind_modules)
        except registry.KindError as error:
            raise BootFailure(str(error)) from error
        process = Worker(settings, kinds, board, cell, inbox, wake_pipe)
        process.check_schema()
        cell.ready = True
        return process.run()

    def steward(cell: Cell, inbox: Inbox) -> int:
        metrics.identify("steward")
        logs.configure(settings.log_format, settings.log_level, "steward")
        from workerpool.steward import Steward

        cell.ready = True
        return Steward(settings, board, cell, inbox, wake_pipe, listener).run()

    def on_event(event: str, **facts: object) -> None:
        match event:
            case "count":
                metrics.processes.set(facts["n"])  # type: ignore[arg-type]
            case "exited" if facts["role"] == WORKER:
                metrics.forget_live(f"w{facts['slot']}")
            case "restarted" if facts["role"] == WORKER:
                metrics.restarts.labels(facts["cause"]).inc()

    specs = [ChildSpec(WORKER, worker, settings.worker_processes), ChildSpec(STEWARD, steward)]
    grace = settings.shutdown_grace_seconds
    return Supervisor(board, specs, grace=grace, on_event=on_event, for_good=for_good).run()


def main() -> int:
    """`python -m workerpool` runs the pool; `python -m workerpool check` prints what is wrong with its settings."""
    try:
        settings = PoolSettings.from_env()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    if sys.argv[1:] == ["check"]:
        try:
            registry.load(settings.kind_modules)
        except registry.KindError as error:
            print(f"KIND_MODULES: {error}", file=sys.stderr)
            return 1
        return 0
    return _start(settings, for_good=True)


if __name__ == "__main__":
    sys.exit(main())
