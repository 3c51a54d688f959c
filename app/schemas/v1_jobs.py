"""What `/v1` says of a job, leased or dead, and that text."""

from marshmallow import Schema, fields

from app.schemas.texts import scalar_text
from sql.rows import Job, Leased


class V1JobSchema(Schema):
    """What `/v1` says first of every job it shows. The fields come in this order and are never left out."""

    id = fields.String(required=True, metadata={"format": "uuid"})
    queue = fields.String(required=True)
    payload = fields.Raw(required=True, allow_none=True, metadata={"description": "As sent."})
    state = fields.String(required=True)
    attempts = fields.Integer(required=True, metadata={"description": "Attempts so far, a present one included."})
    max_attempts = fields.Integer(required=True)
    run_at = fields.String(required=True, metadata={"format": "date-time"})
    leased_until = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    priority = fields.Integer(required=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})
    updated_at = fields.String(required=True, metadata={"format": "date-time"})
    kind = fields.String(required=True)
    last_error = fields.String(required=True, allow_none=True)


def v1_job_fields(job: Leased | Job, payload: str, state: str, leased_until: str | None) -> tuple[tuple[str, str], ...]:
    """The fields of `V1JobSchema`, each as JSON text; `payload` is JSON text that can be read back."""
    return (
        ("id", scalar_text(job.id)),
        ("queue", scalar_text(job.queue)),
        ("payload", payload),
        ("state", scalar_text(state)),
        ("attempts", scalar_text(job.attempts)),
        ("max_attempts", scalar_text(job.max_attempts)),
        ("run_at", scalar_text(job.run_at)),
        ("leased_until", scalar_text(leased_until)),
        ("priority", scalar_text(job.priority)),
        ("created_at", scalar_text(job.created_at)),
        ("updated_at", scalar_text(job.updated_at)),
        ("kind", scalar_text(job.kind)),
        ("last_error", scalar_text(job.last_error)),
    )
