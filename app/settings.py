"""What the web process reads from its environment, checked once at start with every problem reported together."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import marshmallow
from environs import Env, EnvError, EnvValidationError
from marshmallow import validate

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/]*):(?P<port>[0-9]{1,5})")
_WHOLE_NUMBER = {"invalid": "must be a whole number"}
_SWITCH = {"invalid": "must be 1 or 0"}


class SettingsError(Exception):
    """The environment cannot be used; its text has one line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class AppSettings:
    """Settings of the web process. Durations carry their unit in the name, sizes are bytes."""

    database_url: str
    bind: str = "127.0.0.1:8080"
    web_concurrency: int = 2
    web_threads: int = 8
    shutdown_grace_seconds: float = 25
    max_body_bytes: int = 1024 * 1024
    api_token: str | None = None
    admin_token: str | None = None
    allow_anonymous: bool = False
    protect_metrics: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    idempotency_window_hours: int = 24
    job_timeout_seconds: int = 900
    kind_modules: tuple[str, ...] = ()
    log_format: str | None = None
    log_level: str = "info"
    prometheus_multiproc_dir: Path | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "AppSettings":
        """Reads and checks everything. Raises SettingsError."""
        env: Any = _Environment(environ)
        values: dict[str, Any] = {
            "database_url": env.str("DATABASE_URL", validate=_libpq_url),
            "bind": _bind(env),
            "web_concurrency": _whole(env, "WEB_CONCURRENCY", cls.web_concurrency, 1, 512),
            "web_threads": _whole(env, "WEB_THREADS", cls.web_threads, 1, 512),
            "shutdown_grace_seconds": env.float(
                "SHUTDOWN_GRACE_SECONDS",
                cls.shutdown_grace_seconds,
                validate=validate.Range(0, 3600, error="must be from 0 to 3600"),
                error_messages={"invalid": "must be a number of seconds"},
            ),
            "max_body_bytes": _whole(env, "MAX_BODY_BYTES", cls.max_body_bytes, 1024, 64 * 1024 * 1024),
            "api_token": env.str("API_TOKEN", None, validate=_token),
            "admin_token": env.str("ADMIN_TOKEN", None, validate=_token),
            "allow_anonymous": env.bool("ALLOW_ANONYMOUS", False, error_messages=_SWITCH),
            "protect_metrics": env.bool("PROTECT_METRICS", False, error_messages=_SWITCH),
            "trusted_proxies": tuple(env.networks("TRUSTED_PROXIES", []) or ()),
            "idempotency_window_hours": _whole(env, "IDEMPOTENCY_WINDOW_HOURS", cls.idempotency_window_hours, 1, 8760),
            "job_timeout_seconds": _whole(env, "JOB_TIMEOUT_SECONDS", cls.job_timeout_seconds, 1, 604_800),
            "kind_modules": tuple(env.names("KIND_MODULES", []) or ()),
            "log_format": env.str("LOG_FORMAT", None, validate=_one_of("json", "text")),
            "log_level": env.str("LOG_LEVEL", cls.log_level, validate=_one_of("debug", "info", "warning", "error")),
            "prometheus_multiproc_dir": env.path("PROMETHEUS_MULTIPROC_DIR", None),
        }
        settings = cls(**values)
        problems: list[str] = env.problems()
        if not problems:
            problems = settings._contradictions()
        if problems:
            raise SettingsError(problems)
        return settings

    def _contradictions(self) -> list[str]:
        problems = []
        if self.protect_metrics and not (self.api_token or self.admin_token):
            problems.append("PROTECT_METRICS: there is no token to ask for; set API_TOKEN or ADMIN_TOKEN")
        if self.api_token and self.api_token == self.admin_token:
            problems.append("ADMIN_TOKEN: is the same as API_TOKEN, so every client would be an admin; choose another")
        if not is_loopback(self.bind) and not self.may_bind_openly:
            problems.append(open_bind_problem(self.bind))
        return problems

    @property
    def may_bind_openly(self) -> bool:
        """Whether the routes may listen where other machines reach them."""
        return bool(self.api_token or self.admin_token or self.allow_anonymous)


def open_bind_problem(address: str) -> str:
    """The sentence a web process refuses to start with."""
    return (
        f"API_BIND_ADDR: {address} is reachable from other machines and no token is set; set API_TOKEN (and"
        " ADMIN_TOKEN) to long random texts, or bind 127.0.0.1, or set ALLOW_ANONYMOUS=1 if everyone may enqueue"
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


class _Environment(Env):
    """environs over a given mapping; an empty variable counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(eager=False)
        self._given = environ
        self.add_parser("networks", _networks)
        self.add_parser("names", _names)

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._given.get(env_key) or default

    def problems(self) -> list[str]:
        """One line per variable that cannot be used."""
        try:
            self.seal()
        except EnvValidationError as error:
            return [
                f"{name}: {' '.join(_sentence(text) for text in texts)}"
                for name, texts in cast(Mapping[str, list[str]], error.error_messages).items()
            ]
        return []


def _sentence(text: str) -> str:
    return "is not set; set it" if text == "Environment variable not set." else text


def _whole(env: Any, name: str, default: int, least: int, most: int) -> int:
    within = validate.Range(least, most, error=f"must be a whole number from {least} to {most}")
    value: int = env.int(name, default, validate=within, error_messages=_WHOLE_NUMBER)
    return value


def _one_of(*words: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value.lower() not in words:
            raise marshmallow.ValidationError(f"must be one of {', '.join(words)}")

    return check


def _libpq_url(value: str) -> None:
    # The value is never repeated in a message: it holds a password.
    if not re.match(r"postgres(ql)?://", value) and "=" not in value:
        raise marshmallow.ValidationError("must be a URL like postgresql://user:password@host:5432/name")


def _token(value: str) -> None:
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise marshmallow.ValidationError("must be visible ASCII without spaces, or no client could send it")


def _bind(env: Any) -> str:
    bind: str | None = env.str("API_BIND_ADDR", None, validate=_address) or env.str(
        "BIND_ADDR", None, validate=_address
    )
    if bind:
        return bind
    port = _whole(env, "PORT", 0, 0, 65535)
    return f"0.0.0.0:{port}" if port else AppSettings.bind


def _address(value: str) -> None:
    if value.startswith("unix:/"):
        return
    found = _HOST_PORT.fullmatch(value)
    if not found or int(found["port"]) > 65535:
        raise marshmallow.ValidationError("must be host:port, as 127.0.0.1:8080 or [::1]:8080")


def _networks(value: str | list[str]) -> list[Network]:
    try:
        return [ipaddress.ip_network(name, strict=False) for name in _names(value)]
    except ValueError as error:
        raise EnvError(f"must be addresses or networks separated by commas: {error}") from error


def _names(value: str | list[str]) -> list[str]:
    if isinstance(value, list):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]
