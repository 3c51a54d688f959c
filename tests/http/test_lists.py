"""Lists: newest first, filtered, in pages."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.http import check_error, created, post
from support.work import add, add_many, claim_one

from sql import jobs, leases
from sql.connection import Connection
from sql.leases import Failure
from sql.rows import Status

NEXT = re.compile(r'</jobs\?(?P<query>[^>]*)>; rel="next"')


def ids(client: FlaskClient, query: str = "") -> list[str]:
    response = client.get(f"/jobs?{query}")
    assert response.status_code == 200, response.text
    return [job["id"] for job in response.get_json()]


def pages(client: FlaskClient, query: str) -> list[list[str]]:
    """All pages from `query` on, by their Link headers."""
    found = []
    while True:
        response = client.get(f"/jobs?{query}")
        found.append([job["id"] for job in response.get_json()])
        link = response.headers.get("Link")
        if link is None:
            return found
        following = NEXT.fullmatch(link)
        assert following is not None
        query = following["query"]


@pytest.fixture
def one_of_each(connection: Connection) -> dict[str, str]:
    """A job of every status, by status."""
    made = {}
    made["succeeded"] = add(connection)
    leases.ack(connection, None, [(claim_one(connection), None)])
    made["retrying"] = add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "no", delay=3600)])
    made["failed_permanent"] = add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "never", permanent=True)])
    made["running"] = add(connection)
    claim_one(connection)
    made["cancelled"] = add(connection)
    jobs.cancel(connection, made["cancelled"])
    made["queued"] = add(connection)
    return made


def test_newest_come_first(client: FlaskClient) -> None:
    made = [created(client)["id"] for _ in range(5)]
    assert ids(client) == made[::-1]


@pytest.mark.parametrize("status", list(Status))
def test_list_filters_by_status(client: FlaskClient, one_of_each: dict[str, str], status: str) -> None:
    (job,) = client.get(f"/jobs?status={status}").get_json()
    assert (job["id"], job["status"]) == (one_of_each[status], status)


def test_list_filters_by_kind_and_queue(client: FlaskClient) -> None:
    a = created(client, queue="a")["id"]
    b = created(client, queue="b")["id"]
    text = created(client, kind="summarize_text", payload={"text": "x"}, queue="a")["id"]
    assert ids(client, "kind=summarize_text") == [text]
    assert ids(client, "kind=external") == [b, a]
    assert ids(client, "queue=a") == [text, a]
    assert ids(client, "queue=a&kind=external&status=queued") == [a]
    assert ids(client, "queue=c") == ids(client, "queue=A") == ids(client, "status=running") == []


def test_a_job_that_failed_says_why_and_counts_its_attempts(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    shown = {job["status"]: job for job in client.get("/jobs").get_json()}
    assert shown.keys() == one_of_each.keys()
    assert (shown["retrying"]["last_error"], shown["retrying"]["attempts"]) == ("no", 1)
    assert (shown["failed_permanent"]["last_error"], shown["failed_permanent"]["attempts"]) == ("never", 1)
    assert (shown["queued"]["last_error"], shown["queued"]["attempts"]) == (None, 0)
    assert shown["succeeded"]["finished_at"] >= shown["succeeded"]["started_at"]


@pytest.mark.parametrize(
    ("limit", "length"), [("", 50), ("limit=-1", 1), ("limit=0", 1), ("limit=3", 3), ("limit=9999", 200)]
)
def test_a_page_has_50_jobs_or_as_many_as_asked_within_1_and_200(
    client: FlaskClient, connection: Connection, limit: str, length: int
) -> None:
    add_many(connection, 210)
    assert len(ids(client, limit)) == length


def test_an_offset_skips(client: FlaskClient) -> None:
    made = [created(client)["id"] for _ in range(5)][::-1]
    assert ids(client, "offset=2&limit=2") == made[2:4]
    assert ids(client, "offset=5") == ids(client, "offset=2147483647") == []


@pytest.mark.parametrize(("jobs_there", "limit"), [(0, 3), (1, 3), (3, 3), (4, 3), (7, 3), (6, 1)])
def test_the_pages_of_a_cursor_hold_every_job_once(
    client: FlaskClient, connection: Connection, jobs_there: int, limit: int
) -> None:
    made = add_many(connection, jobs_there) if jobs_there else []
    found = pages(client, f"limit={limit}")
    assert [job for page in found for job in page] == sorted(made, reverse=True)
    assert len(found) == max(1, -(-jobs_there // limit))


def test_a_cursor_is_not_disturbed_by_new_jobs(client: FlaskClient, connection: Connection) -> None:
    made = add_many(connection, 4)
    first = client.get("/jobs?limit=2")
    add_many(connection, 5)
    following = NEXT.fullmatch(first.headers["Link"])
    assert following is not None
    assert ids(client, following["query"]) == sorted(made, reverse=True)[2:]


def test_a_cursor_keeps_the_filters_of_its_page(client: FlaskClient) -> None:
    for _ in range(3):
        created(client, queue="other")
        created(client)
    found = pages(client, "status=queued&queue=other&kind=external&limit=2")
    assert [len(page) for page in found] == [2, 1]


@pytest.mark.parametrize(
    "query",
    [
        "status=waiting", "status=", "status=QUEUED", "status=queued&status=running", "kind=nope", "kind=", "kind=%00",
        "queue=", "queue=a%00", "queue=a/b", "queue=%ff", "limit=", "limit=x", "limit=1.5", "limit=1&limit=2",
        "limit=%EF%BC%91", "offset=-1", "offset=2147483648", "offset=99999999999999999999", "offset=x", "cursor=x",
        "cursor=", "cursor=%00", "cursor=01a200c6-e47b-72f2-a97e-1600febf64d7&offset=1", "stauts=queued", "=", "&=&",
        "status%5B%5D=queued",
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_meant_is_refused(refused: FlaskClient, query: str) -> None:
    check_error(refused.get(f"/jobs?{query}"), "validation")


@pytest.mark.parametrize(
    "planted",
    ["1e5000", "[" * 12_000 + "]" * 12_000, '{"deep":' + "[" * 1500 + "1e4400" + "]" * 1500 + "}"],
    ids=["a huge number", "deep nesting", "both"],
)
def test_an_unreadable_row_of_another_client_spoils_only_itself(
    client: FlaskClient, connection: Connection, planted: str
) -> None:
    before = created(client)["id"]
    spoilt = add(connection, kind="external", payload=planted)
    after = created(client)["id"]
    listed: dict[str, Any] = {job["id"]: job["payload"] for job in client.get("/jobs").get_json()}
    assert list(listed) == [after, spoilt, before]
    assert listed[after] == listed[before] == {"n": 1}
    assert list(listed[spoilt]) == ["unreadable"]
    assert client.get(f"/jobs/{spoilt}").get_json()["payload"] == listed[spoilt]
    assert client.post(f"/jobs/{spoilt}/cancel").status_code == 200


def test_a_filter_is_never_a_pattern(client: FlaskClient) -> None:
    post(client, queue="ab")
    assert ids(client, "queue=a.") == ids(client, "queue=a_") == []
