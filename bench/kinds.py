"""Kinds that cost nothing, so that what is measured is the queue."""

from typing import Any

from marshmallow import Schema

from workerpool import Context, kind


class Nothing(Schema):
    """An empty object."""


@kind("bench_noop", payload=Nothing)
def bench_noop(payload: dict[str, Any], context: Context) -> None:
    """Does nothing."""
