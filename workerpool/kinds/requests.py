"""A request to enqueue: its shape, what its kind fills in, and which request it is. One rule for web and pool."""

import json
import math
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

from marshmallow import Schema, fields

from workerpool.kinds import job_fields
from workerpool.kinds.bounds import LONGEST_TIMEOUT
from workerpool.kinds.fields import name, whole_number
from workerpool.kinds.registry import Registry

_DEFAULT_PRIORITY = 0
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class Strict(Schema):
    """A JSON object whose unknown fields are refused: they are usually a typo of a real one."""

    error_messages = {"unknown": "is not a field here", "type": "must be a JSON object"}


class NewJobSchema(Strict):
    """A job to create. A field given as null counts as absent."""

    kind = name("kind", required=True, metadata={"description": "Picks the payload's shape and the handler."})
    payload = fields.Raw(
        required=True, allow_none=True, metadata={"description": "What the handler gets; its shape is the kind's."}
    )
    max_attempts = job_fields.max_attempts("Claims before the job is given up. Default: the kind's, or 3.")
    idempotency_key = job_fields.idempotency_key("One key makes one job, for as long as that job's row lives.")
    queue = name("queue", allow_none=True, metadata={"description": "Default: the kind's, or `default`."})
    priority = job_fields.priority()
    run_at = job_fields.run_at()
    timeout_seconds = whole_number(
        1,
        LONGEST_TIMEOUT,
        allow_none=True,
        metadata={"description": "Of one attempt. Default: the kind's, or the service's."},
    )


_FIELDS = NewJobSchema().fields
_NAMES = frozenset(_FIELDS)


def load(item: Any) -> dict[str, Any]:
    """`item` as `NewJobSchema` loads it. Raises marshmallow.ValidationError."""
    given = _NAMES.intersection(item) if isinstance(item, dict) else _NAMES
    loaded: dict[str, Any] = _shape(given).load(item)
    return loaded


@cache
def _shape(given: frozenset[str]) -> NewJobSchema:
    # An optional field that is absent takes as long to load as one that is there, and most are: 10 µs a job, so 6.
    # Our own names make 256 sets at most.
    return NewJobSchema(only=[name for name, field in _FIELDS.items() if field.required or name in given])


class Prepared(NamedTuple):
    """A request with nothing left open, named as `sql.jobs.NewJob` names it. `payload` is JSON text, `run_at` RFC 3339
    text or None for now, and `request_hash` says which request a key was used for.
    """

    queue: str
    kind: str
    priority: int
    max_attempts: int
    timeout_seconds: int
    payload: str
    run_at: str | None
    idempotency_key: str | None
    request_hash: str | None


def prepare(kinds: Registry, timeout_seconds: int, asked: Mapping[str, Any], key: str | None = None) -> Prepared:
    """What `asked` (as `NewJobSchema` loads it) comes to; `key` beats the one in it.

    `timeout_seconds` is for a kind that names none. Raises UnknownKind, and PayloadInvalid when the payload is not of
    its kind's shape.
    """
    kinds.check(asked["kind"], asked["payload"])
    kind = kinds.get(asked["kind"])
    key = key or asked.get("idempotency_key")
    payload = _canonical(asked["payload"])
    return Prepared(
        queue=_given(asked, "queue", kind.queue),
        kind=kind.name,
        priority=_given(asked, "priority", _DEFAULT_PRIORITY),
        max_attempts=_given(asked, "max_attempts", kind.max_attempts),
        timeout_seconds=_given(asked, "timeout_seconds", _timeout(kind.timeout_seconds, timeout_seconds)),
        payload=payload,
        run_at=asked.get("run_at"),
        idempotency_key=key,
        request_hash=request_hash(asked, payload) if key else None,
    )


def request_hash(asked: Mapping[str, Any], payload: str) -> str:
    """Which request this is, its key left out: two requests have one hash exactly if they ask for the same.

    Defaults are not filled in, so that a default changed by a deploy does not turn an honest repeat into a conflict.
    """
    rest = {
        name: value for name, value in asked.items() if value is not None and name not in ("idempotency_key", "payload")
    }
    return sha256(f"{_canonical(rest)}\n{payload}".encode()).hexdigest()


def _given(asked: Mapping[str, Any], name: str, default: Any) -> Any:
    value = asked.get(name)
    return default if value is None else value


def _timeout(of_kind: float | None, of_service: int) -> int:
    return of_service if of_kind is None else max(1, math.ceil(of_kind))
