"""`windlass queues`, `pause` and `resume`."""

import re
from typing import Any
from urllib.parse import quote

import click

from app.commands.answers import accepted, object_in, rows_in
from app.commands.api import Api
from app.commands.console import Target
from app.commands.table import JSON_OPTION, Column, ago, duration, print_json, print_rows
from workerpool.kinds.bounds import NAME, NAME_RULE

_COLUMNS = (
    Column("queue", lambda queue: queue["queue"]),
    Column("depth", lambda queue: queue["depth"], right=True),
    Column("queued", lambda queue: queue["queued"], right=True),
    Column("retrying", lambda queue: queue["retrying"], right=True),
    Column("running", lambda queue: queue["running"], right=True),
    Column(
        "oldest",
        lambda queue: queue["oldest_ready_seconds"],
        lambda queue: duration(queue["oldest_ready_seconds"]),
        right=True,
    ),
    Column("paused for", lambda queue: queue["paused_at"], lambda queue: ago(queue["paused_at"]), right=True),
)


class _QueueName(click.ParamType[str]):
    name = "QUEUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value`, if it can be part of an address."""
        if not re.fullmatch(NAME, value, re.ASCII):
            self.fail(f"a queue is {NAME_RULE}", param, ctx)
        return str(value)


QUEUE = _QueueName()


def queue_path(queue: str) -> str:
    """Where the service has this queue."""
    return f"/v1/admin/queues/{quote(queue, safe=':')}"


@click.command()
@JSON_OPTION
@click.pass_obj
def queues(target: Target, as_json: bool) -> None:
    """How all queues stand (ADMIN_TOKEN).

    depth is what could start now. Off a terminal one queue a line: queue, depth, queued, retrying, running, seconds
    the oldest due job has waited, since when it is paused, separated by tabs.
    """
    answer = accepted(Api(target.as_admin()).get("/v1/admin/queues"), "queues", admin=True)
    found = rows_in(object_in(answer.json()).get("queues"))
    if as_json:
        print_json(answer.text)
    else:
        print_rows(_COLUMNS, found, "no queue holds unfinished jobs, and none is paused")


@click.command()
@click.argument("queue", type=QUEUE)
@click.pass_obj
def pause(target: Target, queue: str) -> None:
    """Hand out nothing of a queue, over restarts too (ADMIN_TOKEN).

    It still takes jobs, and what runs goes on.
    """
    accepted(Api(target.as_admin()).post(f"{queue_path(queue)}/pause", None), "pause", admin=True)
    click.echo(f"{queue} is paused")


@click.command()
@click.argument("queue", type=QUEUE)
@click.pass_obj
def resume(target: Target, queue: str) -> None:
    """Let a paused queue hand out its jobs again (ADMIN_TOKEN)."""
    accepted(Api(target.as_admin()).post(f"{queue_path(queue)}/resume", None), "resume", admin=True)
    click.echo(f"{queue} is not paused")
