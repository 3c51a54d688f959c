"""Which jobs a request for work is given, and in which order."""

import random
from typing import Any

from flask.testing import FlaskClient
from support.http import created
from support.v1 import QUEUE, add, lease, lease_one
from support.work import new_job

from sql import jobs, queues
from sql.connection import Connection


def order(leased: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Each job's place by the rule."""
    return [(-job["priority"], job["run_at"], job["id"]) for job in leased]


def many(connection: Connection, count: int, kinds: tuple[str, ...] = ("external",)) -> None:
    """Due jobs of few priorities and few times, so that all three parts of the rule are needed."""
    chance = random.Random(7)
    new = [
        new_job(
            queue=QUEUE,
            kind=chance.choice(kinds),
            priority=chance.choice((-32768, -1, 0, 1, 5, 32767)),
            run_at=f"2026-01-01T00:00:{chance.randrange(10, 60, 10)}.{chance.randrange(100000, 100004)}Z",
        )
        for _ in range(count)
    ]
    chance.shuffle(new)
    jobs.enqueue(connection, new)


def test_the_array_is_in_the_order_to_work_on_it(client: FlaskClient, connection: Connection) -> None:
    many(connection, 400, kinds=("external", "a", "b"))
    leased = lease(client, 1000, kinds=["b", "external", "a"])
    assert len(leased) == 400
    assert order(leased) == sorted(order(leased))


def test_one_request_after_the_other_goes_on_where_the_last_ended(client: FlaskClient, connection: Connection) -> None:
    many(connection, 200)
    places: list[tuple[int, str, str]] = []
    while leased := lease(client, 17):
        places += order(leased)
    assert len(places) == 200
    assert places == sorted(places)


def test_of_equal_jobs_the_older_comes_first(client: FlaskClient) -> None:
    ids = [add(client, n, run_at="2026-01-01T00:00:00Z") for n in range(20)]
    assert [job["id"] for job in lease(client, 20)] == ids


def test_a_limit_is_kept_over_all_kinds_and_priorities(client: FlaskClient, connection: Connection) -> None:
    many(connection, 100, kinds=("external", "a", "b"))
    sizes = []
    while leased := lease(client, 30, kinds=["a", "b", "external", "a"]):
        sizes.append(len(leased))
    assert sizes == [30, 30, 30, 10]


def test_kinds_of_equal_priority_take_turns(client: FlaskClient, connection: Connection) -> None:
    jobs.enqueue(connection, [new_job(queue=QUEUE, kind=kind) for kind in ("a", "b") for _ in range(100)])
    seen = [lease(client, 1, kinds=["a", "b"])[0]["kind"] for _ in range(40)]
    # All of one kind: once in 2^39.
    assert set(seen) == {"a", "b"}


def test_without_kinds_a_job_of_the_pool_is_never_handed_out(client: FlaskClient) -> None:
    for payload, kind in (({"text": "x"}, "summarize_text"), ({"url": "https://example.org"}, "webhook_delivery")):
        created(client, kind=kind, payload=payload, queue=QUEUE, priority=9)
    job_id = add(client)
    assert [job["id"] for job in lease(client, 1000)] == [job_id]
    assert lease(client, 1000, kinds=None) == lease(client, 1000, kinds=["external"]) == []
    assert len(lease(client, 1000, kinds=["summarize_text", "webhook_delivery"])) == 2


def test_a_kind_that_this_service_does_not_know_can_be_asked_for(client: FlaskClient, connection: Connection) -> None:
    jobs.enqueue(connection, [new_job(queue=QUEUE, kind="of.a:newer_version")])
    assert lease_one(client, kinds=["of.a:newer_version", "never.heard.of"])["kind"] == "of.a:newer_version"


def test_a_paused_queue_hands_out_nothing_and_goes_on_after(client: FlaskClient, connection: Connection) -> None:
    job_id = add(client)
    other = add(client, queue="other")
    queues.pause(connection, QUEUE)
    assert lease(client) == lease(client, wait_ms=50) == []
    assert lease_one(client, queue="other")["id"] == other
    queues.resume(connection, QUEUE)
    assert lease_one(client)["id"] == job_id


def test_what_is_not_due_is_not_handed_out(client: FlaskClient) -> None:
    add(client, run_at="2999-01-01T00:00:00Z", priority=9)
    due = add(client)
    assert [job["id"] for job in lease(client, 10)] == [due]


def test_a_job_is_handed_out_once(client: FlaskClient) -> None:
    ids = {add(client) for _ in range(10)}
    leased = [job["id"] for _ in range(4) for job in lease(client, 4)]
    assert sorted(leased) == sorted(ids)
