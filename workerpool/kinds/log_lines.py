"""What a line of the log looks like, of web, pool and command alike: one JSON object, or plain text on a terminal.

Text from outside cannot start a line of its own, colour a terminal or turn its writing: all that does is escaped. Of an
error the last one's words are shown, of those that led to it their types: theirs may quote a row, or a payload.
"""

import logging
import sys
import traceback
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter

from workerpool.kinds.text import shown

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_LONGEST_CHAIN = 10
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id", "taskName"}


class _Discreet(logging.Formatter):
    """Tracebacks without what may quote the values that a handler or a database was given."""

    def formatException(self, ei: ExcInfo) -> str:
        """The exception and what led to it, the first cause first."""
        parts: list[str] = []
        error = ei[1]
        while error is not None and len(parts) < _LONGEST_CHAIN:
            said = _type_of(error) if parts else _said(error)
            parts.append("Traceback:\n" + "".join(traceback.format_tb(error.__traceback__)) + said)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nthen:\n".join(reversed(parts))


def _type_of(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _said(error: BaseException) -> str:
    # The driver's text is the server's message with its DETAIL and HINT: row values stand in any of them.
    if type(error).__module__.startswith("psycopg2"):
        return _type_of(error)
    try:
        return f"{_type_of(error)}: {shown(error)}"
    except Exception:
        # A __str__ that raises must not cost the line.
        return _type_of(error)


class TextFormatter(_Discreet):
    """For people: time, level, `process` ("web", "worker 3"), message, then what else the record carries."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {process}: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        extras = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
        if getattr(record, "request_id", None):
            extras.append(f"request_id={record.request_id}")  # type: ignore[attr-defined]
        return shown(" ".join([super().formatMessage(record), *extras]))


class LineFormatter(_Discreet, JsonFormatter):
    """For machines: one JSON object a line, with `process` and with these fields of the record."""

    def __init__(self, process: str, fields: str = "%(levelname)s %(name)s %(message)s") -> None:
        JsonFormatter.__init__(self, fields, timestamp=True, static_fields={"process": process})


def as_text(log_format: str | None) -> bool:
    """Whether lines are for people; `log_format` None means: by where standard error goes."""
    return log_format == "text" or (log_format is None and sys.stderr.isatty())
