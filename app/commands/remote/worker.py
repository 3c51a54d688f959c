"""A worker over HTTP: takes jobs as it has room, works on each in a thread, and leaves in good order."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.commands.console import Failure
from app.commands.remote.calls import Again, Calls, Lease, Refused, pause_before
from app.commands.remote.heartbeat import Heartbeat
from app.commands.remote.held import Ending, Held, InHand
from app.commands.remote.settling import Settling
from app.commands.remote.signals import Signals
from app.commands.remote.work import Outcome, Work, fail, release

log = logging.getLogger(__name__)

_LONGEST_WAIT_MS, _SHORTEST_WAIT_MS = 20_000, 1_000
# An empty answer that comes this much sooner than asked for was not waited for.
_SOONER = 0.9
# After the grace: commands are killed, jobs released.
_LAST_SECONDS = 2.5
_LINE_SECONDS = 30.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Terms:
    """What to take and how: see the options of `windlass remote`."""

    queue: str
    kinds: tuple[str, ...]
    concurrency: int
    lease_ms: int
    poll_interval_ms: int
    grace_seconds: float


class Worker:
    """One worker; `work` is called in a thread for each job, at most `concurrency` at once."""

    def __init__(self, calls: Calls, terms: Terms, work: Work) -> None:
        self._calls = calls
        self._terms = terms
        self._work = work
        self._in_hand = InHand(terms.concurrency)
        self._heartbeat = Heartbeat(calls, self._in_hand, terms.lease_ms)
        self._settling = Settling(calls)
        self._stopping = threading.Event()
        # Not longer than the grace: the answer may hold jobs, and somebody must be there to give them back.
        self._wait_ms = min(_LONGEST_WAIT_MS, max(_SHORTEST_WAIT_MS, int(terms.grace_seconds * 1000)))
        self._broken: Failure | None = None
        self._welcome = False
        self._trouble = _Trouble()

    def run(self, signals: Signals) -> None:
        """Until a signal, or until it turns out that no job can ever be had.

        Raises Failure then, and when a thread of ours broke.
        """
        beating = self._start("heartbeat", self._heartbeat.run, signals)
        taking = self._start("lease", self._take, signals)
        signals.wait()
        self._drain(taking)
        self._heartbeat.stop()
        beating.join(_LOOK_SECONDS)
        if self._broken is not None:
            raise self._broken
        counted = ", ".join(f"{how} {count}" for how, count in sorted(self._settling.counted.items()))
        log.info("ends; %s", counted or "no job was taken")

    def _start(self, name: str, target: Callable[[], None], signals: Signals) -> threading.Thread:
        def run() -> None:
            try:
                target()
            except Failure as failure:
                self._broken = failure
            except Exception as error:
                # Without it nothing would be taken, or every lease would run out: better to leave, and be restarted.
                log.exception("the thread %s broke", name)
                self._broken = Failure(f"the thread {name} broke: {type(error).__name__}")
            finally:
                signals.wake()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _drain(self, taking: threading.Thread) -> None:
        self._stopping.set()
        self._in_hand.wake()
        until = time.monotonic() + self._terms.grace_seconds
        if in_hand := self._in_hand.all():
            log.info("takes no more; %d in hand have %g s", len(in_hand), self._terms.grace_seconds)
        while taking.is_alive() and time.monotonic() < until:
            # Repeated, because the request may not have been under way yet.
            self._calls.stop_leasing()
            taking.join(_LOOK_SECONDS)
        if not self._in_hand.empty(until):
            for held in self._in_hand.all():
                held.end(Ending.DRAINED)
            self._in_hand.empty(until + _LAST_SECONDS)
        self._settling.give_up()
        self._in_hand.empty(time.monotonic() + _LOOK_SECONDS)
        for held in self._in_hand.all():
            log.error("%s: given up; its lease ends by itself", held.lease)

    # -- the thread that leases

    def _take(self) -> None:
        while free := self._in_hand.free(unless=self._stopping.is_set):
            asked = time.monotonic()
            try:
                leases = self._calls.lease(self._terms.queue, self._terms.kinds, free, self._wait_ms)
            except Again as error:
                if not self._stopping.is_set():
                    self._stopping.wait(self._trouble.next_pause(str(error), error.after))
                continue
            except Refused as error:
                if not self._welcome:
                    raise Failure(str(error)) from error
                # A service in the middle of a deploy, a token that is being changed.
                self._stopping.wait(self._trouble.next_pause(str(error)))
                continue
            self._welcome = True
            self._trouble.over()
            for lease in leases:
                self._begin(lease)
            if not leases and time.monotonic() - asked < _SOONER * self._wait_ms / 1000:
                self._stopping.wait(self._terms.poll_interval_ms / 1000)

    def _begin(self, lease: Lease) -> None:
        held = Held(lease, time.monotonic() + self._heartbeat.every_seconds)
        self._in_hand.add(held)
        if self._stopping.is_set():
            self._end(held, release("not started, the worker leaves"))
            return
        threading.Thread(target=self._carry_out, args=[held], name=lease.id, daemon=True).start()

    # -- the threads of the jobs

    def _carry_out(self, held: Held) -> None:
        try:
            outcome = self._work(held)
        except Exception as error:
            log.exception("%s: the worker itself failed", held.lease)
            outcome = fail(f"the worker itself failed: {type(error).__name__}")
        self._end(held, outcome)

    def _end(self, held: Held, outcome: Outcome) -> None:
        try:
            self._settling.settle(held, outcome)
        finally:
            # Whatever happened, nobody beats for it any more.
            self._in_hand.remove(held)


class _Trouble:
    """Leases that are not answered: how long to pause, and a line in the log when that is news, and now and then."""

    def __init__(self) -> None:
        self._repeats = 0
        self._next_line = 0.0
        self._said = ""

    def next_pause(self, said: str, after: float | None = None) -> float:
        """Seconds; at least `after`."""
        self._repeats += 1
        pause = pause_before(self._repeats, after)
        if said != self._said or time.monotonic() >= self._next_line:
            self._said, self._next_line = said, time.monotonic() + _LINE_SECONDS
            log.warning("no lease, trying on: %s; next in %.1f s", said, pause)
        return pause

    def over(self) -> None:
        """There was an answer."""
        if self._repeats:
            log.info("leases are answered again")
        self._repeats, self._said = 0, ""
