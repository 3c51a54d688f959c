"""What the routes of one application share, made by `create_app` and by nobody else."""

from dataclasses import dataclass

import flask

from app.database import Database
from app.hints import HintSender
from app.services.jobs import Rules
from app.settings import AppSettings

_NAME = "windlass"


@dataclass(frozen=True)
class Context:
    """Settings, the way to the database, the rules jobs are judged by, and the sender of hints."""

    settings: AppSettings
    database: Database
    rules: Rules
    hints: HintSender

    def attach(self, app: flask.Flask) -> None:
        """Makes this the context of `app`."""
        app.extensions[_NAME] = self


def current() -> Context:
    """The context of the application that answers the present request."""
    context: Context = flask.current_app.extensions[_NAME]
    return context
