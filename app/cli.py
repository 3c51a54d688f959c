"""The `windlass` command: it talks HTTP to a running service, starts a role, or looks after both.

It imports neither the pool nor the routes: what they do, it asks them for over HTTP or as a program of its own.
"""

import os
import sys

import click
from click.core import ParameterSource

from app.commands.check import check
from app.commands.client import enqueue, ping
from app.commands.console import Target
from app.commands.dead import dead
from app.commands.demo import demo
from app.commands.jobs import jobs
from app.commands.queues import pause, queues, resume
from app.commands.remote.cli import remote
from app.commands.roles import migrate, web, worker
from app.commands.token import token
from app.commands.up import up
from sql import __version__

_COMMANDS = (
    # a machine of one's own
    up,
    demo,
    check,
    # one role each, for the Procfile
    web,
    worker,
    migrate,
    # a client of a running service
    enqueue,
    ping,
    remote,
    jobs,
    # its operator
    queues,
    pause,
    resume,
    dead,
    # who may use it
    token,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog="Start with: windlass up")
@click.version_option(__version__, prog_name="windlass")
@click.option(
    "--server-url",
    envvar="WINDLASS_URL",
    metavar="URL",
    help=f"Where the API is: WINDLASS_URL, or {Target.DEFAULT_URL}.",
)
@click.option(
    "--api-token",
    envvar="API_TOKEN",
    metavar="TOKEN",
    help="Sent as a bearer token: API_TOKEN; for what says ADMIN_TOKEN in its help, that variable comes first.",
)
@click.pass_context
def cli(context: click.Context, server_url: str | None, api_token: str | None) -> None:
    """Jobs in PostgreSQL: enqueue over HTTP, run in processes, lose nothing."""
    said = context.get_parameter_source("api_token") is ParameterSource.COMMANDLINE
    context.obj = Target(server_url, api_token, admin_token=None if said else os.environ.get("ADMIN_TOKEN") or None)


for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The entry point. Whatever goes wrong is one line on standard error and exit code 1 (2 for wrong usage)."""
    try:
        cli(prog_name="windlass")
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").lower() == "debug":
            raise
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        click.echo(f"{type(error).__name__}: {reason}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
