"""The connection cut at every protocol message of every operation, in both directions, before and after it passed on.

See `faults.harness.points` for what a point is and how one is replayed.
"""

from collections.abc import Iterator

import pytest
from faults.harness.operations import OPERATIONS
from faults.harness.points import ALL, dry_run, measure, points_of
from faults.harness.stage import Stage, stage
from faults.harness.wire import CLIENT, SERVER
from support.database import Databases

from sql.migrate import MIGRATIONS
from sql.statements import load

# They are long, and between two statements each message of an answer leaves the same behind. `python -m
# bench.every_message` leaves out none.
SAMPLED = {"migrate": {CLIENT: 1, SERVER: 8}, "migrate from nothing": {CLIENT: 8, SERVER: 40}}
# What only reads, and is said in no operation: an answer that is lost is asked for again.
ONLY_READ = {
    "all_tokens", "depth", "exists", "forget_what_all_have_heard", "live_lease", "live_tokens", "page", "page_all",
    "page_all_of_queue", "page_done", "page_done_of_queue", "page_queued", "page_retrying", "page_running", "paused",
    "server", "snapshots", "states", "unfinished", "waiting",
}  # fmt: skip
# An operator's own command: unanswered it may leave a token that nobody knows.
BY_HAND = {"add_token"}
LEAST_POINTS = 1800


@pytest.fixture(scope="module")
def here(databases: Databases) -> Iterator[Stage]:
    with stage(databases) as made:
        yield made


# Every fourth in each run of the suite, the others with -m long; all of them twice over in bench.every_message.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if place % 4 else []) for place, name in enumerate(OPERATIONS)],
)
def test_wherever_an_operation_is_cut_all_holds(here: Stage, name: str) -> None:
    row = measure(here, name, OPERATIONS[name], one_in=SAMPLED.get(name, ALL))
    print(f"{name}: {row['held']} of {row['points']} points hold")
    assert row["points"] > 0
    assert row["failed"] == []


def test_every_statement_that_writes_is_said_in_an_operation(here: Stage) -> None:
    plays = {name: dry_run(here, operation) for name, operation in OPERATIONS.items()}
    points = sum(len(points_of(play.seen)) for play in plays.values())
    print(f"{points} points of {len(plays)} operations")
    statements = {name for file in (MIGRATIONS.parent / "queries").glob("*.sql") for name in load(file.stem)}
    said = set().union(*(play.said for play in plays.values()))
    assert statements - said == ONLY_READ | BY_HAND
    assert points >= LEAST_POINTS
