"""`web`, `worker` and `migrate`: one role each, as the Procfile names them.

`web` and `worker` become the program they start, so a signal from the platform reaches it directly.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
import tenacity

from app.commands.console import Failure
from app.settings import AppSettings, SettingsError
from sql.connection import connect
from sql.errors import StorageError, Unavailable
from sql.migrate import CURRENT
from sql.migrate import migrate as apply_migrations

OWNER = "WINDLASS_UP"
_PR_SET_PDEATHSIG = 1
_WAIT_SECONDS = 30


@click.command()
def web() -> None:
    """Serve the API (gunicorn)."""
    _end_with_owner()
    try:
        AppSettings.from_env()
    except SettingsError as error:
        raise Failure(str(error)) from error
    _become(["app.commands.serve", "-c", "python:app.server", "app.wsgi:app"])


@click.command()
def worker() -> None:
    """Run jobs (the pool of processes)."""
    _end_with_owner()
    _become(["workerpool"])


@click.command()
@click.option("--wait", default=_WAIT_SECONDS, show_default=True, metavar="SECONDS", help="How long for the database.")
def migrate(wait: int) -> None:
    """Bring the database's schema to the version of this code."""
    _end_with_owner()
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        raise Failure("DATABASE_URL: is not set; give the address of a PostgreSQL, as postgresql://user@host/name")
    try:
        _wait_for(url, wait)
        if not apply_migrations(url, log=click.echo):
            click.echo(f"nothing to do: the schema is at version {CURRENT}")
    except StorageError as error:
        raise Failure(f"migrate failed: {error}") from error


def _wait_for(url: str, seconds: int) -> None:
    """Returns once the database takes a connection. Raises Unavailable after `seconds`."""

    def say(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            click.echo(f"{state.outcome.exception()}; trying again for {seconds} s", err=True)

    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        stop=tenacity.stop_after_delay(seconds),
        before_sleep=say,
        reraise=True,
    ):
        with attempt:
            connect(url, application_name="windlass migrate").close()


def _become(module: Sequence[str]) -> NoReturn:
    # -P: the module is ours, and never a folder of the same name where the command was typed.
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", *module])


def _end_with_owner() -> None:
    """Under `windlass up`: be told to leave when it is gone, even by kill -9. Outlives the exec that follows."""
    owner = os.environ.pop(OWNER, "")
    if not owner:
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise Failure(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    # It may have gone before the kernel was told.
    if os.getppid() != int(owner):
        raise Failure("windlass up has gone")
