"""What the routes of one application share, made by `create_app` and by nobody else."""

from dataclasses import dataclass

import flask

from app.auth import Gate
from app.counts import Counts
from app.database import Database
from app.hints import HintSender
from app.services.jobs import Rules
from app.settings import AppSettings
from app.waiting import WaitingRoom

_NAME = "windlass"


@dataclass(frozen=True)
class Context:
    """Settings, who may do what, the way to the database, the rules jobs are judged by, the sender of hints, the
    place of long polls, and how many jobs there are.
    """

    settings: AppSettings
    gate: Gate
    database: Database
    rules: Rules
    hints: HintSender
    waiting: WaitingRoom
    counts: Counts

    def attach(self, app: flask.Flask) -> None:
        """Makes this the context of `app`."""
        app.extensions[_NAME] = self


def current() -> Context:
    """The context of the application that answers the present request."""
    return of(flask.current_app)


def of(app: flask.Flask) -> Context:
    """The context of `app`."""
    context: Context = app.extensions[_NAME]
    return context
