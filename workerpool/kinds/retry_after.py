"""`Retry-After`, as servers send it: read by the webhooks and by workers over HTTP."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MOST_RETRY_AFTER_SECONDS: Final = 86_400.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply's headers ask to wait, given as a number or as a date, cut to a day; None without a usable
    one. The names of `headers` are in lower case, or found in any case."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        # Not int(): a number of thousands of digits raises.
        return float(min(MOST_RETRY_AFTER_SECONDS, float(asked[:20])))
    moment = _http_date(asked)
    if moment is None:
        return None
    # The date is by the server's clock, so its own Date says how far off it is.
    now = _http_date(headers.get("date", "")) or datetime.now(UTC)
    return min(MOST_RETRY_AFTER_SECONDS, max(0.0, (moment - now).total_seconds()))


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
