"""`external`: work for programs that are not this pool. Any JSON; taken only over a lease, never run here."""

from __future__ import annotations

from workerpool.kinds.registry import Kind, declare

declare(Kind(name="external", payload=None, handler=None))
