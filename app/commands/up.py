"""`windlass up`: a database, the migrations, web and pool on this machine, and all of it gone again at Ctrl-C."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import NoReturn

import click
import urllib3
from urllib3.exceptions import HTTPError

from app.commands import up_settings
from app.commands.console import Failure
from app.commands.data_folder import DataFolder
from app.commands.processes import Processes, Role, StopAsked, on_terminal, tell
from app.commands.roles import OWNER
from sql.embedded import EmbeddedFailure, EmbeddedServer

_START_SECONDS = 60.0
_TO_ALL_SECONDS = 0.5


@click.command()
def up() -> None:
    """Everything on this machine: database, migrations, web and pool."""
    folder = DataFolder()
    folder.make()
    environ = {name: value for name, value in os.environ.items() if value}
    environ.setdefault("LOG_FORMAT", "text" if sys.stdout.isatty() else "json")
    processes = Processes(on_terminal(plain=environ["LOG_FORMAT"] != "text"))
    with folder.owned(), processes.hearing_signals(), suppress(StopAsked), ExitStack() as last_to_first:
        _run(folder, environ, processes, last_to_first)


def _run(folder: DataFolder, environ: dict[str, str], processes: Processes, last_to_first: ExitStack) -> None:
    """Raises StopAsked when a signal did, and Failure when something does not start or ends by itself.

    What it starts it leaves in `last_to_first`: the database ends after the roles.
    """
    record = up_settings.complete(environ, folder)
    plan = up_settings.checked(environ)
    lock = _lock_of_roles(folder, processes, plan.stop_seconds)
    last_to_first.callback(os.close, lock)
    plan.check_addresses()
    folder.record(record)
    server = None
    if "DATABASE_URL" not in environ:
        server = _database(folder, plan.stop_seconds, last_to_first)
        environ["DATABASE_URL"] = server.url
        record = replace(record, database_url=server.url)
    environ[OWNER] = str(os.getpid())

    last_to_first.callback(_stop, processes, plan.stop_seconds)
    _finish(processes, _start(processes, "migrate", environ, lock))
    web, worker = (_start(processes, name, environ, lock) for name in ("web", "worker"))
    _await_answer(processes, web, f"{plan.url}/healthz")
    _await_answer(processes, worker, plan.metrics_url)
    folder.record(replace(record, url=plan.url))
    database = server.home if server else "that of DATABASE_URL"
    tell(
        f"windlass is up; Ctrl-C stops it\n"
        f"  API      {plan.url}/jobs\n"
        f"  docs     {plan.url}/docs\n"
        f"  metrics  {plan.url}/metrics (web), {plan.metrics_url} (pool)\n"
        f"  data     {folder.path}; the database: {database}\n"
        f"try `windlass demo` in another shell"
    )
    processes.until(lambda: processes.ended is not None or not (server is None or server.running))
    # A platform that ends us may signal every process at once, and a role can be quicker than we are.
    processes.until(lambda: False, _TO_ALL_SECONDS)
    if processes.ended:
        _fail(processes.ended, "ended by itself")
    raise Failure(f"the keeper of PostgreSQL ended by itself; the server's log is {server and server.log}")


def _lock_of_roles(folder: DataFolder, processes: Processes, seconds: float) -> int:
    """Held by us and by every role we start. Waits for what an earlier `up` that was killed left to drain."""
    held: list[int] = []

    def taken() -> bool:
        lock = folder.lock_roles()
        held.extend([] if lock is None else [lock])
        return bool(held)

    if not taken():
        tell(f"an earlier windlass up was killed: waiting for its roles to drain (at most {seconds:.0f} s)")
        if not processes.until(taken, seconds):
            raise Failure(f"roles of an earlier windlass up on {folder.path} still run: end them first")
    return held[0]


def _database(folder: DataFolder, stop_seconds: float, last_to_first: ExitStack) -> EmbeddedServer:
    # Roles that outlive a killed `up` get all their time, and a little more, before their sessions are ended.
    server = EmbeddedServer(folder.postgresql, smart_seconds=stop_seconds + 5)
    last_to_first.callback(server.stop)
    try:
        server.start()
    except EmbeddedFailure as error:
        raise Failure(str(error)) from error
    return server


def _start(processes: Processes, name: str, environ: Mapping[str, str], lock: int) -> Role:
    # -P: the working directory may hold a folder named app.
    return processes.start(name, [sys.executable, "-P", "-m", "app.cli", name], environ, inherit=[lock])


def _finish(processes: Processes, role: Role) -> None:
    processes.until(lambda: role.ended)
    if role.process.returncode != 0:
        _fail(role, "failed")
    processes.forget(role)


def _await_answer(processes: Processes, role: Role, url: str) -> None:
    # A connection left open would hold up the stop of the web process.
    http = urllib3.PoolManager(timeout=0.5, retries=False, headers={"Connection": "close"})

    def answers() -> bool:
        try:
            return processes.ended is not None or http.request("GET", url).status == 200
        except HTTPError:
            return False

    if not processes.until(answers, _START_SECONDS):
        raise Failure(f"{role.name} does not answer at {url} after {_START_SECONDS:.0f} s")
    if processes.ended:
        _fail(processes.ended, "did not start")


def _fail(role: Role, what: str) -> NoReturn:
    role.listen()
    said = "".join(f"\n  {line}" for line in role.tail) or " nothing"
    raise Failure(f"{role.name} {what} ({role.exit}); the last it said:{said}")


def _stop(processes: Processes, seconds: float) -> None:
    tell(f"stopping: web, pool, database (at most {seconds:.0f} s)")
    late = processes.stop(seconds)
    if late:
        raise Failure(
            f"{' and '.join(role.name for role in late)} did not end within {seconds:.0f} s and had to be killed"
        )
