"""Tells the service how a job ended, until it has answered."""

import logging
import threading
from collections import Counter

import tenacity

from app.commands.remote.calls import Again, Calls, LeaseLost, Refused, pause_before
from app.commands.remote.held import Ending, Held
from app.commands.remote.work import Outcome

log = logging.getLogger(__name__)


class Settling:
    """Settles jobs, and counts how: `counted` by acked, failed, released, lost, given up."""

    def __init__(self, calls: Calls) -> None:
        self.counted: Counter[str] = Counter()
        self._calls = calls
        self._lock = threading.Lock()
        self._over = threading.Event()

    def give_up(self) -> None:
        """What is not settled by now is left to the end of its lease."""
        self._over.set()

    def settle(self, held: Held, outcome: Outcome) -> None:
        """Returns when the service has answered, the lease is lost, or all was given up. For any thread."""
        if held.settle() is Ending.LOST:
            self._count("lost", held, logging.WARNING, "lease lost, nothing settled")
            return
        try:
            try:
                self._send(held, outcome.verb, outcome.fields)
            except Refused as refused:
                log.warning("%s: %s; sending it without what can be left out", held.lease, refused)
                self._send(held, outcome.verb, outcome.plain)
        except LeaseLost as lost:
            self._count("lost", held, logging.WARNING, f"{outcome.said}, but the lease is lost: {lost}")
        except (Again, Refused) as error:
            self._count("given up", held, logging.ERROR, f"{outcome.said}, and the service was not told: {error}")
        else:
            level = logging.WARNING if outcome.verb == "fail" else logging.INFO
            self._count(_DONE[outcome.verb], held, level, f"{_DONE[outcome.verb]}: {outcome.said}")

    def _send(self, held: Held, verb: str, fields: dict[str, object]) -> None:
        for attempt in repeated(self._over):
            with attempt:
                if attempt.retry_state.attempt_number == 2:
                    log.warning("%s: no answer to its %s, trying on", held.lease, verb)
                self._calls.settle(held.lease, verb, fields)

    def _count(self, how: str, held: Held, level: int, said: str) -> None:
        with self._lock:
            self.counted[how] += 1
        log.log(level, "%s: %s", held.lease, said)


_DONE = {"ack": "acked", "fail": "failed", "release": "released"}


def repeated(over: threading.Event) -> tenacity.Retrying:
    """Attempts without end, with growing pauses, while they raise Again; the last is made when `over` is set."""

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return pause_before(state.attempt_number, getattr(error, "after", None))

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Again),
        wait=pause,
        stop=tenacity.stop_when_event_set(over),
        sleep=tenacity.sleep_using_event(over),
        reraise=True,
    )
