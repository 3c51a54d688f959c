"""The pool's settings, from the environment, all checked before the first fork."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load
from marshmallow.validate import OneOf, Range, Regexp


class SettingsError(Exception):
    """The environment does not make valid settings; one line for each problem."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The variables of the same names; seconds and milliseconds as the names say."""

    database_url: str
    worker_processes: int
    worker_queues: tuple[str, ...]
    worker_metrics_bind_addr: tuple[str, int]
    lease_seconds: int
    shutdown_grace_seconds: float
    worker_prefetch: int
    worker_max_jobs: int | None
    worker_max_rss_mb: int | None
    poll_interval_ms: int
    retention_days: int | None
    log_format: str | None
    log_level: str
    kind_modules: tuple[str, ...]

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "PoolSettings":
        """Raises SettingsError. A variable that is set but empty counts as unset."""
        given = {name.lower(): value for name, value in environ.items() if value != ""}
        try:
            return cls(**_Environment().load(given))
        except ValidationError as error:
            raise SettingsError(_lines(error.messages)) from None


def _lines(messages: Any) -> str:
    return "\n".join(f"{name.upper()}: {text}" for name, texts in sorted(messages.items()) for text in _flat(texts))


def _flat(texts: Any) -> list[str]:
    if isinstance(texts, dict):
        return [text for nested in texts.values() for text in _flat(nested)]
    return list(texts)


class _List(fields.Field[tuple[str, ...]]):
    """A comma list of names."""

    def __init__(self, name: str, pattern: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name, self._pattern = name, re.compile(pattern)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        bad = [name for name in names if not self._pattern.fullmatch(name)]
        if bad or not names:
            raise ValidationError(f"{bad[0] if bad else value!r} is not a {self._name}; give a comma list of them")
        return names


class _Address(fields.Field[tuple[str, int]]):
    """`host:port`, an IPv6 host in brackets."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, int]:
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):(\d{1,5})", value)
        if not match or int(match[2]) > 65535:
            raise ValidationError(f"{value!r} is not an address; give host:port, as 127.0.0.1:9091")
        return match[1].strip("[]"), int(match[2])


def _between(low: float, high: float) -> Range:
    return Range(low, high, error="{input} is out of range; give {min} to {max}")


def _whole(**kwargs: Any) -> fields.Integer:
    return fields.Integer(error_messages={"invalid": "is not a whole number"}, **kwargs)


class _Environment(Schema):
    class Meta:
        unknown = EXCLUDE

    database_url = fields.String(
        required=True,
        error_messages={"required": "is not set; give the address of a PostgreSQL, as postgresql://user@host/name"},
        validate=Regexp(r"(?s)(postgres(ql)?://|.*=).*", error="is not a postgresql:// address"),
    )
    worker_processes = _whole(load_default=lambda: len(os.sched_getaffinity(0)), validate=_between(1, 512))
    worker_queues = _List("queue name", r"[A-Za-z0-9._:-]{1,128}", load_default=("default",))
    worker_metrics_bind_addr = _Address(load_default=("127.0.0.1", 9091))
    lease_seconds = _whole(load_default=30, validate=_between(2, 86_400))
    shutdown_grace_seconds = fields.Float(load_default=25.0, validate=_between(0, 3600))
    worker_prefetch = _whole(load_default=500, validate=_between(1, 500))
    worker_max_jobs = _whole(load_default=None, validate=_between(1, 10**12))
    worker_max_rss_mb = _whole(load_default=None, validate=_between(32, 10**7))
    poll_interval_ms = _whole(load_default=1000, validate=_between(10, 60_000))
    retention_days = _whole(load_default=None, validate=_between(1, 36_500))
    log_format = fields.String(load_default=None, validate=OneOf(["json", "text"], error="give json or text"))
    log_level = fields.String(load_default="info")
    kind_modules = _List("module", r"[A-Za-z_][\w.]*", load_default=())

    @post_load
    def _level(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["log_level"] = data["log_level"].lower()
        if data["log_level"] not in ("debug", "info", "warning", "error"):
            raise ValidationError("give debug, info, warning or error", "log_level")
        return data
