"""Our kind for the comparison: its payload is the job's number, and nobody checks it, as with every peer."""

from typing import Any

from marshmallow import INCLUDE, Schema
from tally import tally

from workerpool import Context, kind


class Unchecked(Schema):
    """Any object."""

    class Meta:
        """Takes what it does not know."""

        unknown = INCLUDE


@kind("bench_numbered", payload=Unchecked)
def bench_numbered(payload: dict[str, Any], _context: Context) -> None:
    """Is counted, and does nothing else."""
    tally.started(payload["i"])
