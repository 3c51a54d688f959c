"""Shapes of `/jobs`: what may be asked, how a list is filtered, and how a job is shown."""

import json
from typing import Any, Final

from marshmallow import Schema, fields, validate

from app.schemas.fields import Clamped, Number
from app.schemas.texts import document_text, object_text, scalar_text
from sql.rows import Job, Status
from workerpool.kinds.fields import Whole, name
from workerpool.kinds.requests import Strict

MAX_BULK = 1000
_MOST_SKIPPED = 2**31 - 1
JOB_ID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

_DOCUMENTS: Final = frozenset({"payload", "result", "progress"})
_JOB: Final = object_text((field, "%s") for field in Job._fields)
_SHOW: Final = [document_text if field in _DOCUMENTS else scalar_text for field in Job._fields]
_UNREADABLE = (
    "A value that another client put into the database and that cannot be read back is shown as"
    ' `{"unreadable": "why"}`.'
)


def _time(*, description: str = "", **options: Any) -> fields.String:
    said = {"description": description} if description else {}
    return fields.String(required=True, metadata={"format": "date-time", **said}, **options)


class BulkSchema(Strict):
    """Jobs to create, each on its own: one bad item does not refuse its neighbours."""

    jobs = fields.List(
        fields.Raw(allow_none=True),
        required=True,
        validate=validate.Length(max=MAX_BULK, error=f"at most {MAX_BULK} jobs in one request"),
        error_messages={"invalid": "must be a list"},
    )


class EmptySchema(Strict):
    """A body that says nothing: none at all, or `{}`."""


class JobFilterSchema(Strict):
    """The query of `GET /jobs`."""

    status = fields.String(
        validate=validate.OneOf(list(Status), error=f"must be one of {', '.join(Status)}"),
        metadata={"description": "Only jobs in this status."},
    )
    kind = name("kind", metadata={"description": "Only jobs of this registered kind."})
    queue = name("queue", metadata={"description": "Only jobs of this queue."})
    limit = Clamped(1, 200, load_default=50, metadata={"description": "Page length; clamped to 1..200.", "default": 50})
    offset = Number(
        load_default=0,
        validate=validate.Range(0, _MOST_SKIPPED, error=f"must be from 0 to {_MOST_SKIPPED}"),
        metadata={"description": "Jobs to skip. Slows down with depth; `cursor` does not.", "default": 0},
    )
    cursor = fields.String(
        validate=Whole(f"^{JOB_ID}$", error="must be the cursor of a Link header"),
        metadata={"description": 'Where the page before ended, from its `Link: <…>; rel="next"` header. Opaque.'},
    )


class JobSchema(Schema):
    """A job. The fields come in this order and are never left out."""

    id = fields.String(required=True, metadata={"format": "uuid", "description": "UUIDv7, lower case."})
    kind = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(Status)))
    attempts = fields.Integer(required=True, metadata={"description": "Claims so far: 0 until it first runs."})
    max_attempts = fields.Integer(required=True)
    last_error = fields.String(required=True, allow_none=True)
    payload = fields.Raw(required=True, allow_none=True, metadata={"description": f"As sent. {_UNREADABLE}"})
    run_at = _time()
    idempotency_key = fields.String(required=True, allow_none=True)
    created_at = _time()
    updated_at = _time(description="When it entered its present status.")
    queue = fields.String(required=True)
    priority = fields.Integer(required=True)
    cancel_requested = fields.Boolean(
        required=True, metadata={"description": "True while a running job's holder has yet to see the cancel."}
    )
    result = fields.Raw(
        required=True, allow_none=True, metadata={"description": f"What the handler returned. {_UNREADABLE}"}
    )
    progress = fields.Raw(
        required=True, allow_none=True, metadata={"description": f"What the handler last reported. {_UNREADABLE}"}
    )
    started_at = _time(allow_none=True, description="When its latest attempt began.")
    finished_at = _time(allow_none=True)
    timeout_seconds = fields.Integer(required=True, metadata={"description": "Of one attempt."})


class CancelledSchema(Schema):
    """The answer to a cancel."""

    status = fields.String(required=True, validate=validate.OneOf(["cancelled", "pending"]))
    job_id = fields.String(required=True, metadata={"format": "uuid"})


class BulkItemSchema(Schema):
    """What became of one item: `job` where there is one (201, 200), else `error` and `message` (409, 422, 503)."""

    status = fields.Integer(required=True, validate=validate.OneOf([200, 201, 409, 422, 503]))
    job = fields.Nested(JobSchema)
    error = fields.String()
    message = fields.String()
    details = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))


class BulkResultSchema(Schema):
    """One result per item, in order."""

    results = fields.List(fields.Nested(BulkItemSchema), required=True)


def bulk_result_text(status: int, job: Job | None, problem: dict[str, object] | None) -> str:
    """One result of a bulk as JSON text: a job, or a problem's body."""
    if job is not None:
        return f'{{"status":{status},"job":{job_text(job)}}}'
    return json.dumps({"status": status, **(problem or {})})


def job_text(job: Job) -> str:
    """A job as JSON text."""
    return _JOB % tuple([show(value) for show, value in zip(_SHOW, job, strict=True)])
