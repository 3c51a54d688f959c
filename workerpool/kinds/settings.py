"""The settings of the shipped kinds, from the environment, checked once and all at once.

Web and pool read the same variables: the web process refuses at creation what the pool could never do.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from marshmallow import ValidationError

from workerpool.kinds.address_guard import AllowedNet, parse_allowed_nets
from workerpool.kinds.environment import Environment, SettingsError
from workerpool.kinds.payload import mail_address
from workerpool.kinds.service_hosts import database_hosts
from workerpool.kinds.smtp_url import SmtpServer, parse_smtp_url

VARIABLES: Final = (
    "SMTP_URL",
    "SMTP_FROM",
    "MEDIA_ROOT",
    "IMAGE_MAX_PIXELS",
    "WEBHOOK_SECRET",
    "WEBHOOK_ALLOW_NETS",
    "WEBHOOK_ALLOW_PORTS",
    "KIND_MODULES",
    "DATABASE_URL",
)

_DEFAULT_MAX_PIXELS: Final = 25_000_000
# Pillow's own guard begins to act a little above this, and ours must come first.
_MOST_PIXELS: Final = 89_000_000
_SECRET_PREFIX: Final = "whsec_"


__all__ = ["VARIABLES", "KindSettings", "SettingsError", "current"]


@dataclass(frozen=True)
class KindSettings:
    """What the shipped kinds take from the environment.

    - `SMTP_URL`: the mail server, see `smtp_url.parse_smtp_url`. Unset: `send_email` fails permanently and says so.
    - `SMTP_FROM`: the address mail is sent from. Unset: the user name of SMTP_URL if it is an address, else `windlass@`
      and this host's name.
    - `MEDIA_ROOT`: absolute path of the folder `resize_image` reads and writes in. Unset: it fails permanently and
      says so.
    - `IMAGE_MAX_PIXELS`: most pixels a picture may have before and after, 1 to 89,000,000. Unset: 25,000,000.
    - `WEBHOOK_SECRET`: `whsec_` and the base64 of 24 to 64 random bytes; during a rotation several, separated by
      spaces, each of which signs. Unset: `webhook_delivery` fails permanently and says so.
    - `WEBHOOK_ALLOW_NETS`: comma list of networks that webhooks may reach although they are not public, each with a
      port or for every port: `127.0.0.1/32:9000, [::1]/128:9000, 10.1.0.0/16, fd00::/8`. Unset: public addresses only.
    - `WEBHOOK_ALLOW_PORTS`: comma list of the ports webhooks may use on public addresses. Unset: `80,443`.
    - `DATABASE_URL`: only its hosts count here: no webhook may reach them.
    - `KIND_MODULES`: comma list of the modules that declare kinds of your own, in dotted form.

    An empty variable counts as unset.
    """

    smtp: SmtpServer | None = field(default=None, repr=False)
    smtp_from: str | None = None
    media_root: Path | None = None
    image_max_pixels: int = _DEFAULT_MAX_PIXELS
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    webhook_allow_nets: tuple[AllowedNet, ...] = ()
    webhook_allow_ports: frozenset[int] = frozenset({80, 443})
    kind_modules: tuple[str, ...] = ()
    database_hosts: tuple[str, ...] = ()

    @property
    def service_hosts(self) -> tuple[str, ...]:
        """The servers that the service itself uses."""
        return (*self.database_hosts, *([self.smtp.host] if self.smtp is not None else []))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> KindSettings:
        """Read and check all of them. Raises SettingsError with every problem, one line each."""
        env = Environment(environ)
        settings = cls(
            smtp=env.read("SMTP_URL", parse_smtp_url, None),
            smtp_from=env.read("SMTP_FROM", _mail_address, None),
            media_root=env.read("MEDIA_ROOT", _folder, None),
            image_max_pixels=env.whole("IMAGE_MAX_PIXELS", _DEFAULT_MAX_PIXELS, 1, _MOST_PIXELS),
            webhook_secrets=env.read("WEBHOOK_SECRET", _secrets, ()),
            webhook_allow_nets=env.read("WEBHOOK_ALLOW_NETS", parse_allowed_nets, ()),
            webhook_allow_ports=env.read("WEBHOOK_ALLOW_PORTS", _ports, frozenset({80, 443})),
            kind_modules=env.kind_modules(),
            database_hosts=env.read("DATABASE_URL", database_hosts, ()),
        )
        env.check()
        return settings


def current() -> KindSettings:
    """The settings of this process as its environment now stands; parsed again only when it changed.

    Raises SettingsError.
    """
    return _parsed(tuple(os.environ.get(name, "") for name in VARIABLES))


@lru_cache(maxsize=4)
def _parsed(values: tuple[str, ...]) -> KindSettings:
    return KindSettings.from_env(dict(zip(VARIABLES, values, strict=True)))


def _mail_address(value: str) -> str:
    try:
        mail_address(value)
    except ValidationError as error:
        raise ValueError(str(error.messages[0])) from None
    return value


def _folder(value: str) -> Path:
    if "\x00" in value or not Path(value).is_absolute():
        raise ValueError(f"must be an absolute path, not {value!r}")
    return Path(value)


def _secrets(value: str) -> tuple[str, ...]:
    found = tuple(value.split())
    for position, secret in enumerate(found, start=1):
        which = f"secret {position} of {len(found)} " if len(found) > 1 else ""
        try:
            key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if not secret.startswith(_SECRET_PREFIX) or not 24 <= len(key) <= 64:
            raise ValueError(
                f"{which}must be {_SECRET_PREFIX} and the base64 of 24 to 64 random bytes; make one with:"
                f' echo "{_SECRET_PREFIX}$(head -c 32 /dev/urandom | base64)"'
            )
    return found


def _ports(value: str) -> frozenset[int]:
    ports = [each.strip() for each in value.split(",") if each.strip()]
    for port in ports:
        if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
            raise ValueError(f"must be a comma list of ports from 1 to 65535; {port!r} is none")
    return frozenset(map(int, ports))
