"""Kinds that cost nothing, or a given time, so that what is measured is the queue."""

import ctypes
import time
from typing import Any

from marshmallow import Schema, fields

from bench import stamps
from workerpool import Context, kind

_PR_SET_TIMERSLACK = 29


class Nothing(Schema):
    """An empty object."""


class Duration(Schema):
    """How long the handler sleeps, in milliseconds."""

    ms = fields.Float(required=True)


@kind("bench_noop", payload=Nothing)
def bench_noop(payload: dict[str, Any], context: Context) -> None:
    """Does nothing."""


@kind("bench_sleep", payload=Duration)
def bench_sleep(payload: dict[str, Any], context: Context) -> None:  # noqa: ARG001
    """Sleeps, as a handler that waits for somebody else does."""
    nap(payload["ms"])


@kind("bench_stamp", payload=Duration)
def bench_stamp(payload: dict[str, Any], context: Context) -> None:
    """Says when it started, then sleeps."""
    stamps.write(context.job.id)
    if payload["ms"]:
        nap(payload["ms"])


def nap(milliseconds: float) -> None:
    """Sleeps as long as it says: the kernel may add 50 µs otherwise, a twentieth of a handler of 1 ms."""
    if not _punctual:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        _punctual.append(True)
    time.sleep(milliseconds / 1000)


_punctual: list[bool] = []
