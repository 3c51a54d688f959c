"""Invariants 3 to 6 over every state of a small model, and the code's transitions against it."""

from typing import NamedTuple

import pytest
from faults.harness.model import summary
from faults.harness.model.actions import Defect
from faults.harness.model.explorer import ALL_ARE_BEATEN, Explorer
from faults.harness.model.names import Names
from faults.harness.model.states import Instance
from faults.harness.model.walks import every_move, tree, walk
from support.database import open_connection

from sql import jobs, leases, workers
from sql.connection import Connection
from sql.statements import Statement

WALKS = 100
# Small enough to walk once for each defect planted in a statement, of a worker and of clients.
TINY = (
    Instance(jobs=1, pool_workers=1, http_holders=0, starts_told_apart=0),
    Instance(jobs=1, pool_workers=0, http_holders=2, starts_told_apart=0),
)


def test_every_state_of_two_jobs_and_three_workers_satisfies_the_invariants() -> None:
    found = Explorer(summary.LARGE).run()
    print(found)
    assert found == (457_839, 8_064_350, 21)


@pytest.mark.long
def test_every_state_satisfies_the_invariants_though_any_answer_may_be_lost() -> None:
    found = Explorer(summary.LOSSY).run()
    print(found)
    assert found == (15_952, 221_937, 14)


def test_while_all_are_beaten_every_job_ends_though_any_answer_may_be_lost() -> None:
    found = Explorer(summary.SMALL, unneeded=ALL_ARE_BEATEN).run()
    assert found == Explorer(summary.SMALL).run()
    assert found == (1_619, 16_357, 10)


def test_the_short_cuts_of_the_explorer_miss_no_state() -> None:
    for number, pool_workers in ((1, 2), (2, 1)):
        instance = Instance(number, pool_workers, http_holders=0, max_attempts=1)
        names = Names(instance)
        assert Explorer(instance).run().states == len({names.key(state) for state in tree(instance)})


@pytest.mark.parametrize("defect", Defect)
def test_a_planted_defect_is_found_by_its_invariant(defect: Defect) -> None:
    violation = summary.planted(defect)
    assert violation is not None
    print(violation)
    assert violation.problem.startswith(f"{summary.FOUND_BY[defect]}: ")
    assert len(violation.trace) <= 8


@pytest.mark.long
def test_every_move_of_the_small_instance_is_made_by_the_code_as_by_the_model(connection: Connection) -> None:
    walked = every_move(connection, summary.WHOLE)
    print(walked)
    assert walked == (11_669, 10_144)


@pytest.mark.parametrize("instance", summary.WALKED, ids=["one client", "two clients"])
def test_seeded_walks_through_the_large_instance_find_the_code_as_the_model(
    connection: Connection, instance: Instance
) -> None:
    # Waiting for the disk finds nothing here.
    connection.execute("set synchronous_commit = off")
    walked = [walk(connection, instance, seed, summary.WALK_STEPS) for seed in range(WALKS)]
    assert sum(each.statements for each in walked) > 10 * WALKS


class Planted(NamedTuple):
    """A defect in a statement of a file or in a function of the `schema`, and what a walk says of it."""

    file: str
    name: str
    right: str
    wrong: str
    said: str


_FILES = {"jobs": jobs._SQL, "leases": leases._SQL, "workers": workers._SQL}
PLANTED = {
    "a claim that does not count": Planted(
        "schema", "claim", "attempts + 1, fence", "attempts, fence", "refuses a value"
    ),
    "a claim that leaves the job ready": Planted(
        "schema",
        "claim",
        "delete from windlass.ready as r",
        "update windlass.ready as r set queue = queue",
        r"is Ready\(.*\) and Running\(",
    ),
    "an ack without the fence": Planted(
        "schema", "ack", "in (select id, fence from given)", "is not null", "ack was accepted"
    ),
    "a failure without the fence": Planted("leases", "fail", " and r.fence = g.fence", "", "fail was accepted"),
    "a failure past max": Planted(
        "leases", "fail", "s.attempts >= j.max_attempts", "false", "refuses a value|fail led to retrying"
    ),
    "a release without the fence": Planted("leases", "release", " and r.fence = g.fence", "", "release was accepted"),
    "a release that keeps the attempt": Planted(
        "leases", "release", "attempts - 1, fence", "attempts, fence", r"is Ready\(attempts=2\) and not"
    ),
    "a release that forgets the cancel": Planted(
        "leases", "release", "where not cancel_requested", "", r"is Done\(.*\) and Ready\("
    ),
    "an extend without the fence": Planted("leases", "extend", " and fence = %(fence)s::bigint", "", "extend answered"),
    "a rescue from the living": Planted("leases", "rescue", " and w.lost_at is null", " and false", "rescue answered"),
    "a rescue before the end": Planted("leases", "rescue", "lease_expires_at < now()", "true", "rescue answered"),
    "a rescue past max": Planted("leases", "rescue", "t.attempts >= j.max_attempts", "false", "rescue answered"),
    "a rescue of nothing": Planted("leases", "rescue", "lease_expires_at < now()", "false", "rescue answered"),
    "a beat of the lost": Planted("workers", "beat", " and lost_at is null", "", "beaten were"),
    "a cancel that forgets": Planted(
        "jobs", "cancel", "cancel_requested = true", "cancel_requested = false", "cancel=False"
    ),
}


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(planted, marks=[pytest.mark.long] if place % 4 else [], id=name)
        for place, (name, planted) in enumerate(PLANTED.items())
    ],
)
def test_a_defect_planted_in_a_statement_is_found_by_a_walk(
    unchecked_database_url: str, monkeypatch: pytest.MonkeyPatch, planted: Planted
) -> None:
    connection = open_connection(unchecked_database_url)
    plant(connection, monkeypatch, planted)
    with pytest.raises(AssertionError, match=f"the code differs from the model: .*{planted.said}"):
        walk_tiny(connection)
    connection.close()


def walk_tiny(conn: Connection) -> None:
    """Every move of the tiny instances."""
    for instance in TINY:
        every_move(conn, instance)


def test_no_defect_is_found_where_none_is_planted(connection: Connection) -> None:
    walk_tiny(connection)


def plant(conn: Connection, monkeypatch: pytest.MonkeyPatch, planted: Planted) -> None:
    """Makes a statement wrong, for this test or in this database."""
    if planted.file == "schema":
        row = conn.fetch_one("select pg_get_functiondef(%(name)s::regproc)", name=f"windlass.{planted.name}")
        text = row[0] if row else ""
        conn.execute(text.replace(planted.right, planted.wrong))
    else:
        text = str(_FILES[planted.file][planted.name])
        wrong = Statement(planted.name, text.replace(planted.right, planted.wrong))
        monkeypatch.setitem(_FILES[planted.file], planted.name, wrong)
    assert planted.right in text
