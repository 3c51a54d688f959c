"""The heartbeat of a worker over HTTP: one thread extends the leases of all jobs in hand."""

import logging
import math
import threading
import time

from app.commands.remote.calls import Again, Calls, LeaseLost, Refused, pause_before
from app.commands.remote.held import Ending, Held, InHand

log = logging.getLogger(__name__)

_SOON_SECONDS = 2.0


class Heartbeat:
    """Extends each lease every third of its length; tells a job that its lease is lost or its cancel asked for.

    Without any answer a job goes on, however long: nobody else can have been given it by a service that is away, and
    the next answer decides.
    """

    def __init__(self, calls: Calls, in_hand: InHand, lease_ms: int) -> None:
        self.every_seconds = lease_ms / 3000
        self._calls = calls
        self._in_hand = in_hand
        self._over = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while held := self._in_hand.next_to_beat(unless=self._over.is_set):
            self._beat(held)
            # Whoever leases may be waiting for this beat.
            self._in_hand.wake()

    def stop(self) -> None:
        """Beats no more."""
        self._over.set()
        self._in_hand.wake()

    def _beat(self, held: Held) -> None:
        began = time.monotonic()
        try:
            cancel = self._calls.heartbeat(held.lease)
        except LeaseLost as lost:
            # While it is being settled, the answer to that says whether the lease was lost, or settled already.
            held.next_beat, held.unheard = math.inf, False
            if held.end(Ending.LOST):
                log.warning("%s: the lease is lost: %s", held.lease, lost)
        except (Again, Refused) as error:
            held.missed_beats += 1
            held.unheard = isinstance(error, Again) and error.unheard
            after = error.after if isinstance(error, Again) else None
            held.next_beat = time.monotonic() + max(self._soon(held.missed_beats), after or 0.0)
            if held.missed_beats == 1:
                log.warning("%s: no heartbeat, trying on: %s", held.lease, error)
        else:
            if held.missed_beats:
                log.info("%s: the heartbeat is answered again", held.lease)
            held.missed_beats, held.unheard = 0, False
            held.next_beat = began + self.every_seconds
            if cancel and held.end(Ending.CANCELLED):
                log.info("%s: cancel was requested", held.lease)

    def _soon(self, missed: int) -> float:
        # While the lease still holds, before the next would be due; once it has run out there is less haste, but
        # whoever answers again must hear from us before others come for the job.
        most = min(self.every_seconds, _SOON_SECONDS) if missed <= 3 else _SOON_SECONDS
        return min(pause_before(missed), most)
