"""What a line of the log looks like: one JSON object, or plain text on a terminal.

Text from outside cannot start a line of its own or colour a terminal: control characters are escaped.
"""

import logging
import re
import sys
import traceback
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_LONGEST_CHAIN = 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id", "taskName"}


class _Discreet(logging.Formatter):
    """Tracebacks without what a database says of the values it was given."""

    def formatException(self, ei: ExcInfo) -> str:
        """The exception and what led to it, the first cause first."""
        parts: list[str] = []
        error = ei[1]
        while error is not None and len(parts) < _LONGEST_CHAIN:
            parts.append("".join(traceback.format_tb(error.__traceback__)) + _said(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nthen:\n".join(reversed(parts))


def _said(error: BaseException) -> str:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    # The driver's text is the server's message with its DETAIL and HINT: row values stand in any of them.
    return name if kind.__module__.startswith("psycopg2") else f"{name}: {error}"


class TextFormatter(_Discreet):
    """For people: time, level, `process` ("web"), message, then what else the record carries."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {process}: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        extras = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
        if getattr(record, "request_id", None):
            extras.append(f"request_id={record.request_id}")  # type: ignore[attr-defined]
        line = " ".join([super().formatMessage(record), *extras])
        return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), line)


class LineFormatter(_Discreet, JsonFormatter):
    """For machines: one JSON object a line, with `process` and with these fields of the record."""

    def __init__(self, process: str, fields: str = "%(levelname)s %(name)s %(message)s") -> None:
        JsonFormatter.__init__(self, fields, timestamp=True, static_fields={"process": process})


def as_text(log_format: str | None) -> bool:
    """Whether lines are for people; `log_format` None means: by where standard error goes."""
    return log_format == "text" or (log_format is None and sys.stderr.isatty())
