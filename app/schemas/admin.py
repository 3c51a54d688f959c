"""Shapes of `/v1/admin`: which queue, which dead letters, and how queues and the dead are shown."""

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from app.schemas.fields import Clamped, Flag
from app.schemas.jobs import JOB_ID
from app.schemas.texts import document_text, object_text, scalar_text
from app.schemas.v1_jobs import V1JobSchema, v1_job_fields
from sql.rows import Job
from workerpool.kinds.fields import Time, name, whole_number
from workerpool.kinds.requests import Strict

MOST_REDRIVEN = 10_000
DEFAULT_REDRIVEN = 1000
_LONGEST_ERROR_PART = 1000


class QueuePathSchema(Strict):
    """The queue in a path."""

    queue = name("queue", required=True)


class DeadCursor(fields.String):
    """Where a page of dead letters ended; loads as the time that job died and its id."""

    default_error_messages = {"cursor": "must be the cursor of a Link header"}
    _FORM = re.compile(f"(.+)_({JOB_ID})")

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        found = self._FORM.fullmatch(value)
        try:
            assert found is not None
            return Time().deserialize(found[1]), found[2]
        except (AssertionError, ValidationError):
            raise self.make_error("cursor") from None

    @staticmethod
    def after(job: Job) -> str:
        """The cursor of the page behind `job`."""
        return f"{job.updated_at}_{job.id}"


class DeadFilterSchema(Strict):
    """The query of a queue's dead letters."""

    limit = Clamped(1, 500, load_default=50, metadata={"description": "Clamped to 1..500.", "default": 50})
    cursor = DeadCursor(
        load_default=None,
        metadata={"description": 'Where the page before ended, from its `Link: <…>; rel="next"` header. Opaque.'},
    )


class RedriveSchema(Strict):
    """Which dead letters of the queue, and how many. A field given as null counts as absent."""

    limit = whole_number(
        1,
        MOST_REDRIVEN,
        allow_none=True,
        metadata={"description": f"Most jobs to redrive, those that died first first. Default {DEFAULT_REDRIVEN}."},
    )
    kind = name("kind", allow_none=True, metadata={"description": "Only jobs of this kind."})
    error_contains = fields.String(
        allow_none=True,
        validate=validate.Length(1, _LONGEST_ERROR_PART, error=f"must be 1 to {_LONGEST_ERROR_PART} characters"),
        error_messages={"invalid": "must be a text"},
        metadata={"description": "Only jobs whose `last_error` holds this text, letter for letter."},
    )
    dry_run = Flag(allow_none=True, metadata={"description": "True: only count, and change nothing. Default false."})


class RedrivenSchema(Schema):
    """What a redrive did."""

    matched = fields.Integer(
        required=True, metadata={"description": "Dead letters of the queue that passed the filters before this call."}
    )
    requeued = fields.Integer(
        required=True, metadata={"description": "How many this call redrove: queued, attempts 0, due now."}
    )


class DepthSchema(Schema):
    """How much of a queue is due."""

    queue = fields.String(required=True)
    depth = fields.Integer(required=True, metadata={"description": "Jobs that could be claimed now, paused or not."})


class QueueSchema(Schema):
    """A queue at a glance."""

    queue = fields.String(required=True)
    depth = fields.Integer(required=True, metadata={"description": "Jobs that could be claimed now, paused or not."})
    queued = fields.Integer(required=True, metadata={"description": "Waiting for their first attempt, due or not."})
    retrying = fields.Integer(required=True, metadata={"description": "Waiting for another attempt, due or not."})
    running = fields.Integer(required=True, metadata={"description": "Held by the pool or over a lease."})
    oldest_ready_seconds = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "How long the oldest due job has waited; null if none."},
    )
    paused_at = fields.String(
        required=True,
        allow_none=True,
        metadata={"format": "date-time", "description": "Since when it hands out nothing; null unless it is paused."},
    )


class QueuesSchema(Schema):
    """The queues that hold unfinished jobs or are paused, by name; at most 1,000."""

    queues = fields.List(fields.Nested(QueueSchema), required=True)


class DeadJobSchema(V1JobSchema):
    """A dead letter: `leased_until` is null, `updated_at` when it died."""

    state = fields.String(required=True, validate=validate.OneOf(["dead"]))
    timeout_seconds = fields.Integer(required=True, metadata={"description": "Of one attempt."})


class DeadSchema(Schema):
    """The dead letters of a queue, those that died last first."""

    queue = fields.String(required=True)
    jobs = fields.List(fields.Nested(DeadJobSchema), required=True)


def dead_text(queue: str, jobs: list[Job]) -> str:
    """Dead letters as the JSON text of `DeadSchema`."""
    return object_text((("queue", scalar_text(queue)), ("jobs", f"[{','.join(map(_dead_job_text, jobs))}]")))


def _dead_job_text(job: Job) -> str:
    first = v1_job_fields(job, document_text(job.payload), "dead", None)
    return object_text((*first, ("timeout_seconds", scalar_text(job.timeout_seconds))))
