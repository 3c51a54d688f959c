"""How the pool logs: one JSON object a line, or plain text on a terminal. Never a payload, a result or a secret."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure(log_format: str | None, level: str, process: str) -> None:
    """Sends this process's log to standard error; `process` ("supervisor", "worker 3") is in every line."""
    handler = logging.StreamHandler(sys.stderr)
    text = log_format == "text" or (log_format is None and sys.stderr.isatty())
    formatter: logging.Formatter
    if text:
        formatter = logging.Formatter(f"%(asctime)s %(levelname)-7s {process}: %(message)s")
    else:
        formatter = JsonFormatter(
            "%(levelname)s %(name)s %(message)s", timestamp=True, static_fields={"process": process}
        )
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
