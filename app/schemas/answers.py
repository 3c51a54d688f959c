"""Shapes of the answers that are not a job. They document; nothing is dumped through them."""

from marshmallow import Schema, fields, validate

from app.problems import STATUSES


class ErrorSchema(Schema):
    """What every refusal and every failure looks like, from whichever route."""

    error = fields.String(required=True, validate=validate.OneOf(list(STATUSES)))
    message = fields.String(required=True)
    details = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Of a 422: field path to what is wrong with it."},
    )


class HealthSchema(Schema):
    """The database answers."""

    status = fields.String(required=True, validate=validate.OneOf(["ok"]))
