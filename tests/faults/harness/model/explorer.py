"""Visits every state of an instance, breadth first, and judges each state and each move.

What may happen to a job depends on it and on the workers, on no other job: it is worked out once for each (workers,
job) and looked up wherever that pair occurs in a state.
"""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from faults.harness.model import actions, invariants, lives
from faults.harness.model.actions import NOBODY, Defect, Move, Rules, Workers
from faults.harness.model.names import Chosen, Key, Names
from faults.harness.model.states import Instance, Job, State, by_rank, holders

# Without which every job must be able to come to an end from every state: faults and cancels never; and either nobody
# who sleeps need ever wake up, or nobody who lives need ever miss a heartbeat.
_NEVER = frozenset({"crash", "pause", "forget", "cancel"})
SLEEPERS_SLEEP = _NEVER | {"resume", "extend"}
ALL_ARE_BEATEN = _NEVER | {"expire", "mark lost"}


class Violation(AssertionError):
    """An invariant does not hold; the message has the shortest way there. `problem` begins with its number."""

    def __init__(self, problem: str, trace: list[str]) -> None:
        self.problem = problem
        self.trace = trace
        super().__init__("\n".join([f"invariant {problem}, after", *trace]))


class Found(NamedTuple):
    """What there was to see. `moves`: out of all states, those that change nothing too."""

    states: int
    moves: int
    farthest: int

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.moves:,} moves, the farthest state {self.farthest} moves from the first"


class _Outcome(NamedTuple):
    """Where the moves out of a pair lead: the workers then, the job then, and whether they help towards an end."""

    moves: int
    led: list[tuple[Chosen, int | None, bool]]
    problems: list[str]


class Explorer:
    """The states of one instance under some defects, or none; `unneeded`: the moves no job needs to come to an end."""

    def __init__(self, instance: Instance, *defects: Defect, unneeded: frozenset[str] = SLEEPERS_SLEEP) -> None:
        self._instance = instance
        self._rules = Rules(instance.max_attempts, instance.answers_lost, frozenset(defects))
        self._unneeded = unneeded
        self._names = Names(instance)
        self._of_pair: dict[tuple[int, int], _Outcome] = {}
        self._of_workers: dict[tuple[int, int], _Outcome] = {}
        # The states in the order of their discovery: their keys, from which state each was found, and to which the
        # moves lead that help.
        self._order: list[Key] = []
        self._cause = array("l")
        self._helpful_to = array("l")
        self._helpful_until = array("l", [0])

    def run(self) -> Found:
        """Visits all. Raises Violation."""
        self._order.append(self._names.key(self._instance.first()))
        self._cause.append(0)
        index = {self._order[0]: 0}
        moves = 0
        for at, key in enumerate(self._order):
            for outcome, rest in self._outcomes(key):
                if outcome.problems:
                    raise Violation(outcome.problems[0], self._way_to(at))
                moves += outcome.moves
                for chosen, job, helps in outcome.led:
                    found = self._names.renamed(chosen, rest if job is None else [job, *rest])
                    number = index.setdefault(found, len(index))
                    if number == len(self._order):
                        self._order.append(found)
                        self._cause.append(at)
                    if helps:
                        self._helpful_to.append(number)
            self._helpful_until.append(len(self._helpful_to))
        stuck = self._stuck()
        if stuck is not None:
            raise Violation("10: not every job can come to an end", self._way_to(stuck))
        return Found(len(self._order), moves, len(self._way_to(len(self._order) - 1)))

    def moves(self, state: State) -> Iterator[tuple[Move, int | None, State]]:
        """All that may happen in a state: the move, the job it concerns, and the state then, under the same names."""
        held = 0
        for n, job in enumerate(state.jobs):
            held |= holders(job)
            for move in self._job_moves(state.workers, job):
                assert move.job is not None
                then = by_rank(move.job, self._instance.starts_told_apart)
                yield move, n, state._replace(jobs=(*state.jobs[:n], then, *state.jobs[n + 1 :]))
        for action in lives.OF_WORKERS:
            for move in action(self._rules, state.workers, held):
                assert move.workers is not None
                yield move, None, state._replace(workers=move.workers)

    def _job_moves(self, workers: Workers, job: Job) -> Iterator[Move]:
        for action in actions.OF_JOBS:
            yield from action(self._rules, workers, job)

    def _outcomes(self, key: Key) -> Iterator[tuple[_Outcome, list[int]]]:
        """What may happen in a state to each job and to the workers, and which jobs it leaves as they are."""
        workers, *jobs = key
        held = 0
        for n, job in enumerate(jobs):
            held |= self._names.held[job]
            pair = (workers, job)
            if pair not in self._of_pair:
                self._of_pair[pair] = self._outcome(*pair)
            yield self._of_pair[pair], jobs[:n] + jobs[n + 1 :]
        beside = (workers, held)
        if beside not in self._of_workers:
            self._of_workers[beside] = self._outcome_of_workers(*beside)
        yield self._of_workers[beside], jobs

    def _outcome(self, workers: int, number: int) -> _Outcome:
        job, statuses = self._names.jobs[number], self._names.workers[workers]
        problems = list(invariants.of_state(self._rules, job))
        if problems:
            return _Outcome(0, [], problems)
        moves = list(self._job_moves(statuses, job))
        led = dict[int, bool]()
        for move in moves:
            assert move.job is not None
            problems += [f"{each}; by: {told(move)}" for each in invariants.of_move(statuses, job, move)]
            to = self._names.number_of(move.job)
            led[to] = led.get(to, False) or (move.answered and move.action not in self._unneeded)
        led.pop(number, None)
        chosen = self._names.choose(workers)
        return _Outcome(len(moves), [(chosen, to, helps) for to, helps in led.items()], problems)

    def _outcome_of_workers(self, workers: int, held: int) -> _Outcome:
        statuses = self._names.workers[workers]
        moves = [move for action in lives.OF_WORKERS for move in action(self._rules, statuses, held)]
        problems = [f"{each}; by: {told(move)}" for move in moves for each in lives.problems(statuses, held, move)]
        led = [
            (self._names.choose(self._names.number_of_workers(move.workers)), None, move.action not in self._unneeded)
            for move in moves
            if move.workers != statuses
        ]
        return _Outcome(len(moves), led, problems)

    def _stuck(self) -> int | None:
        """The first state from which some job can come to no end."""
        ended = [job.done is not None for job in self._names.jobs]
        good = bytearray(all(ended[job] for job in key[1:]) for key in self._order)
        waiting = [at for at in reversed(range(len(good))) if not good[at]]
        while waiting:
            left = []
            for at in waiting:
                if any(good[to] for to in self._helpful_to[self._helpful_until[at] : self._helpful_until[at + 1]]):
                    good[at] = True
                else:
                    left.append(at)
            if len(left) == len(waiting):
                return left[-1]
            waiting = left
        return None

    def _way_to(self, at: int) -> list[str]:
        """The moves from the first state to this one, with one set of names."""
        way = []
        while at:
            way.append(self._order[at])
            at = self._cause[at]
        state = self._instance.first()
        trace = []
        for key in reversed(way):
            move, job, state = next(each for each in self.moves(state) if self._names.key(each[2]) == key)
            trace.append(told(move, job))
        return trace


def told(move: Move, job: int | None = None) -> str:
    """A move, for people."""
    words = [move.action]
    if move.verb:
        words.append(f"({move.verb})")
    if job is not None:
        words.append(f"of job {job}")
    if move.worker != NOBODY:
        words.append(f"by worker {move.worker}")
    if not move.accepted:
        words.append("refused")
    if not move.answered:
        words.append("and the answer is lost")
    return " ".join(words)
