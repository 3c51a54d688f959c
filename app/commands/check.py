"""`windlass check`: every problem of the settings and of the database, before a start or during a puzzle."""

import os
import subprocess
import sys
from collections.abc import Mapping

import click

from app.commands.data_folder import database_url
from app.settings import AppSettings, SettingsError
from sql import checks, tokens
from sql.connection import connect
from sql.errors import StorageError
from sql.migrate import status
from workerpool.kinds import settings as kinds

_POOL_SECONDS = 30


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Print every problem of the settings and of the database."""
    environ = {name: value for name, value in os.environ.items() if value}
    url = database_url()
    if url is not None:
        environ["DATABASE_URL"] = url
    problems = settings_problems(environ)
    if url is not None:
        problems += database_problems(url, asks_for_tokens(environ))
    for problem in problems:
        click.echo(problem)
    if problems:
        context.exit(1)
    click.echo("no problem found")


def settings_problems(environ: Mapping[str, str]) -> list[str]:
    """What web, kinds and pool would refuse to start with, one sentence each."""
    problems: list[str] = []
    for ask in (_web_problems, _kind_problems, _pool_problems):
        # A variable may be read by more than one of them; the first word on it is enough.
        reported = {_variable(problem) for problem in problems}
        problems += [problem for problem in ask(environ) if _variable(problem) not in reported]
    return problems


def asks_for_tokens(environ: Mapping[str, str]) -> bool:
    """Whether a web process with these settings would ask anybody for a token; so too when it would not start."""
    try:
        return AppSettings.from_env(environ).asks_for_tokens
    except SettingsError:
        return True


def database_problems(url: str, tokens_asked_for: bool) -> list[str]:
    """What is wrong with the server, its schema, the jobs in it, and with tokens if nobody is asked for one."""
    try:
        conn = connect(url, application_name="windlass check")
    except StorageError as error:
        return [f"DATABASE_URL: {error}"]
    try:
        problems = checks.server(conn) + checks.snapshots(conn)
        found = status(conn)
        problems += found.problems
        if found.pending:
            problems.append(f"not yet applied: {', '.join(found.pending)}; run `windlass migrate`")
        if not (found.problems or found.pending):
            problems += checks.states(conn)
            if not tokens_asked_for and tokens.any_live(conn):
                problems.append(
                    "REQUIRE_TOKEN: there are tokens of `windlass token`, and nobody is asked for one; set it to 1"
                )
        return problems
    except StorageError as error:
        return [f"the database: {error}"]
    finally:
        conn.close()


def _variable(problem: str) -> str:
    return problem.partition(" ")[0].rstrip(":")


def _web_problems(environ: Mapping[str, str]) -> list[str]:
    try:
        AppSettings.from_env(environ)
    except SettingsError as error:
        return str(error).splitlines()
    return []


def _kind_problems(environ: Mapping[str, str]) -> list[str]:
    try:
        kinds.KindSettings.from_env(environ)
    except kinds.SettingsError as error:
        return str(error).splitlines()
    return []


def _pool_problems(environ: Mapping[str, str]) -> list[str]:
    # The pool is a program of its own, asked as one.
    command = [sys.executable, "-P", "-m", "workerpool", "check"]
    try:
        answer = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_POOL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [f"the pool: its check did not end within {_POOL_SECONDS} s"]
    if answer.returncode == 0:
        return []
    return (answer.stderr + answer.stdout).splitlines() or [f"the pool: its check ended with code {answer.returncode}"]
