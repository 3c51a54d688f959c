"""However much waits, one answer holds so many bytes of payload and no more; what does not fit loses nothing."""

from flask.testing import FlaskClient
from support.v1 import QUEUE, lease
from support.work import count, look, new_job

from sql import jobs
from sql.connection import Connection

MEGABYTE = 1024 * 1024
MOST = 16 * MEGABYTE
_SECOND_CLAIM_FAILS = """
create function public.refuse() returns trigger language plpgsql as $$
begin
    if (select count(*) from windlass.running) > 16 then
        raise query_canceled;
    end if;
    return null;
end $$;
create trigger refuse after insert on windlass.running for each statement execute function public.refuse();
"""


def put(conn: Connection, *sizes: int) -> list[str]:
    """Jobs with payloads of so many bytes; their ids."""
    wanted = [new_job(queue=QUEUE, kind="external", payload=f'"{"x" * (size - 2)}"') for size in sizes]
    return [added.id for added in jobs.enqueue(conn, wanted)]


def test_large_payloads_come_in_several_answers_in_their_order(client: FlaskClient, connection: Connection) -> None:
    ids = put(connection, *[MEGABYTE] * 40)
    answers = [[job["id"] for job in lease(client, 1000)] for _ in range(4)]
    assert [len(answer) for answer in answers] == [16, 16, 8, 0]
    assert [job_id for answer in answers for job_id in answer] == ids
    assert count(connection, "running") == 40


def test_no_more_is_claimed_than_is_likely_to_fit(client: FlaskClient, connection: Connection) -> None:
    ids = put(connection, *[600_000] * 60)
    first = [job["id"] for job in lease(client, 30)]
    assert first == ids[: len(first)]
    assert 16 < len(first) < 30
    assert [job["id"] for job in lease(client, 5)] == ids[len(first) : len(first) + 5]


def test_what_does_not_fit_goes_back_with_its_attempt(client: FlaskClient, connection: Connection) -> None:
    small = put(connection, *[10] * 16)
    large = put(connection, *[MEGABYTE] * 30)
    first = [job["id"] for job in lease(client, 1000)]
    assert first == small + large[:16]
    assert {look(connection, job_id).status for job_id in large[16:]} == {"queued"}
    assert {look(connection, job_id).attempts for job_id in large[16:]} == {0}
    assert [job["id"] for job in lease(client, 1000)] == large[16:]


def test_one_job_larger_than_an_answer_is_still_handed_out(client: FlaskClient, connection: Connection) -> None:
    larger, other = put(connection, 2 * MOST, 10)
    assert [job["id"] for job in lease(client, 1000)] == [larger]
    assert [job["id"] for job in lease(client, 1000)] == [other]


def test_small_payloads_come_up_to_the_limit_in_one_answer(client: FlaskClient, connection: Connection) -> None:
    ids = put(connection, *[50] * 1200)
    assert [job["id"] for job in lease(client, 1000)] == ids[:1000]
    assert [job["attempts"] for job in lease(client, 1000)] == [1] * 200


def test_what_is_claimed_is_handed_out_though_more_cannot_be_claimed(
    client: FlaskClient, connection: Connection
) -> None:
    ids = put(connection, *[50] * 40)
    connection.execute(_SECOND_CLAIM_FAILS)
    assert [job["id"] for job in lease(client, 1000)] == ids[:16]
    assert count(connection, "running") == 16
