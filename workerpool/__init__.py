"""Claim, run, settle, survive: the pool of processes that works the queue.

The job half (`worker`, `execution`, `settlement`, …) and the process half (`supervisor`, `child`, `board`, …) meet
only in `__main__`. This module exports what authors of kinds need and loads nothing else: both the web processes and
the supervisor import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workerpool.context import Context, EnqueueRefused
from workerpool.kinds.environment import SettingsError
from workerpool.kinds.registry import kind
from workerpool.outcomes import Dead, Retry
from workerpool.retry import Backoff

if TYPE_CHECKING:
    from workerpool.__main__ import run

__all__ = ["Backoff", "Context", "Dead", "EnqueueRefused", "Retry", "SettingsError", "kind", "run"]


def __getattr__(name: str) -> Any:
    # `run` starts a whole pool; importing it for everybody would load the database half into every web process.
    if name == "run":
        from workerpool.__main__ import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
