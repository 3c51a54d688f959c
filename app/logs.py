"""How the web process logs: one JSON object a line, or plain text on a terminal, each line with its request's id.

Never a payload, a result, a token or a query string.
"""

import logging
from typing import Any

import flask

from workerpool.kinds.log_lines import LineFormatter, TextFormatter, as_text

_FIELDS = "%(levelname)s %(name)s %(message)s %(request_id)s"


class RequestId(logging.Filter):
    """Puts the request's id into every record made while it is answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: nothing is dropped."""
        record.request_id = flask.g.get("request_id") if flask.has_app_context() else None
        return True


def config(log_format: str | None, level: str) -> dict[str, Any]:
    """A `logging.config.dictConfig` for the whole process, gunicorn included; `log_format` None means: by terminal."""
    # gunicorn's own debug lines quote the bytes it could not read.
    of_gunicorn = max(logging.getLevelNamesMapping()[level.upper()], logging.INFO)
    line: dict[str, Any] = {"()": LineFormatter, "process": "web", "fields": _FIELDS}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestId}},
        "formatters": {"line": {"()": TextFormatter, "process": "web"} if as_text(log_format) else line},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["request_id"],
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": level.upper(), "handlers": ["console"]},
        "loggers": {
            name: {"level": of_gunicorn, "handlers": [], "propagate": True}
            for name in ("gunicorn.error", "gunicorn.access")
        },
    }
