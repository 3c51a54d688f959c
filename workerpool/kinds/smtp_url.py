"""SMTP_URL: which mail server, how to log in, and whether the connection is encrypted."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

Security = Literal["none", "starttls", "tls"]

FORMS: Final = "smtp://, smtp+starttls://, smtps:// or smtp+plain://, then [user:password@]host[:port]"

_DEFAULT_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465, "smtp+plain": 25}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """`security` is what must hold before credentials or mail are sent; it is never weakened at run time."""

    host: str
    port: int
    security: Security
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def parse_smtp_url(url: str) -> SmtpServer:
    """The server an SMTP_URL names.

    - `smtp://host` · STARTTLS required, except on a loopback host (localhost, 127.0.0.0/8, ::1), where it is not used
    - `smtp+starttls://host` · STARTTLS required everywhere, port 587
    - `smtps://host` · TLS from the first byte, port 465
    - `smtp+plain://host` · no encryption, for a relay inside a trusted network; refused together with a password
      unless the host is loopback

    A user name or password with reserved characters is percent-encoded. Raises ValueError with what is wrong; the
    text never holds the password.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is not a URL; write {FORMS}") from None
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"has an unknown scheme; write {FORMS}")
    if not host or port == 0:
        raise ValueError(f"names no host or no usable port; write {FORMS}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"has something behind the host; write {FORMS}")
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if password is not None and username is None:
        raise ValueError("has a password and no user name; write user:password@host")
    security = _security(scheme, host)
    if password is not None and security == "none" and not _is_loopback(host):
        raise ValueError("would send the password unencrypted; write smtp+starttls:// or smtps://")
    return SmtpServer(host, port or _DEFAULT_PORTS[scheme], security, username, password)


def _security(scheme: str, host: str) -> Security:
    if scheme == "smtps":
        return "tls"
    if scheme == "smtp+plain" or (scheme == "smtp" and _is_loopback(host)):
        return "none"
    return "starttls"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"
