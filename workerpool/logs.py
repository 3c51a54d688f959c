"""How the pool logs: one JSON object a line, or plain text on a terminal. Never a payload, a result or a secret."""

import logging
import sys

from workerpool.kinds.log_lines import LineFormatter, TextFormatter, as_text


def configure(log_format: str | None, level: str, process: str) -> None:
    """Sends this process's log to standard error; `process` ("supervisor", "worker 3") is in every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(process) if as_text(log_format) else LineFormatter(process))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
