"""Reading jobs: one, several, or page by page, newest first."""

import re
from typing import Any, NamedTuple

import pytest
from support.work import add, add_many, claim_one, inside, look, register

from sql import jobs, leases
from sql.connection import Connection
from sql.leases import Failure
from sql.rows import Job, Status

UNKNOWN = "01900000-0000-7000-8000-000000000000"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class World(NamedTuple):
    """Two jobs of each status, ids by status in the order of their making."""

    ids: dict[Status, list[str]]

    def newest_first(self, *statuses: Status) -> list[str]:
        return sorted((job_id for status in statuses for job_id in self.ids[status]), reverse=True)


def listed(conn: Connection, **asked: Any) -> list[Job]:
    return jobs.page(conn, **asked).jobs


def ids(page: list[Job]) -> list[str]:
    return [job.id for job in page]


def bring(conn: Connection, status: Status, **facts: object) -> str:
    """A new job of this status."""
    job_id = add(conn, priority=100, **facts)
    if status is Status.QUEUED:
        conn.execute("update windlass.ready set priority = -100 where id = %(id)s", id=job_id)
        return job_id
    if status is Status.CANCELLED:
        jobs.cancel(conn, job_id)
        return job_id
    lease = claim_one(conn, queue=str(facts.get("queue", "default")), kinds=[str(facts.get("kind", "email"))])
    assert lease.id == job_id
    if status is Status.SUCCEEDED:
        leases.ack(conn, None, [(lease, "1")])
    elif status is not Status.RUNNING:
        leases.fail(conn, None, [Failure(lease, "boom", 9999, status is Status.FAILED_PERMANENT)])
    return job_id


@pytest.fixture
def world(connection: Connection) -> World:
    made = World({status: [] for status in Status})
    for _ in range(2):
        for status in Status:
            made.ids[status].append(bring(connection, status))
    return made


def test_each_status_is_listed_newest_first_and_nothing_else(connection: Connection, world: World) -> None:
    for status in Status:
        page = listed(connection, status=status)
        assert ids(page) == world.newest_first(status)
        assert {job.status for job in page} == {status.value}


def test_without_a_status_every_job_is_listed(connection: Connection, world: World) -> None:
    assert ids(listed(connection)) == world.newest_first(*Status)


def test_a_listed_job_is_the_job_as_it_is_found(connection: Connection, world: World) -> None:
    for status in Status:
        assert listed(connection, status=status) == [look(connection, one) for one in world.newest_first(status)]


def test_kind_and_queue_filter_within_every_status(connection: Connection, world: World) -> None:
    assert all(world.ids.values())
    for status in Status:
        made = {
            (kind, queue): bring(connection, status, kind=kind, queue=queue)
            for kind in ("email", "resize")
            for queue in ("other", "third")
        }
        for asked in (status, None):
            one = listed(connection, status=asked, kind="resize", queue="third")
            assert made["resize", "third"] in ids(one)
            assert {(job.kind, job.queue) for job in one} == {("resize", "third")}
        assert set(ids(listed(connection, status=status, kind="resize"))) == {
            made["resize", "other"],
            made["resize", "third"],
        }
        assert set(ids(listed(connection, status=status, queue="other"))) == {
            made["email", "other"],
            made["resize", "other"],
        }
        assert listed(connection, status=status, kind="unknown") == []
        assert listed(connection, status=status, queue="unknown") == []


def test_limit_and_offset_cut_the_list(connection: Connection, world: World) -> None:
    everything = world.newest_first(*Status)
    assert ids(listed(connection, limit=5)) == everything[:5]
    assert ids(listed(connection, limit=5, offset=4)) == everything[4:9]
    assert listed(connection, offset=12) == []
    for status in Status:
        assert ids(listed(connection, status=status, limit=1, offset=1)) == world.newest_first(status)[1:]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("status", [None, Status.QUEUED, Status.SUCCEEDED])
def test_the_kinds_of_a_queue_are_listed_as_one(connection: Connection, status: Status | None) -> None:
    kinds = ("resize", "audit", "zip", "audit", "email", "zip", "audit")
    made = [bring(connection, status or Status.CANCELLED, kind=kind, queue="mixed") for kind in kinds][::-1]
    assert ids(listed(connection, status=status, queue="mixed")) == made
    for offset in range(8):
        assert ids(listed(connection, status=status, queue="mixed", limit=2, offset=offset)) == made[offset:][:2]
    for n, job_id in enumerate(made):
        assert ids(listed(connection, status=status, queue="mixed", limit=3, before=job_id)) == made[n + 1 :][:3]
    audits = ids(listed(connection, status=status, queue="mixed", kind="audit", limit=2, offset=1))
    assert audits == [made[3], made[5]]


def test_a_cursor_goes_through_the_list_though_new_jobs_come(connection: Connection, world: World) -> None:
    everything, seen = world.newest_first(*Status), list[str]()
    while page := listed(connection, limit=5, before=seen[-1] if seen else None):
        seen += ids(page)
        add(connection)
    assert seen == everything
    for status in Status:
        newest, oldest = world.newest_first(status)
        assert ids(listed(connection, status=status, before=newest)) == [oldest]


def test_the_default_page_is_fifty(connection: Connection) -> None:
    given = add_many(connection, 60)
    assert ids(listed(connection)) == sorted(given, reverse=True)[:50]


def test_several_jobs_are_found_by_id_and_unknown_ones_are_absent(connection: Connection, world: World) -> None:
    wanted = [world.ids[status][0] for status in Status]
    found = jobs.find_many(connection, [UNKNOWN, *wanted, wanted[0]])
    assert set(found) == set(wanted)
    assert {job_id: job.id for job_id, job in found.items()} == {job_id: job_id for job_id in wanted}
    assert jobs.find_many(connection, []) == {}


def test_an_unknown_job_is_none(connection: Connection) -> None:
    assert jobs.find(connection, UNKNOWN) is None


def test_a_record_has_the_views_columns_in_their_order(connection: Connection) -> None:
    columns = connection.fetch_all(
        "select attname from pg_attribute where attrelid = 'windlass.job_reading'::regclass order by attnum"
    )
    assert tuple(row[0] for row in columns) == Job._fields


def test_times_are_rfc_3339_in_utc_whatever_the_session_says(connection: Connection, world: World) -> None:
    connection.execute("set time zone 'America/St_Johns'")
    connection.execute("set datestyle to 'German, DMY'")
    for status in Status:
        job = look(connection, world.ids[status][0])
        times = [job.run_at, job.created_at, job.updated_at, job.started_at, job.finished_at]
        assert all(TIME.fullmatch(time) for time in times if time is not None)
    edge = look(connection, add(connection, run_at="9000-12-31T23:59:59.999999Z"))
    assert edge.run_at == "9000-12-31T23:59:59.999999Z"
    assert look(connection, add(connection, run_at="1970-01-01T00:00:00Z")).run_at == "1970-01-01T00:00:00.000000Z"


def test_updated_at_is_when_the_job_came_into_its_status(connection: Connection, world: World) -> None:
    for status in Status:
        job = look(connection, world.ids[status][0])
        expected = {
            Status.RUNNING: job.started_at,
            Status.SUCCEEDED: job.finished_at,
            Status.FAILED_PERMANENT: job.finished_at,
            Status.CANCELLED: job.finished_at,
            Status.QUEUED: job.created_at,
        }.get(status, job.updated_at)
        assert job.updated_at == expected
        assert job.updated_at >= job.created_at


def test_the_view_for_people_says_who_holds_a_job_and_under_which_fence(connection: Connection) -> None:
    worker, job_id = register(connection), add(connection)
    lease = claim_one(connection, worker)
    assert inside(connection, job_id) == (lease.fence, worker, None)
