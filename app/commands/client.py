"""`enqueue` and `ping`: a client of a running service."""

import json
from typing import Any, NoReturn

import click

from app.commands.api import Api
from app.commands.console import Failure, Target


def _json_value(_context: click.Context, _option: click.Parameter, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}") from error


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


@click.command()
@click.option("--queue", help="The queue it waits in; without it the service's own default.")
@click.option("--kind", required=True, help="What the job is, as send_email.")
@click.option("--json", "payload", required=True, metavar="JSON", callback=_json_value, help="The payload.")
@click.option("--max-attempts", type=int, help="How often it may be tried.")
@click.option("--priority", type=int, help="Higher first; 0 without it.")
@click.option("--run-at", metavar="TIME", help="Not before, as 2030-01-31T12:00:00Z.")
@click.option("--idempotency-key", metavar="KEY", help="The same key makes the same job.")
@click.pass_obj
def enqueue(target: Target, /, **fields: Any) -> None:
    """Enqueue one job and print its id."""
    answer = Api(target).post(
        "/jobs", {name: value for name, value in fields.items() if value is not None or name == "payload"}
    )
    if answer.status not in (200, 201):
        raise Failure(f"enqueue failed: {answer.status} {answer.text.strip()}")
    click.echo(answer.json()["id"])


@click.command()
@click.pass_obj
def ping(target: Target) -> None:
    """Ask the web process whether it lives."""
    answer = Api(target).get("/healthz")
    click.echo(answer.text.strip())
    if answer.status != 200:
        raise Failure(f"ping failed: {answer.status}")
