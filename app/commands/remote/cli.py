"""The command `windlass remote`: its options and settings."""

import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import click

from app.commands.api import Api
from app.commands.console import Failure, Target
from app.commands.processes import tell
from app.commands.remote.calls import Calls
from app.commands.remote.signals import Signals
from app.commands.remote.work import RunCommand, Work, print_job
from app.commands.remote.worker import Terms, Worker
from workerpool.kinds.environment import Environment, SettingsError, names
from workerpool.kinds.log_lines import LineFormatter, TextFormatter, as_text

log = logging.getLogger(__name__)

_SHELL = "/bin/sh"
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class RemoteSettings:
    """What `windlass remote` reads from its environment besides the variables of its options."""

    queue_url: str | None
    grace_seconds: float
    log_format: str | None
    log_level: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "RemoteSettings":
        """Raises Failure with every problem."""
        env = Environment(environ)
        settings = cls(
            queue_url=env.read("QUEUE_URL", str, None),
            grace_seconds=env.grace_seconds(),
            log_format=env.log_format(),
            log_level=env.log_level(),
        )
        try:
            env.check()
        except SettingsError as error:
            raise Failure(str(error)) from error
        return settings


def _whole(least: int, most: int) -> Callable[[click.Context, click.Parameter, str], int]:
    """Reads a whole number within bounds; click's own types do not name them for what is no number at all."""

    def read(_context: click.Context, _option: click.Parameter, text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise click.BadParameter(f"must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return read


def _kinds(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    kinds = names(text or "")
    if text is not None and not kinds:
        raise click.BadParameter("names no kind; give them separated by commas")
    return kinds


@click.command()
@click.option(
    "--queue", envvar="QUEUE_NAME", default="default", show_default=True, help="The queue to work: QUEUE_NAME."
)
@click.option(
    "--concurrency",
    envvar="CONCURRENCY",
    callback=_whole(1, 1000),
    default="10",
    metavar="N",
    show_default=True,
    help="Most jobs at once: CONCURRENCY.",
)
@click.option(
    "--lease-ms",
    envvar="LEASE_MS",
    callback=_whole(100, _DAY_MS),
    default="30000",
    metavar="N",
    show_default=True,
    help="How long a job stays ours without a heartbeat: LEASE_MS.",
)
@click.option(
    "--poll-interval-ms",
    envvar="POLL_INTERVAL_MS",
    callback=_whole(10, 60_000),
    default="500",
    metavar="N",
    show_default=True,
    help="Pause when the service has no room for one more who waits: POLL_INTERVAL_MS.",
)
@click.option("--kinds", metavar="A,B", callback=_kinds, help="Only jobs of these kinds; without it: external.")
@click.option("--exec", "command", metavar="CMD", help="Run this over each job. Without it jobs are printed and acked.")
@click.option("--shell", is_flag=True, help="CMD is for /bin/sh; without it no shell sees it.")
@click.pass_obj
def remote(
    target: Target,
    queue: str,
    concurrency: int,
    lease_ms: int,
    poll_interval_ms: int,
    kinds: tuple[str, ...],
    command: str | None,
    shell: bool,
) -> None:
    """Work jobs over HTTP: run a command over each.

    The payload is on CMD's standard input. Exit 0 acks the job, with what CMD printed, if that is JSON, as its result;
    anything else fails it, with the end of standard error as the reason. CMD finds WINDLASS_JOB_ID, WINDLASS_KIND,
    WINDLASS_QUEUE, WINDLASS_ATTEMPT and WINDLASS_MAX_ATTEMPTS in its environment.
    """
    settings = RemoteSettings.from_env()
    arguments = _arguments(command, shell)
    target = replace(target, server_url=target.server_url or settings.queue_url)
    api = Api(target, callers=concurrency + 1)
    calls = Calls(api, Api(target), lease_ms)
    terms = Terms(queue, kinds, concurrency, lease_ms, poll_interval_ms, settings.grace_seconds)
    _log_to_stderr(settings)
    with ExitStack() as last_to_first:
        signals = last_to_first.enter_context(Signals())
        work: Work = print_job
        if arguments:
            work = last_to_first.enter_context(closing(RunCommand(arguments, os.environ)))
        log.info("takes jobs of queue %s at %s, at most %d at once", queue, api.url, concurrency)
        Worker(calls, terms, work).run(signals)


def _arguments(command: str | None, shell: bool) -> list[str]:
    """The words to run, none without a command. Raises click.UsageError."""
    if command is None:
        if shell:
            raise click.UsageError("--shell says how to run --exec, which is not given")
        return []
    if shell:
        return [_SHELL, "-c", command]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--exec: {error}") from error
    if not words:
        raise click.UsageError("--exec: there is no command in it")
    if shutil.which(words[0]) is None:
        raise click.UsageError(f"--exec: there is no program {words[0]}; what only a shell understands needs --shell")
    return words


class _Told(logging.Handler):
    """Lines on standard error; that nobody reads them any more does not matter."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record), sys.stderr)


def _log_to_stderr(settings: RemoteSettings) -> None:
    handler = _Told()
    handler.setFormatter(TextFormatter("remote") if as_text(settings.log_format) else LineFormatter("remote"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
