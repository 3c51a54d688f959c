"""`enqueue` and `ping`: a client of a running service."""

import json
from typing import Any, NoReturn

import click

from app.commands.answers import object_in
from app.commands.api import Api
from app.commands.console import Failure, Target
from app.commands.text import shown


def _json_value(_context: click.Context, _option: click.Parameter, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}") from error


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


@click.command()
@click.option("--queue", help="The queue it waits in; without it the kind's own, or default.")
@click.option("--kind", help="What the job is, as send_email; without it the job waits for workers over HTTP.")
@click.option("--json", "payload", required=True, metavar="JSON", callback=_json_value, help="The payload.")
@click.option("--max-attempts", type=int, help="How often it may be tried.")
@click.option("--priority", type=int, help="Higher first; 0 without it.")
@click.option("--run-at", metavar="TIME", help="Not before, as 2030-01-31T12:00:00Z.")
@click.option("--idempotency-key", metavar="KEY", help="The same key makes the same job.")
@click.pass_obj
def enqueue(target: Target, /, **fields: Any) -> None:
    """Enqueue one job and print its id.

    With a kind as POST /jobs does, without one as POST /v1/jobs does: five attempts, and a key counts for a day.
    """
    given = {name: value for name, value in fields.items() if value is not None or name == "payload"}
    if "kind" in given:
        path, name = "/jobs", "id"
    else:
        path, name = "/v1/jobs", "job_id"
        given.setdefault("queue", "default")
    answer = Api(target).post(path, given)
    if answer.status not in (200, 201):
        raise Failure(f"enqueue failed: {answer.status} {shown(answer.text.strip())}")
    click.echo(shown(object_in(answer.json())[name]))


@click.command()
@click.pass_obj
def ping(target: Target) -> None:
    """Ask the web process whether it lives."""
    answer = Api(target).get("/healthz")
    click.echo(shown(answer.text.strip()))
    if answer.status != 200:
        raise Failure(f"ping failed: {answer.status}")
