"""Runs one job: whatever its handler does, it ends in exactly one `Outcome`."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sql.rows import Claimed
from workerpool.context import Context
from workerpool.follow_ups import FollowUps
from workerpool.interrupts import DeadlineReached, Interrupts, ToldToLeave
from workerpool.kinds import documents
from workerpool.kinds.registry import PayloadInvalid, Registry
from workerpool.kinds.requests import Prepared
from workerpool.outcomes import Cancelled, Dead, Outcome, Released, Retry, Succeeded, describe

log = logging.getLogger(__name__)

RESULT_LIMIT = 1024 * 1024
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Ending(NamedTuple):
    """How a run ended, and what is to be enqueued in the same transaction; only an end the handler chose has any."""

    outcome: Outcome
    follow_ups: tuple[Prepared, ...] = ()


# How nearly all runs end.
_NOTHING_TO_SAY = Ending(Succeeded(None))


class Execution:
    """Runs the jobs of one worker. `timeout_seconds` is for follow-ups of a kind that names none, `is_cancelled` reads
    the board, `report` stores progress.
    """

    def __init__(
        self,
        registry: Registry,
        interrupts: Interrupts,
        timeout_seconds: int,
        is_cancelled: Callable[[], bool],
        report: Callable[[Claimed, Any], None],
    ) -> None:
        self._registry = registry
        self._interrupts = interrupts
        self._timeout_seconds = timeout_seconds
        self._is_cancelled = is_cancelled
        self._report = report

    def run(self, job: Claimed, queue: str, began: float, deadline: float, claimed_at: float) -> Ending:
        """Runs `job` to its end. Only errors of our own come out as exceptions.

        The three times are readings of `time.monotonic()`.
        """
        kind = self._registry.get(job.kind)
        assert kind.handler is not None
        follow_ups = FollowUps(self._registry, self._timeout_seconds)
        context = Context(job, queue, deadline, self._is_cancelled, self._report, follow_ups.add, claimed_at)
        try:
            try:
                self._interrupts.arm(deadline, began)
                returned = kind.handler(self._payload(job), context)
            finally:
                self._interrupts.disarm()
        except ToldToLeave:
            return Ending(Released())
        except DeadlineReached:
            return Ending(Retry(f"timed out after {job.timeout_seconds} s"))
        except (Cancelled, Retry, Dead) as chosen:
            return _ending(chosen, follow_ups)
        except kind.permanent_errors as error:
            log.debug("handler of %s raised %s, which is permanent", job.kind, type(error).__name__)
            return Ending(Dead(describe(error)))
        except Exception as error:
            # The type only: messages and tracebacks can hold what was in the payload.
            log.debug("handler of %s raised %s", job.kind, type(error).__name__)
            return Ending(Retry(describe(error)))
        except BaseException as error:
            # SystemExit and its like: the handler's wish to end the process is not ours to grant.
            return Ending(Retry(describe(error)))
        if returned is None:
            taken = follow_ups.take()
            return _NOTHING_TO_SAY._replace(follow_ups=taken) if taken else _NOTHING_TO_SAY
        if isinstance(returned, (Retry, Dead)):
            return _ending(returned, follow_ups)
        outcome = _succeeded(returned)
        # A result that cannot be kept is an end the handler did not choose.
        return _ending(outcome, follow_ups) if isinstance(outcome, Succeeded) else Ending(outcome)

    def _payload(self, job: Claimed) -> Any:
        """As its kind's schema, whose code is the kind's author's, loads it. Raises Dead."""
        try:
            return self._registry.check(job.kind, documents.read_back(job.payload))
        except documents.Unreadable as error:
            raise Dead(f"the payload {error}") from None
        except PayloadInvalid as error:
            raise Dead(str(error)) from None


def _ending(outcome: Outcome, follow_ups: FollowUps) -> Ending:
    return Ending(outcome, follow_ups.take() if isinstance(outcome, Succeeded | Dead) else ())


def _succeeded(returned: Any) -> Outcome:
    """The result as JSON text that PostgreSQL can store and Python can read back."""
    try:
        text = _as_json(returned)
        if "\\u0000" in text or _LONE_SURROGATE.search(text):
            # They would be refused, and the job would never settle.
            text = _as_json(_storable(returned))
    except Exception as error:
        return Dead(f"the handler's result is not JSON: {type(error).__name__}")
    if len(text) > RESULT_LIMIT:
        return Dead(f"the handler's result is longer than {RESULT_LIMIT} characters")
    return Succeeded(text)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value
