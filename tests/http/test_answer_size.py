"""However large the jobs are, an answer about many of them holds 16 MiB of documents, and says where the rest is."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.figures import Publish
from support.http import EXTERNAL, check_error
from support.work import claim, lease_of, new_job

from sql import jobs, leases
from sql.connection import Connection
from sql.leases import Failure

MEGABYTE = 1024 * 1024
MOST = 16 * MEGABYTE
# The rest of a job: its other fields.
OVERHEAD = 64 * 1024
NEXT = re.compile(r'<([^>]+)>; rel="next"')


def put(conn: Connection, count: int, size: int = MEGABYTE, **facts: Any) -> list[str]:
    """Jobs with payloads of so many bytes, the newest first; their ids."""
    payload = f'"{"x" * (size - 2)}"'
    return [added.id for added in jobs.enqueue(conn, [new_job(kind="external", payload=payload, **facts)] * count)][
        ::-1
    ]


def bury(conn: Connection, count: int) -> None:
    """The next jobs die, all at the same moment."""
    claimed = claim(conn, kinds=["external"], limit=count)
    leases.fail(conn, None, [Failure(lease_of(job), "no", permanent=True) for job in claimed])


def pages(client: FlaskClient, path: str) -> list[list[dict[str, Any]]]:
    """All pages from `path` on, by their Link headers; no answer is larger than it may be."""
    found = []
    largest = 0
    while True:
        response = client.get(path)
        assert response.status_code == 200
        largest = max(largest, len(response.data))
        body = response.get_json()
        found.append(body if isinstance(body, list) else body["jobs"])
        link = NEXT.fullmatch(response.headers.get("Link", ""))
        if link is None:
            assert largest <= MOST + MEGABYTE + OVERHEAD
            return found
        path = link[1]


def shape(found: list[list[dict[str, Any]]]) -> list[int]:
    return [len(page) for page in found]


@pytest.mark.parametrize("query", ["limit=200", "limit=200&status=queued", "limit=10"])
def test_a_list_of_large_jobs_comes_in_pages_that_fit(client: FlaskClient, connection: Connection, query: str) -> None:
    ids = put(connection, 34)
    found = pages(client, f"/jobs?{query}")
    assert shape(found) == ([10, 10, 10, 4] if query == "limit=10" else [16, 16, 2])
    assert [job["id"] for page in found for job in page] == ids


def test_dead_letters_that_died_together_come_in_pages_that_fit(client: FlaskClient, connection: Connection) -> None:
    ids = put(connection, 34)
    bury(connection, 34)
    found = pages(client, "/v1/admin/queues/default/dead?limit=500")
    assert shape(found) == [16, 16, 2]
    assert sorted((job["id"] for page in found for job in page), reverse=True) == ids


def test_the_pages_of_small_dead_letters_hold_what_was_asked_for(client: FlaskClient, connection: Connection) -> None:
    ids = put(connection, 7, size=10)
    bury(connection, 7)
    assert shape(pages(client, "/v1/admin/queues/default/dead?limit=3")) == [3, 3, 1]
    found = pages(client, "/v1/admin/queues/default/dead?limit=7")
    assert [[job["id"] for job in page] for page in found] == [ids]


def test_results_progress_and_errors_count_too(client: FlaskClient, connection: Connection) -> None:
    put(connection, 10, size=10)
    claimed = claim(connection, kinds=["external"], limit=10)
    result = f'"{"y" * (2 * MEGABYTE)}"'
    leases.ack(connection, None, [(lease_of(job), result) for job in claimed])
    assert shape(pages(client, "/jobs?limit=200&status=succeeded")) == [8, 2]


def test_one_job_larger_than_an_answer_is_still_told(client: FlaskClient, connection: Connection) -> None:
    put(connection, 1, size=10)
    put(connection, 1, size=MOST + 10)
    assert [len(client.get("/jobs?limit=1").get_json()[0]["payload"])] == [MOST + 8]
    first = client.get("/jobs")
    assert len(first.get_json()) == 1
    assert len(client.get(str(NEXT.fullmatch(first.headers["Link"])[1])).get_json()) == 1  # type: ignore[index]


@pytest.mark.parametrize("alike", [True, False])
def test_a_bulk_that_finds_large_jobs_by_their_keys_tells_as_many_as_fit(
    client: FlaskClient, connection: Connection, publish: Publish, alike: bool
) -> None:
    items = [{**EXTERNAL, "idempotency_key": "k" if alike else f"k{number}"} for number in range(20)]
    assert client.post("/jobs/bulk", json={"jobs": items}).status_code == 200
    claimed = claim(connection, kinds=["external"], limit=20)
    result = f'"{"y" * MEGABYTE}"'
    leases.ack(connection, None, [(lease_of(job), result) for job in claimed])
    response = client.post("/jobs/bulk", json={"jobs": items})
    publish(f"a bulk that finds 20 MiB by its keys: {len(response.data) / MEGABYTE:.1f} MiB")
    assert len(response.data) <= MOST + MEGABYTE + OVERHEAD
    statuses = [each["status"] for each in response.get_json()["results"]]
    assert statuses.count(200) >= 15
    assert set(statuses) == {200, 503}
    again = client.post("/jobs/bulk", json={"jobs": items[-1:]})
    assert [each["status"] for each in again.get_json()["results"]] == [200]


@pytest.mark.parametrize(
    "cursor",
    ["", "_", "x", "2026-01-31T12:00:00Z", "2026-99-31T12:00:00Z_01a200c6-e47b-72f2-a97e-1600febf64d7",
     "_01a200c6-e47b-72f2-a97e-1600febf64d7", "infinity_01a200c6-e47b-72f2-a97e-1600febf64d7",
     "2026-01-31T12:00:00Z_01a200c6-e47b-72f2-a97e-1600febf64d7 or true", "2026-01-31T12:00:00Z_urn:uuid:1"],
)  # fmt: skip
def test_a_cursor_that_no_link_had_is_refused(refused: FlaskClient, cursor: str) -> None:
    response = refused.get("/v1/admin/queues/default/dead", query_string={"cursor": cursor})
    assert check_error(response, "validation")["message"] == "cursor: must be the cursor of a Link header"
