"""What an answer of the service means to a command: the thing asked for, or a line that says why not."""

import json
from typing import Any

from app.commands.api import Answer
from app.commands.console import Failure
from app.commands.table import Row
from app.commands.text import shown

_LONGEST_MESSAGE = 1000
_CLIENT = "it needs the service's API_TOKEN: set API_TOKEN, or --api-token before the subcommand"
_ADMIN = "it needs the service's ADMIN_TOKEN: set ADMIN_TOKEN, or --api-token before the subcommand"


class Refused(Failure):
    """The service answered, and said no. `hopeless`: it will say so to whatever else is asked with this token."""

    def __init__(self, what: str, answer: Answer, admin: bool) -> None:
        self.hopeless = answer.status in (401, 403)
        need = f"; {_ADMIN if admin else _CLIENT}" if self.hopeless else ""
        super().__init__(f"{what} failed: {answer.status} {_message(answer)}{need}")


def accepted(answer: Answer, what: str, admin: bool = False) -> Answer:
    """`answer`, if it is a success. `what` is the command in the words of the user. Raises Refused."""
    if not 200 <= answer.status < 300:
        raise Refused(what, answer, admin)
    return answer


def rows_in(value: Any) -> list[Row]:
    """`value`, which must be a list of objects. Raises Failure."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Failure("the answer is not a list of objects, so this is no Windlass")
    return value


def object_in(value: Any) -> Row:
    """`value`, which must be an object. Raises Failure."""
    if not isinstance(value, dict):
        raise Failure("the answer is not an object, so this is no Windlass")
    return value


def _message(answer: Answer) -> str:
    said: Any = answer.text.strip()
    try:
        body = json.loads(answer.text)
        said = body["message"] if isinstance(body, dict) and isinstance(body.get("message"), str) else said
    except (ValueError, RecursionError):
        # A proxy's page.
        pass
    return shown(said[:_LONGEST_MESSAGE]) or "and no reason given"
