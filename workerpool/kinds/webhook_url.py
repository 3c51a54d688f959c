"""Where a webhook's URL points. One parser, used when the job is created and again when it is sent."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_LONGEST_URL: Final = 2_048
_LONGEST_HOST: Final = 253
_HOST: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL points, read by one parser only, so that no two can disagree about its host."""

    scheme: str
    host: str
    port: int
    path: str


def parse_target(url: str) -> Target:
    """Raises ValueError with what is wrong with `url` and what to write."""
    if not 1 <= len(url) <= _LONGEST_URL or not all("!" <= character <= "~" for character in url):
        raise ValueError(
            f"must be 1 to {_LONGEST_URL} visible ASCII characters; write other characters percent-encoded,"
            " an international host in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL; write https://host/path") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("must start with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if host is None or not _is_host(host, bracketed="[" in parts.netloc):
        raise ValueError("names no usable host; write https://host/path")
    if port == 0:
        raise ValueError("must name a port from 1 to 65535")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path)


def _is_host(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        try:
            socket.inet_pton(socket.AF_INET6, host)
        except OSError:
            return False
        return True
    return len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None
