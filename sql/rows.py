"""What the statements return, as frozen records.

Documents (payload, result, progress) stay JSON *text* and times RFC 3339 text made by the server, so that a value
Python cannot read spoils only its own job, in the place that parses it.
"""

from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """Where a job is in its life. The last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED_PERMANENT = "failed_permanent"
    CANCELLED = "cancelled"


class Job(NamedTuple):
    """A job as a reader sees it; the columns of the view `windlass.job_reading`, in its order."""

    id: str
    kind: str
    status: str
    attempts: int
    max_attempts: int
    last_error: str | None
    payload: str
    run_at: str
    idempotency_key: str | None
    created_at: str
    updated_at: str
    queue: str
    priority: int
    cancel_requested: bool
    result: str | None
    progress: str | None
    started_at: str | None
    finished_at: str | None
    timeout_seconds: int


class Page(NamedTuple):
    """Jobs in the order asked for; `more`: whether others follow, behind the limit or because these were large."""

    jobs: list[Job]
    more: bool


class Claimed(NamedTuple):
    """A job just claimed. Id and times stay text: objects of their own types cost 8 µs a job, numbers next to nothing.

    Of a job claimed over HTTP `payload` is empty: there may be gigabytes of them, see `sql.leases.leased`.
    """

    id: str
    kind: str
    payload: str
    attempt: int
    fence: int
    max_attempts: int
    timeout_seconds: int
    waited_seconds: float
    run_at: str
    priority: int


class Held(NamedTuple):
    """A row of `running`, as the steward compares it with the board."""

    id: str
    kind: str
    fence: int
    worker_id: int
    cancel_requested: bool


class Leased(NamedTuple):
    """A job under an HTTP lease, as its holder sees it. `payload` is JSON text, times are RFC 3339 text."""

    id: str
    queue: str
    payload: str
    attempts: int
    max_attempts: int
    run_at: str
    leased_until: str
    priority: int
    created_at: str
    updated_at: str
    kind: str
    last_error: str | None
    fence: int
    lease_ms_remaining: int
    timeout_seconds: int


class Unfinished(NamedTuple):
    """What of a queue has not ended; `depth` is how many of its jobs are due, `leased` how many are held over HTTP."""

    queue: str
    depth: int
    queued: int
    retrying: int
    running: int
    leased: int
    oldest_ready_seconds: float | None


class QueueOverview(NamedTuple):
    """A queue at a glance; `depth` is how many of its jobs are due, `paused_at` RFC 3339 text."""

    queue: str
    depth: int
    queued: int
    retrying: int
    running: int
    oldest_ready_seconds: float | None
    paused_at: str | None


class QueueDepth(NamedTuple):
    """How many jobs of a queue are in a status that is not an end."""

    queue: str
    status: str
    jobs: int


class QueueAge(NamedTuple):
    """How long the oldest due job of a queue has waited, in seconds."""

    queue: str
    seconds: float


class SnapshotHolder(NamedTuple):
    """Who keeps dead rows from being removed. `what`: session, standby, prepared transaction or replication slot;
    `name`: the session's number, or what the others are called. `seconds` is None where since when is not ours to know.
    """

    what: str
    name: str
    application: str
    owner: str
    seconds: float | None
    transactions: int


class TokenFound(NamedTuple):
    """What is known of a token that somebody sent. `seconds_left` is negative when it has expired, None without an end;
    `note_use`: its last use was noted a minute ago or longer, or never.
    """

    id: int
    scopes: list[str]
    revoked: bool
    seconds_left: float | None
    note_use: bool


class Token(NamedTuple):
    """A token as people see it. `state` is live, expired or revoked; times are RFC 3339 text."""

    id: int
    name: str
    scopes: list[str]
    state: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
