"""`windlass dead`: the dead letters of a queue, and their way back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import click

from app.commands.answers import accepted, object_in, rows_in
from app.commands.api import Api
from app.commands.console import Failure, Target
from app.commands.queues import QUEUE, queue_path
from app.commands.table import JSON_OPTION, Column, ago, print_json, print_rows

# The service counts all that match in every call, so batches should be few, and short enough for its time limit.
_BATCH = 5000
_COLUMNS = (
    Column("id", lambda job: job["id"], whole=True),
    Column("kind", lambda job: job["kind"]),
    Column("tries", lambda job: f"{job['attempts']}/{job['max_attempts']}", right=True),
    Column("died", lambda job: job["updated_at"], lambda job: f"{ago(job['updated_at'])} ago", right=True),
    Column("last error", lambda job: job["last_error"], beneath=True),
)


@click.group(no_args_is_help=True)
def dead() -> None:
    """Dead letters: jobs that have failed for good (ADMIN_TOKEN)."""


@dead.command("list")
@click.option("--queue", type=QUEUE, default="default", show_default=True, help="Of this queue.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Most jobs to list.")
@JSON_OPTION
@click.pass_obj
def list_dead(target: Target, queue: str, limit: int, as_json: bool) -> None:
    """Those that died last first.

    Off a terminal one job a line: id, kind, attempts, when it died, last error, separated by tabs.
    """
    path = f"{queue_path(queue)}/dead?{urlencode({'limit': limit})}"
    answer = accepted(Api(target.as_admin()).get(path), "dead list", admin=True)
    jobs = rows_in(object_in(answer.json()).get("jobs"))
    if "Link" in answer.headers and len(jobs) < limit:
        click.echo(f"only the last {len(jobs)}: their payloads fill an answer", err=True)
    if as_json:
        print_json(answer.text)
    else:
        print_rows(_COLUMNS, jobs, f"no dead letters in {queue}")


@dead.command()
@click.option("--queue", type=QUEUE, default="default", show_default=True, help="Of this queue.")
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--error-contains", metavar="TEXT", help="Only jobs whose last error holds this, letter for letter.")
@click.option("--limit", type=click.IntRange(1), help="At most so many; without it all there are now.")
@click.option("--dry-run", is_flag=True, help="Only say how many match.")
@click.pass_obj
def redrive(target: Target, /, queue: str, limit: int | None, dry_run: bool, **filters: str | None) -> None:
    """Redrive dead letters, those that died first first: each is queued once more, attempts 0, due now.

    It ends after as many as matched at its beginning: what dies again meanwhile waits for another redrive.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    asker = _Redrive(Api(target.as_admin()), queue, given)
    matched, _ = asker.ask(dry_run=True)
    wanted = matched if limit is None else min(limit, matched)
    if dry_run:
        click.echo(f"{matched} dead letters match; {wanted} would be redriven")
        return
    done = 0
    with _watched(wanted) as show:
        while done < wanted:
            try:
                _, requeued = asker.ask(limit=min(_BATCH, wanted - done))
            except Failure as problem:
                raise Failure(f"{problem.message} (after {done} of {wanted}; the same command goes on)") from problem
            if not requeued:
                # Somebody else was quicker.
                break
            done += requeued
            show(done)
    click.echo(f"{matched} dead letters matched; {done} are redriven")


class _Redrive:
    """One call after another with the same filters."""

    def __init__(self, api: Api, queue: str, filters: dict[str, str]) -> None:
        self._api = api
        self._path = f"{queue_path(queue)}/redrive"
        self._filters = filters

    def ask(self, **how: int | bool) -> tuple[int, int]:
        """How many matched, and how many were redriven. Raises Failure."""
        answer = accepted(self._api.post(self._path, {**self._filters, **how}), "dead redrive", admin=True)
        counts = object_in(answer.json())
        matched, requeued = counts.get("matched"), counts.get("requeued")
        if not isinstance(matched, int) or not isinstance(requeued, int):
            raise Failure("the answer does not say how many, so this is no Windlass")
        return matched, requeued


@contextmanager
def _watched(total: int) -> Iterator[Callable[[int], None]]:
    """Call what it gives with how many are done."""
    if not sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("redriven", total=total)
        yield lambda done: progress.update(task, completed=done)
