"""What the model is asked, and its answers in one place, for the tests and for the record of a long run."""

from faults.harness.model.actions import Defect
from faults.harness.model.explorer import ALL_ARE_BEATEN, Explorer, Violation
from faults.harness.model.states import Instance
from faults.harness.model.walks import every_move, walk

from sql.connection import Connection

# Two workers of the pool and a client over HTTP.
LARGE = Instance(jobs=2, pool_workers=2, http_holders=1)
# Any answer may be lost too.
LOSSY = Instance(jobs=1, pool_workers=2, http_holders=1, answers_lost=True)
SMALL = Instance(jobs=1, pool_workers=1, http_holders=1, answers_lost=True)
# Made by statements from end to end. None sees how often a handler has started.
WHOLE = SMALL._replace(starts_told_apart=0)
# For seeded walks; the second has two clients, whom the database cannot tell apart.
WALKED = (
    Instance(jobs=2, pool_workers=2, http_holders=1, answers_lost=True),
    Instance(jobs=2, pool_workers=1, http_holders=2, answers_lost=True),
)
WALK_STEPS = 40

# By which invariant each planted defect is found.
FOUND_BY = {
    Defect.SETTLE_NAMES_NO_FENCE: 4,
    Defect.SETTLE_NAMES_NO_STATE: 4,
    Defect.ACK_KEEPS_THE_ROW: 4,
    Defect.FENCE_DOES_NOT_GROW: 5,
    Defect.CLAIM_TAKES_WHAT_RUNS: 5,
    Defect.COUNTED_AT_THE_FAILURE: 6,
    Defect.REQUEUED_PAST_MAX: 6,
    Defect.RELEASE_KEEPS_THE_ATTEMPT: 6,
    Defect.CRASH_GIVES_THE_ATTEMPT_BACK: 6,
    Defect.RESCUE_DOES_NOT_LOOK_AGAIN: 5,
    Defect.RESCUE_TAKES_FROM_THE_UNMARKED: 5,
    Defect.RESCUE_LOSES_THE_LAST: 3,
    Defect.NO_RESCUE: 10,
    Defect.EXTEND_NAMES_NO_FENCE: 4,
    Defect.EXTEND_WAKES_THE_LOST: 5,
    Defect.START_WITHOUT_A_LEASE: 5,
    Defect.CANCEL_ENDS_WHAT_RUNS: 5,
    Defect.CANCEL_CHANGES_THE_END: 3,
    Defect.ASTRAY_STAYS_ASTRAY: 10,
}


def planted(defect: Defect) -> Violation | None:
    """How the explorer finds a defect, None if it does not."""
    try:
        Explorer(SMALL, defect, unneeded=ALL_ARE_BEATEN).run()
    except Violation as violation:
        return violation
    return None


def summary(conn: Connection, large: Instance, whole: Instance, walks: int) -> dict[str, int]:
    """What the model found in all states of `large`, and how much was walked on the database of `conn`: every move of
    `whole`, and so many seeded walks of either kind. Raises Violation, and AssertionError when the code differs from
    the model or a defect is not found.
    """
    seen = Explorer(large).run()
    caught = [defect for defect, number in FOUND_BY.items() if _number(planted(defect)) == number]
    assert len(caught) == len(Defect), set(Defect).difference(caught)
    walked = every_move(conn, whole).statements
    for instance in WALKED:
        walked += sum(walk(conn, instance, seed, WALK_STEPS).statements for seed in range(walks))
    return {
        "states": seen.states,
        "transitions": seen.moves,
        "defects planted": len(Defect),
        "defects found by their invariant": len(caught),
        "moves made by statements on PostgreSQL": walked,
    }


def _number(violation: Violation | None) -> int | None:
    return None if violation is None else int(violation.problem.partition(":")[0])
