"""Shapes of `/v1`: what producers and workers over HTTP may ask, and how a leased job is shown."""

from marshmallow import Schema, fields, validate

from app.schemas.fields import Flag
from app.schemas.texts import object_text, scalar_text
from app.schemas.v1_jobs import V1JobSchema, v1_job_fields
from sql.rows import Leased
from workerpool.kinds import job_fields
from workerpool.kinds.fields import name, whole_number
from workerpool.kinds.requests import Strict

DAY_MS = 86_400_000
LONGEST_WAIT_MS = 20_000
DEFAULT_RETRY_MS = 5000
_MOST_KINDS = 100


def _text(**options: object) -> fields.String:
    return fields.String(error_messages={"invalid": "must be a text"}, **options)  # type: ignore[arg-type]


def _token() -> fields.String:
    return _text(
        allow_none=True,
        metadata={
            "description": "Of the lease that is meant. Without it the call acts on whatever lease is live, unless the"
            " service is set to refuse that."
        },
    )


class NewLeasableJobSchema(Strict):
    """A job to create. A field given as null counts as absent, but for the payload."""

    queue = name("queue", required=True)
    payload = fields.Raw(
        required=True, allow_none=True, metadata={"description": "Any JSON; of a given kind, of that kind's shape."}
    )
    max_attempts = job_fields.max_attempts("Leases before the job is given up. Default 5.")
    run_at = job_fields.run_at()
    priority = job_fields.priority()
    idempotency_key = job_fields.idempotency_key(
        "One key makes one job, for a day unless the service is set otherwise."
    )
    kind = name("kind", allow_none=True, metadata={"description": "Default `external`."})


class EnqueuedSchema(Schema):
    """The job, new or found by its key."""

    job_id = fields.String(required=True, metadata={"format": "uuid", "description": "UUIDv7, lower case."})


class LeaseRequestSchema(Strict):
    """Which jobs to take, how many at most, and for how long."""

    queue = name("queue", required=True)
    limit = whole_number(1, 1000, required=True, metadata={"description": "Most jobs to take."})
    lease_ms = whole_number(
        100, DAY_MS, required=True, metadata={"description": "How long the jobs are the caller's, from now."}
    )
    kinds = fields.List(
        name("kind"),
        allow_none=True,
        validate=validate.Length(1, _MOST_KINDS, error=f"must name 1 to {_MOST_KINDS} kinds"),
        error_messages={"invalid": "must be a list"},
        metadata={"description": 'Only jobs of these kinds. Default: `["external"]`, which no pool runs.'},
    )
    wait_ms = whole_number(
        0,
        LONGEST_WAIT_MS,
        allow_none=True,
        metadata={
            "description": "How long to wait when nothing is due. When too many wait already, the answer is empty at"
            " once. Default 0."
        },
    )


class LeaseSchema(V1JobSchema):
    """A leased job."""

    state = fields.String(required=True, validate=validate.OneOf(["leased"]))
    leased_until = fields.String(required=True, metadata={"format": "date-time"})
    lease_token = fields.String(
        required=True,
        metadata={
            "description": "Names this lease. Send it with every call about the job. It guards against holders that are"
            " late or mistaken, not against another client with the API's token: the job's id tells it."
        },
    )
    lease_ms_remaining = fields.Integer(
        required=True, metadata={"description": "Until the lease ends, so that no clocks need to agree."}
    )
    timeout_seconds = fields.Integer(
        required=True, metadata={"description": "Of one attempt. It is the holder who keeps to it."}
    )


class LeasesSchema(Schema):
    """What was taken."""

    jobs = fields.List(
        fields.Nested(LeaseSchema),
        required=True,
        metadata={
            "description": "In the order to work on them: `priority` high first, then `run_at`, then `id`. Which they"
            " are when the limit does not take all that is due: kinds of equal priority take turns."
        },
    )


class AckSchema(Strict):
    """That a job is done."""

    lease_token = _token()
    result = fields.Raw(allow_none=True, metadata={"description": "Any JSON, kept with the job."})


class FailSchema(Strict):
    """That an attempt failed."""

    reason = _text(required=True, metadata={"description": "Kept as the job's `last_error`; cut at 8,192 characters."})
    retry_ms = whole_number(
        0, DAY_MS, allow_none=True, metadata={"description": f"Until the next attempt. Default {DEFAULT_RETRY_MS}."}
    )
    permanent = Flag(allow_none=True, metadata={"description": "True: no other attempt. Default false."})
    lease_token = _token()


class HeartbeatSchema(Strict):
    """That the holder lives."""

    extend_ms = whole_number(
        100,
        DAY_MS,
        required=True,
        metadata={"description": "The lease ends so long from now, sooner or later than before."},
    )
    progress = fields.Raw(allow_none=True, metadata={"description": "Any JSON, shown with the job."})
    lease_token = _token()


class ReleaseSchema(Strict):
    """That a job goes back."""

    lease_token = _token()


def leases_text(jobs: list[tuple[Leased, str]]) -> str:
    """Leased jobs, each with its token, as the JSON text of `LeasesSchema`."""
    return f'{{"jobs":[{",".join(_lease_text(job, token) for job, token in jobs)}]}}'


def _lease_text(job: Leased, token: str) -> str:
    # Whoever hands a job out has read its payload.
    first = v1_job_fields(job, job.payload, "leased", job.leased_until)
    return object_text(
        (
            *first,
            ("lease_token", scalar_text(token)),
            ("lease_ms_remaining", scalar_text(job.lease_ms_remaining)),
            ("timeout_seconds", scalar_text(job.timeout_seconds)),
        )
    )
