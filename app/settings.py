"""What the web process reads from its environment, checked once at start with every problem reported together."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workerpool.kinds.environment import Environment, SettingsError, host_port, names

__all__ = ["AppSettings", "SettingsError", "is_loopback", "open_bind_problem"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AppSettings:
    """Settings of the web process. Durations carry their unit in the name, sizes are bytes."""

    database_url: str
    bind: str = "127.0.0.1:8080"
    web_concurrency: int = 2
    web_threads: int = 8
    shutdown_grace_seconds: float = 25
    max_body_bytes: int = 1024 * 1024
    max_queue_depth: int | None = None
    api_token: str | None = None
    admin_token: str | None = None
    require_token: bool = False
    allow_anonymous: bool = False
    protect_metrics: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    rate_limit_per_minute: int | None = None
    idempotency_window_hours: int = 24
    require_lease_token: bool = False
    job_timeout_seconds: int = 900
    kind_modules: tuple[str, ...] = ()
    log_format: str | None = None
    log_level: str = "info"
    prometheus_multiproc_dir: Path | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "AppSettings":
        """Reads and checks everything. Raises SettingsError."""
        env = Environment(environ)
        settings = cls(
            database_url=env.database_url(),
            bind=_bind(env),
            web_concurrency=env.whole("WEB_CONCURRENCY", cls.web_concurrency, 1, 512),
            web_threads=env.whole("WEB_THREADS", cls.web_threads, 1, 512),
            shutdown_grace_seconds=env.grace_seconds(),
            max_body_bytes=env.whole("MAX_BODY_BYTES", cls.max_body_bytes, 1024, 64 * 1024 * 1024),
            max_queue_depth=env.read("MAX_QUEUE_DEPTH", _depth, None),
            api_token=env.read("API_TOKEN", _token, None),
            admin_token=env.read("ADMIN_TOKEN", _token, None),
            require_token=env.switch("REQUIRE_TOKEN"),
            allow_anonymous=env.switch("ALLOW_ANONYMOUS"),
            protect_metrics=env.switch("PROTECT_METRICS"),
            trusted_proxies=env.read("TRUSTED_PROXIES", _networks, ()),
            rate_limit_per_minute=env.read("RATE_LIMIT_PER_MINUTE", _rate, None),
            idempotency_window_hours=env.whole("IDEMPOTENCY_WINDOW_HOURS", cls.idempotency_window_hours, 1, 8760),
            require_lease_token=env.switch("REQUIRE_LEASE_TOKEN"),
            job_timeout_seconds=env.job_timeout_seconds(),
            kind_modules=env.kind_modules(),
            log_format=env.log_format(),
            log_level=env.log_level(),
            prometheus_multiproc_dir=env.read("PROMETHEUS_MULTIPROC_DIR", Path, None),
        )
        env.problems += settings._contradictions()
        env.check()
        return settings

    def _contradictions(self) -> list[str]:
        problems = []
        if self.protect_metrics and not self.asks_for_tokens:
            problems.append(
                "PROTECT_METRICS: there is no token to ask for; set API_TOKEN, ADMIN_TOKEN or REQUIRE_TOKEN=1"
            )
        if self.require_token and self.allow_anonymous:
            problems.append("REQUIRE_TOKEN: says the contrary of ALLOW_ANONYMOUS; set one of the two")
        if self.api_token and self.api_token == self.admin_token:
            problems.append("ADMIN_TOKEN: is the same as API_TOKEN, so every client would be an admin; choose another")
        if not is_loopback(self.bind) and not self.may_bind_openly:
            problems.append(open_bind_problem(self.bind))
        return problems

    @property
    def asks_for_tokens(self) -> bool:
        """Whether any route wants a token: of the two, or one of `windlass token`."""
        return bool(self.api_token or self.admin_token or self.require_token)

    @property
    def may_bind_openly(self) -> bool:
        """Whether the routes may listen where other machines reach them."""
        return self.asks_for_tokens or self.allow_anonymous


def open_bind_problem(address: str) -> str:
    """The sentence a web process refuses to start with."""
    return (
        f"API_BIND_ADDR: {address} is reachable from other machines and no token is set; set API_TOKEN (and"
        " ADMIN_TOKEN) to long random texts, or REQUIRE_TOKEN=1 for the tokens of `windlass token`, or bind 127.0.0.1,"
        " or set ALLOW_ANONYMOUS=1 if everyone may enqueue"
    )


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches `bind` (`host:port`, `unix:path`). Names other than localhost count as open."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be visible ASCII without spaces, or no client could send it")
    return value


def _bind(env: Environment) -> str:
    bind = env.read("API_BIND_ADDR", _address, "") or env.read("BIND_ADDR", _address, "")
    if bind:
        return bind
    port = env.whole("PORT", 0, 0, 65535)
    return f"0.0.0.0:{port}" if port else AppSettings.bind


def _address(value: str) -> str:
    if not value.startswith("unix:/"):
        host_port(value)
    return value


def _depth(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,6}|10000000", value):
        raise ValueError("must be a whole number from 1 to 10000000; leave it unset for no limit")
    return int(value)


def _rate(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,5}|1000000", value):
        raise ValueError("must be a whole number from 1 to 1000000; leave it unset for no limit")
    return int(value)


def _networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(name, strict=False) for name in names(value))
    except ValueError as error:
        raise ValueError(f"must be addresses or networks separated by commas: {error}") from error
