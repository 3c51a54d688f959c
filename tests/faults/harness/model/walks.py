"""Ways through the model on a real PostgreSQL: every move of a small instance, and seeded walks through a large one."""

import random
from collections import defaultdict
from typing import NamedTuple

from faults.harness.model.actions import Move
from faults.harness.model.explorer import Explorer, told
from faults.harness.model.reality import UNSEEN, Reality
from faults.harness.model.states import Instance, State

from sql.connection import Connection
from sql.errors import StorageError

Way = tuple[Move, int | None, State]

# A cancel or a client that forgets ends most of what could still happen.
_SELDOM = {"cancel": 0.2, "forget": 0.4, "crash": 0.5}


class Walked(NamedTuple):
    """How many moves were made, and how many of them by statements."""

    moves: int
    statements: int


def every_move(conn: Connection, instance: Instance) -> Walked:
    """Makes every move out of every state, each behind the shortest way there, and compares the tables after each.

    AssertionError, with the way, when the code and the model differ.
    """
    ways = tree(instance)
    with conn.transaction():
        walker = _EveryMove(conn, Reality(conn, instance), ways)
        walker.visit(instance.first())
    return Walked(sum(map(len, ways.values())), walker.statements)


def walk(conn: Connection, instance: Instance, seed: int, steps: int) -> Walked:
    """Makes up to so many moves, chosen by `seed`, each in a transaction of its own, and compares after each.

    AssertionError, with the seed and the way, when the code and the model differ.
    """
    chance = random.Random(seed)
    explorer = Explorer(instance)
    reality = Reality(conn, instance, together=chance.random() < 0.5)
    state, way, statements = instance.first(), list[str](), 0
    for _ in range(steps):
        by_action = defaultdict[str, list[Way]](list)
        for each in explorer.moves(state):
            by_action[each[0].action].append(each)
        actions = list(by_action)
        (action,) = chance.choices(actions, [_SELDOM.get(each, 1.0) for each in actions])
        move, job, then = chance.choice(by_action[action])
        way.append(told(move, job))
        _make(reality, state, move, job, then, [f"seed {seed} of {instance}", *way])
        statements += move.action not in UNSEEN
        state = then
        if all(job.done and not any(job.beliefs) for job in state.jobs):
            break
    return Walked(len(way), statements)


class _EveryMove:
    """Goes down the tree of shortest ways and, by savepoints, back up again."""

    def __init__(
        self, conn: Connection, reality: Reality, ways: dict[State, list[tuple[Move, int | None, State, bool]]]
    ):
        self._conn = conn
        self._reality = reality
        self._ways = ways
        self._trace: list[str] = []
        self.statements = 0

    def visit(self, state: State) -> None:
        depth = len(self._trace)
        memory = self._reality.memory
        self._conn.execute(f"savepoint at_{depth}")
        for move, job, then, first in self._ways[state]:
            seen = move.action not in UNSEEN
            if not (seen or first):
                continue
            self._trace.append(told(move, job))
            _make(self._reality, state, move, job, then, self._trace)
            self.statements += seen
            if first:
                self.visit(then)
            self._trace.pop()
            # Fences go on growing: a sequence is not rolled back.
            self._reality.memory = memory._replace(newest=self._reality.memory.newest)
            if first or (seen and move.accepted):
                self._conn.execute(f"rollback to savepoint at_{depth}")
        self._conn.execute(f"release savepoint at_{depth}")


def _make(reality: Reality, state: State, move: Move, job: int | None, then: State, way: list[str]) -> None:
    try:
        reality.make(state, move, job)
        if move.action not in UNSEEN:
            # No statement about a job writes a row of `workers`.
            reality.check(then, workers_too=job is None)
    except (AssertionError, StorageError) as error:
        raise AssertionError("\n".join([f"the code differs from the model: {error}; after", *way])) from error


def tree(instance: Instance) -> dict[State, list[tuple[Move, int | None, State, bool]]]:
    """All states, without renaming any, each with the moves out of it and whether a move is the first to lead there."""
    explorer = Explorer(instance)
    first = instance.first()
    order, known = [first], {first}
    ways = {}
    for state in order:
        out = []
        for move, job, then in explorer.moves(state):
            out.append((move, job, then, then not in known))
            if then not in known:
                known.add(then)
                order.append(then)
        ways[state] = out
    return ways
