"""How the pool logs: one JSON object a line, or plain text on a terminal. Never a payload, a result or a secret."""

import logging
import sys
import traceback
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter


class _WithoutCauses:
    """The driver's error behind one of ours quotes the row it was about, so only ours is shown."""

    def formatException(
        self, info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return "".join(traceback.format_exception(info[1], chain=False)).rstrip()


class _Text(_WithoutCauses, logging.Formatter):
    pass


class _Json(_WithoutCauses, JsonFormatter):
    pass


def configure(log_format: str | None, level: str, process: str) -> None:
    """Sends this process's log to standard error; `process` ("supervisor", "worker 3") is in every line."""
    handler = logging.StreamHandler(sys.stderr)
    text = log_format == "text" or (log_format is None and sys.stderr.isatty())
    formatter: logging.Formatter
    if text:
        formatter = _Text(f"%(asctime)s %(levelname)-7s {process}: %(message)s")
    else:
        formatter = _Json("%(levelname)s %(name)s %(message)s", timestamp=True, static_fields={"process": process})
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
