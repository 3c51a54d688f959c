"""Which servers the service itself uses: no webhook is for them, whatever address they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_NAMED: Final = re.compile(r"\bhost(?:addr)?\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")
_PORT: Final = re.compile(r":[0-9]+$")


def database_hosts(url: str) -> tuple[str, ...]:
    """The hosts of a libpq URL or `key=value` text, as far as it can be read; folders of sockets are none."""
    return tuple(dict.fromkeys(host for host in _hosts(url) if host and not host.startswith(("/", "@"))))


def _hosts(url: str) -> Iterator[str]:
    if "://" not in url:
        for quoted, plain in _NAMED.findall(url):
            yield from (quoted or plain).split(",")
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    for place in parts.netloc.rpartition("@")[2].split(","):
        yield unquote(_PORT.sub("", place)).strip("[]")
    for name, value in parse_qsl(parts.query):
        if name in ("host", "hostaddr"):
            yield from value.split(",")
