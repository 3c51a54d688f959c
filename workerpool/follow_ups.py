"""Follow-ups: what a handler enqueues. Collected while it runs, checked at once, written with the end of its job."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import ValidationError

from sql import jobs
from sql.connection import Connection
from sql.errors import Rejected
from sql.jobs import Enqueued, NewJob
from workerpool.context import EnqueueRefused
from workerpool.kinds import documents, requests
from workerpool.kinds.registry import PayloadInvalid, Registry, UnknownKind
from workerpool.kinds.requests import NewJobSchema, Prepared

MOST: Final = 1000
LONGEST_PAYLOAD: Final = 1024 * 1024
# All of them are one statement, which must end well before the connection's time limit: an end that always takes
# longer would be sent again for ever.
LONGEST_TOGETHER: Final = 8 * 1024 * 1024

_SHAPE = NewJobSchema()


class FollowUps:
    """Those of one run of one job. `timeout_seconds` is for kinds that name none."""

    # Of the class until they change: nearly no job has any, and each has one of these.
    _collected: tuple[Prepared, ...] = ()
    _size = 0
    _closed = False

    def __init__(self, kinds: Registry, timeout_seconds: int) -> None:
        self._kinds = kinds
        self._timeout_seconds = timeout_seconds

    def add(self, asked: Mapping[str, Any]) -> None:
        """One more, by the fields of `POST /jobs` (`run_at` may be a datetime). Raises EnqueueRefused."""
        if self._closed:
            raise EnqueueRefused("the job has ended: what is enqueued now could not commit with it")
        prepared = self._prepared({name: value for name, value in asked.items() if value is not None})
        if prepared.idempotency_key:
            for known in self._collected:
                if known.idempotency_key == prepared.idempotency_key:
                    if known.request_hash != prepared.request_hash:
                        raise EnqueueRefused("idempotency_key: this job has used it with a different request")
                    return
        size = len(prepared.payload.encode())
        if size > LONGEST_PAYLOAD:
            raise EnqueueRefused(f"payload: takes {size:,} bytes; at most {LONGEST_PAYLOAD:,} are possible")
        if len(self._collected) == MOST:
            raise EnqueueRefused(f"a job may enqueue at most {MOST:,} others; enqueue one that enqueues the rest")
        if self._size + size > LONGEST_TOGETHER:
            raise EnqueueRefused(
                f"payload: all that one job enqueues may have at most {LONGEST_TOGETHER:,} bytes together"
            )
        self._size += size
        self._collected = (*self._collected, prepared)

    def take(self) -> tuple[Prepared, ...]:
        """All of them, in order; after it none can be added."""
        self._closed = True
        return self._collected

    def _prepared(self, asked: dict[str, Any]) -> Prepared:
        # What is checked, hashed and stored is what a reader of the stored JSON will get: tuples are lists by then.
        asked["payload"] = _as_read_back(asked.get("payload"))
        if isinstance(asked.get("run_at"), datetime):
            asked["run_at"] = _as_text(asked["run_at"])
        try:
            return requests.prepare(self._kinds, self._timeout_seconds, _SHAPE.load(asked))
        except ValidationError as error:
            said = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.messages_dict.items())
            raise EnqueueRefused(said) from None
        except UnknownKind as error:
            known = ", ".join(self._kinds.names())
            raise EnqueueRefused(f"kind: there is no kind {error.name!r} here; known: {known}") from None
        except PayloadInvalid as error:
            raise EnqueueRefused(str(error)) from None


class EndWithFollowUps:
    """Settles one job and enqueues what follows in one transaction: both or neither. It may be sent again.

    `enqueued` says what the follow-ups became, once the settle is known to be written.
    """

    def __init__(self, settle: Callable[[Connection], set[str]], follow_ups: Sequence[Prepared]) -> None:
        self._settle = settle
        self._new = [NewJob(**each._asdict()) for each in follow_ups]
        self.enqueued: list[Enqueued] = []

    def __call__(self, conn: Connection) -> set[str]:
        """The ids settled now. Raises FollowUpsRefused, and what the settle raises; then nothing is written."""
        with conn.transaction():
            settled = self._settle(conn)
            # Nothing settled: the lease is lost, or an earlier try was committed, follow-ups and all.
            if settled:
                try:
                    self.enqueued = jobs.enqueue(conn, self._new)
                except Rejected as error:
                    raise FollowUpsRefused(f"a follow-up cannot be stored: {error}", error.constraint) from error
        return settled


class FollowUpsRefused(Rejected):
    """The database refuses a value of a follow-up, not of the job itself."""


def _as_read_back(payload: Any) -> Any:
    try:
        return documents.read(json.dumps(payload, allow_nan=False).encode())
    except documents.Unreadable as error:
        raise EnqueueRefused(f"payload: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        # json's own words; they name types, not values.
        raise EnqueueRefused(f"payload: is not JSON: {error}") from None


def _as_text(time: datetime) -> str:
    if time.utcoffset() is None:
        raise EnqueueRefused("run_at: has no time zone; give datetime.now(UTC) + … or RFC 3339 text")
    try:
        return time.astimezone(UTC).isoformat()
    except OverflowError:
        raise EnqueueRefused("run_at: must lie in the years 1970 to 9000 in UTC") from None
