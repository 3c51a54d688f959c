"""The supervisor: it keeps the count of its children, and ends them.

It has no database, no thread and no idea of a job. Its loop has four verbs: handle signals, collect exits,
keep the count, wait. README.md has the table of signals it keeps to.
"""

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from workerpool.board import STEWARD, WORKER, Board
from workerpool.child import ChildSpec
from workerpool.crew import Crew, Death
from workerpool.errors import BOOT_FAILURE
from workerpool.ladder import Ladder
from workerpool.respawn import Brake
from workerpool.signals import Inbox

logger = logging.getLogger(__name__)

# From the end of the grace: two seconds for the workers, the rest for the last pass, and all is over within three.
AFTER_GRACE_SECONDS = 2.75
# A steward that has the time may be this slow about its last pass.
_LAST_PASS_SECONDS = 2.0
# Flags on the board (ready, kill_at) wake nobody, so they are looked at this often.
_BUSY_TICK, _IDLE_TICK = 0.05, 0.25

Hook = Callable[..., None]


class Supervisor:
    """Runs the children of `specs` (at most one spec per role) until it is told to stop.

    `grace` is in seconds. `on_event(event, **facts)` hears, in the supervisor's process: `started` (role,
    slot, pid), `exited` (role, slot, pid, cause, sentence), `restarted` (role, cause) and `count` (n workers).
    `for_good`: the process ends with it, and is told nothing any more.
    The board must have a slot for the steward, for each worker, and one to spare for replacements; what it
    has beyond that is the room for TTIN. Raises ValueError when it has less.
    """

    def __init__(
        self,
        board: Board,
        specs: Sequence[ChildSpec],
        *,
        grace: float,
        on_event: Hook | None = None,
        for_good: bool = False,
    ) -> None:
        self._board, self._grace = board, grace
        self._on_event = on_event
        self._specs = {spec.role: spec for spec in specs}
        self._brakes = {spec.role: Brake() for spec in specs}
        self._wanted = self._specs[WORKER].count
        self._most = board.most_workers
        if self._wanted > self._most:
            raise ValueError(f"{self._wanted} workers need a board of {self._wanted + 2} slots")
        self._inbox = Inbox()
        self._for_good = for_good
        self._crew = Crew(board, self._inbox)
        self._handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self._drain,
            signal.SIGINT: self._drain,
            signal.SIGQUIT: self._quit,
            signal.SIGTTIN: self._one_more,
            signal.SIGTTOU: self._one_fewer,
            signal.SIGHUP: self._replace,
            # It only ends the wait: exits are collected in every round.
            signal.SIGCHLD: lambda: None,
        }
        self._generation = 0
        self._replacing = False
        self._draining = False
        self._workers_due = self._steward_due = 0.0
        self._exit_code = 0
        # Causes of deaths not made good yet, per role.
        self._lost: dict[str, deque[str]] = {spec.role: deque() for spec in specs}
        self._told_count = -1

    def run(self) -> int:
        """Until drained; 0, or BOOT_FAILURE when a child could not boot. Call it in the main thread."""
        self._board.supervisor = os.getpid()
        self._inbox.install(self._handlers, unheeded=[signal.SIGUSR1, signal.SIGUSR2])
        try:
            while not (self._draining and len(self._crew) == 0):
                self._handle_signals()
                self._collect_exits()
                self._keep_count()
                self._wait()
        finally:
            self._crew.kill_all()
            self._inbox.close(for_good=self._for_good)
        logger.info("all children are gone")
        return self._exit_code

    # -- handle signals -------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        for number in self._inbox.take():
            self._handlers[number]()

    def _drain(self) -> None:
        if self._draining:
            return
        now = time.monotonic()
        logger.info("draining, at most %g s", self._grace)
        self._draining = True
        self._workers_due = now + self._grace
        for child in self._crew.of(WORKER):
            child.leave(Ladder(now, self._grace), "drained")

    def _quit(self) -> None:
        self._drain()
        now = time.monotonic()
        self._workers_due = min(self._workers_due, now)
        for child in self._crew.of(WORKER):
            if child.way_out:
                child.way_out.hurry(now)

    def _one_more(self) -> None:
        if self._wanted >= self._most:
            logger.warning("the board has room for %d workers and no more", self._most)
            return
        self._wanted += 1

    def _one_fewer(self) -> None:
        if self._wanted <= 1:
            logger.warning("a pool keeps at least one worker; TERM ends it")
            return
        self._wanted -= 1

    def _replace(self) -> None:
        if self._draining:
            return
        logger.info("replacing the workers one by one")
        self._generation += 1
        self._replacing = True

    # -- collect exits --------------------------------------------------------------------------------------

    def _collect_exits(self) -> None:
        for death in self._crew.collect():
            self._record(death)
            if death.child.role == WORKER:
                self._wake_steward("crashed")
            if not self._draining and not death.child.leaving:
                self._draw_conclusions(death)

    def _record(self, death: Death) -> None:
        child = death.child
        level = logging.ERROR if death.cause in {"crashed", "timeout"} else logging.INFO
        logger.log(level, "%s in slot %d (pid %d) %s", child.role, child.slot, child.pid, death.sentence)
        self._tell(
            "exited",
            role=child.role,
            slot=child.slot,
            pid=child.pid,
            cause=death.cause,
            sentence=death.sentence,
        )

    def _wake_steward(self, cause: str) -> None:
        # After a death it settles at once what the dead held.
        for steward in self._crew.of(STEWARD):
            steward.send(signal.SIGUSR1, cause)

    def _draw_conclusions(self, death: Death) -> None:
        child = death.child
        if child.cell.ready:
            self._lost[child.role].append(death.cause)
        elif self._replacing and child.role == WORKER:
            self._keep_the_old(death)
        elif death.exit_code == BOOT_FAILURE:
            self._stop_for(death)
        else:
            self._lost[child.role].append(death.cause)
            self._brakes[child.role].failed(started_at=child.started_at, now=time.monotonic())

    def _keep_the_old(self, death: Death) -> None:
        logger.error("the new worker cannot boot, the old ones stay: %s", _reason(death))
        self._replacing = False
        for child in self._crew.of(WORKER):
            child.generation = self._generation

    def _stop_for(self, death: Death) -> None:
        reason = f"{death.child.role} cannot boot: {_reason(death)}"
        logger.error("stopping, the %s", reason)
        print(f"windlass: the {reason}", file=sys.stderr, flush=True)
        self._exit_code = BOOT_FAILURE
        self._drain()

    # -- keep the count -------------------------------------------------------------------------------------

    def _keep_count(self) -> None:
        now = time.monotonic()
        for child in self._crew:
            if child.cell.ready and not child.seen_ready:
                child.seen_ready = True
                self._brakes[child.role].ready()
            for number in child.way_out.due(now) if child.way_out else ():
                child.send(number, "drained")
        for child in self._crew.kill_overrunning(now):
            logger.error("%s in slot %d (pid %d) outran its deadline", child.role, child.slot, child.pid)
        if not self._draining:
            self._staff_workers(now)
        self._staff_steward(now)
        count = len(self._crew.of(WORKER))
        if count != self._told_count:
            self._told_count = count
            self._tell("count", n=count)

    def _staff_workers(self, now: float) -> None:
        workers = self._crew.of(WORKER)
        staying = [child for child in workers if not child.leaving]
        old = [child for child in staying if child.generation != self._generation]
        self._replacing = bool(old)
        for _ in range(self._wanted - len(staying)):
            self._start(WORKER, now)
        if old and len(workers) == self._wanted:
            # Only one is ever in excess, so one spare slot is enough for a pool of any size.
            self._start(WORKER, now, cause="replaced")
        elif old and sum(child.seen_ready for child in staying) > self._wanted:
            old[0].leave(Ladder(now, self._grace), "replaced")
        elif not old:
            for child in staying[self._wanted :]:
                child.leave(Ladder(now, self._grace), "drained")

    def _staff_steward(self, now: float) -> None:
        """One steward as long as there are workers, even while they drain; then it may go."""
        stewards = self._crew.of(STEWARD)
        if not self._draining or self._crew.of(WORKER):
            if not stewards and STEWARD in self._specs:
                self._start(STEWARD, now)
        elif not self._board.closing:
            self._board.closing = True
            latest = min(now + _LAST_PASS_SECONDS, self._workers_due + AFTER_GRACE_SECONDS)
            # A machine too busy to be punctual must not cost the last pass altogether.
            self._steward_due = max(latest, now + 0.5)
            for child in stewards:
                child.leaving_as = "drained"
            self._wake_steward("drained")
        elif now >= self._steward_due:
            for child in stewards:
                child.send(signal.SIGKILL, "drained")

    def _start(self, role: str, now: float, cause: str = "") -> None:
        if self._brakes[role].holds(now):
            return
        try:
            child = self._crew.start(self._specs[role], self._generation)
        except OSError as error:
            logger.error("cannot fork: %s", error)
            self._brakes[role].failed(started_at=now, now=now)
            return
        if child is None:
            return
        logger.info("%s in slot %d started (pid %d)", role, child.slot, child.pid)
        self._tell("started", role=role, slot=child.slot, pid=child.pid)
        if not cause and self._lost[role]:
            cause = self._lost[role].popleft()
        if cause:
            self._tell("restarted", role=role, cause=cause)

    # -- wait -----------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        busy = self._draining or self._replacing or not all(child.seen_ready for child in self._crew)
        self._inbox.wait(_BUSY_TICK if busy else _IDLE_TICK)

    def _tell(self, event: str, **facts: object) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event, **facts)
        except Exception:
            logger.exception("the hook for %r failed", event)


def _reason(death: Death) -> str:
    return death.child.cell.boot_error or death.sentence
