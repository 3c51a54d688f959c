"""Our kind for the comparison: its payload is the job's number, as with every peer."""

from typing import Any

from marshmallow import Schema, fields
from tally import tally

from workerpool import Context, kind


class Numbered(Schema):
    """The job's number."""

    i = fields.Integer(required=True)


@kind("bench_numbered", payload=Numbered)
def bench_numbered(payload: dict[str, Any], _context: Context) -> None:
    """Is counted, and does nothing else."""
    tally.started(payload["i"])
