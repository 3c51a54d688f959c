"""Enqueue, in all its forms. With a key whoever has no answer asks again; without one he may, and make one job more."""

from collections.abc import Iterator

import psycopg2
from faults.harness.stage import Answer, Stage
from support.work import new_job

from sql import jobs
from sql.errors import Unavailable

_JOB = {"kind": "external", "payload": {"n": 1}}


def _with_key(key: str, **facts: object) -> dict[str, object]:
    return {**_JOB, "idempotency_key": key, **facts}


def enqueue_one(stage: Stage) -> Iterator[None]:
    session = stage.session()
    answered: list[str] = []
    yield
    try:
        answered = [session.once(lambda conn: jobs.enqueue(conn, [new_job()]))[0].id]
    except Unavailable:
        pass
    yield
    stored = stage.ids()
    assert len(stored) <= 1
    assert set(answered) <= set(stored)


def enqueue_keyed(stage: Stage) -> Iterator[None]:
    session = stage.session()
    wanted = [new_job(idempotency_key=key, request_hash="r") for key in ("b", "a", "c")]
    yield
    enqueued = session.run(lambda conn: jobs.enqueue(conn, wanted))
    yield
    assert sorted(each.id for each in enqueued) == stage.ids()
    assert all(each.same_request for each in enqueued)
    assert [stage.job(each.id).idempotency_key for each in enqueued] == ["b", "a", "c"]


def post_jobs(stage: Stage) -> Iterator[None]:
    client = stage.web()
    yield
    answer = stage.ask(client, "/jobs", _JOB, repeats=False)
    yield
    stored = stage.ids()
    assert len(stored) == 1 if answer.status == 201 else len(stored) <= 1
    assert answer.status == 503 or answer.json["id"] == stored[0]


def post_jobs_twice(stage: Stage) -> Iterator[None]:
    client = stage.web()
    yield
    answer = stage.ask(client, "/jobs", _JOB)
    yield
    stored = stage.ids()
    assert answer.status == 201
    assert answer.json["id"] in stored
    assert len(stored) - 1 <= answer.unknown


def post_jobs_keyed(stage: Stage) -> Iterator[None]:
    client = stage.web()
    yield
    answer = stage.ask(client, "/jobs", _with_key("k"))
    yield
    _is_the_one(stage, answer)
    assert stage.ask(client, "/jobs", _with_key("k", payload=2)).status == 409


def post_v1_jobs_keyed(stage: Stage) -> Iterator[None]:
    client = stage.web()
    asked = {"queue": "tasks", "payload": None, "idempotency_key": "k"}
    yield
    answer = stage.ask(client, "/v1/jobs", asked)
    yield
    assert answer.status == 200
    assert stage.ids() == [answer.json["job_id"]]
    assert stage.facts(*stage.ids()) == [("queued", 0, None)]
    assert stage.ask(client, "/v1/jobs", asked).json == answer.json


def post_bulk(stage: Stage) -> Iterator[None]:
    client = stage.web()
    yield
    answer = stage.ask(client, "/jobs/bulk", {"jobs": [_JOB] * 3}, repeats=False)
    yield
    # All or nothing.
    assert len(stage.ids()) == 3 if answer.status == 200 else len(stage.ids()) in (0, 3)


def post_bulk_keyed(stage: Stage) -> Iterator[None]:
    client = stage.web()
    known = stage.ask(client, "/jobs", _with_key("known")).json["id"]
    stage.ask(client, "/jobs", _with_key("taken", payload="other"))
    before = set(stage.ids())
    items = [
        _with_key("new"), _with_key("known"), _with_key("taken"), {**_JOB, "kind": "nobody"}, _with_key("new"),
        _with_key("other"),
    ]  # fmt: skip
    yield
    answer = stage.ask(client, "/jobs/bulk", {"jobs": items})
    yield
    assert answer.status == 200
    results = answer.json["results"]
    made = {201} if answer.unknown == 0 else {200, 201}
    assert results[0]["status"] in made
    assert results[5]["status"] in made
    assert [results[n]["status"] for n in (1, 2, 3, 4)] == [200, 409, 422, 200]
    assert results[1]["job"]["id"] == known
    assert results[0]["job"]["id"] == results[4]["job"]["id"]
    assert set(stage.ids()) == before | {results[0]["job"]["id"], results[5]["job"]["id"]}


def call_enqueue(stage: Stage) -> Iterator[None]:
    """By another program, in a transaction of its own, which it repeats as a whole."""
    statement = "select windlass.enqueue('external', '{}', idempotency_key => %s)"
    client = psycopg2.connect(stage.url)
    yield
    while True:
        try:
            with client, client.cursor() as cursor:
                for key in ("a", "b"):
                    cursor.execute(statement, (key,))
            break
        except psycopg2.OperationalError:
            # It cannot know whether the commit was made.
            assert len(stage.ids()) in (0, 2)
            client.close()
            client = psycopg2.connect(stage.url)
        except psycopg2.InterfaceError:
            client = psycopg2.connect(stage.url)
    yield
    client.close()
    assert [stage.job(job_id).idempotency_key for job_id in stage.ids()] == ["a", "b"]


def _is_the_one(stage: Stage, answer: Answer) -> None:
    assert answer.status == 201 if answer.unknown == 0 else answer.status in (200, 201)
    assert stage.ids() == [answer.json["id"]]
    assert stage.facts(answer.json["id"]) == [("queued", 0, None)]


OPERATIONS = {
    "enqueue one": enqueue_one,
    "enqueue many with keys": enqueue_keyed,
    "POST /jobs": post_jobs,
    "POST /jobs, repeated": post_jobs_twice,
    "POST /jobs with a key": post_jobs_keyed,
    "POST /v1/jobs with a key": post_v1_jobs_keyed,
    "POST /jobs/bulk": post_bulk,
    "POST /jobs/bulk with keys": post_bulk_keyed,
    "windlass.enqueue in a transaction": call_enqueue,
}
