"""`windlass jobs`: list, show, cancel, retry."""

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote, urlencode
from uuid import UUID

import click

from app.commands.answers import Refused, accepted, object_in, rows_in
from app.commands.api import Answer, Api
from app.commands.console import Failure, Target
from app.commands.table import JSON_OPTION, Column, ago, print_fields, print_json, print_rows
from app.commands.text import plain_json, shown
from sql.rows import Status

_PAGE = 200
_NEXT = re.compile(r'<[^>]*[?&]cursor=([^&>]+)[^>]*>\s*;\s*rel="?next"?')
_COLUMNS = (
    Column("id", lambda job: job["id"], whole=True),
    Column("kind", lambda job: job["kind"]),
    Column("queue", lambda job: job["queue"]),
    Column("status", lambda job: job["status"], whole=True),
    Column("tries", lambda job: f"{job['attempts']}/{job['max_attempts']}", right=True),
    Column("ago", lambda job: job["updated_at"], lambda job: ago(job["updated_at"]), right=True),
    Column("last error", lambda job: job["last_error"], beneath=True),
)


@click.group(no_args_is_help=True)
def jobs() -> None:
    """List, show, cancel and retry jobs."""


@jobs.command("list")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only jobs in this status.")
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most jobs to list.")
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@JSON_OPTION
@click.pass_obj
def list_jobs(target: Target, /, limit: int, everything: bool, as_json: bool, **filters: str | None) -> None:
    """The newest jobs first.

    Off a terminal one job a line: id, kind, queue, status, attempts, since when, last error, separated by tabs.
    """
    asked = {name: value for name, value in filters.items() if value is not None}
    pages = _pages(Api(target), asked, None if everything else limit)
    if as_json:
        for number, page in enumerate(pages):
            inside = plain_json(page.text)[1:-1].strip()
            click.echo(("[" if number == 0 else ",") + inside, nl=False)
        click.echo("]")
        return
    for page in pages:
        print_rows(_COLUMNS, rows_in(page.json()), "no jobs")


@jobs.command()
@click.argument("job_id", metavar="ID", type=click.UUID)
@JSON_OPTION
@click.pass_obj
def show(target: Target, job_id: UUID, as_json: bool) -> None:
    """Everything about one job."""
    answer = accepted(Api(target).get(f"/jobs/{job_id}"), "jobs show")
    job = object_in(answer.json())
    if as_json:
        print_json(answer.text)
    else:
        print_fields(job)


@jobs.command()
@click.argument("job_ids", metavar="ID...", type=click.UUID, nargs=-1, required=True)
@click.pass_context
def cancel(context: click.Context, job_ids: Sequence[UUID]) -> None:
    """Cancel jobs.

    Prints what became of each: `cancelled`, or `pending` for one that runs and has yet to see it.
    """
    api = Api(context.obj)

    def one(job_id: UUID) -> str:
        answer = accepted(api.post(f"/jobs/{job_id}/cancel", None), f"jobs cancel {job_id}")
        return str(object_in(answer.json())["status"])

    _each(context, job_ids, one)


@jobs.command()
@click.argument("job_ids", metavar="ID...", type=click.UUID, nargs=-1, required=True)
@click.pass_context
def retry(context: click.Context, job_ids: Sequence[UUID]) -> None:
    """Retry failed or cancelled jobs: due now, attempts 0 (ADMIN_TOKEN)."""
    api = Api(context.obj.as_admin())

    def one(job_id: UUID) -> str:
        answer = accepted(api.post(f"/jobs/{job_id}/retry", None), f"jobs retry {job_id}", admin=True)
        return str(object_in(answer.json())["status"])

    _each(context, job_ids, one)


def _each(context: click.Context, job_ids: Sequence[UUID], act: Callable[[UUID], str]) -> None:
    """One job that is refused does not keep the others from it, but the exit code says so."""
    refused = False
    for job_id in job_ids:
        try:
            click.echo(f"{job_id}\t{shown(act(job_id))}")
        except Refused as problem:
            if problem.hopeless:
                raise
            problem.show()
            refused = True
    if refused:
        context.exit(1)


def _pages(api: Api, filters: dict[str, str], most: int | None) -> Iterator[Answer]:
    """Pages of the list until `most` jobs, or all, are there."""
    left, cursor = most, None
    while True:
        asked: dict[str, object] = {**filters, "limit": _PAGE if left is None else min(_PAGE, left)}
        if cursor is not None:
            asked["cursor"] = cursor
        answer = accepted(api.get(f"/jobs?{urlencode(asked)}"), "jobs list")
        found = len(rows_in(answer.json()))
        yield answer
        if left is not None:
            left -= found
        # Only the cursor of the link is used: where we ask is not for an answer to decide.
        following = _NEXT.search(answer.headers.get("Link", ""))
        if following is None or not found or (left is not None and left <= 0):
            return
        if unquote(following[1]) == cursor:
            raise Failure("jobs list failed: the pages go in a circle, so this is no Windlass")
        cursor = unquote(following[1])
