"""A lease token names one lease: with it nothing else is touched, and what was said once may be said again."""

from collections.abc import Callable

import flask
import pytest
from flask.testing import FlaskClient
from support.http import check_error, created, get
from support.v1 import QUEUE, add, added_and_leased, lease_one, tell, tell_by_token
from support.work import claim_one, everything, past, register
from werkzeug.test import TestResponse

from app.services.leases import token_of
from sql import leases
from sql.connection import Connection

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"
VERBS = ["ack", "fail", "heartbeat", "release"]
SETTLES = ["ack", "fail", "release"]


@pytest.mark.parametrize("verb", VERBS)
def test_the_token_of_the_lease_is_good_for_every_verb(client: FlaskClient, verb: str) -> None:
    assert tell_by_token(client, verb, added_and_leased(client)).status_code == 204


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("body", [{}, {"lease_token": None}])
def test_without_a_token_the_live_lease_is_meant(client: FlaskClient, verb: str, body: dict[str, None]) -> None:
    assert tell(client, verb, added_and_leased(client), **body).status_code == 204


@pytest.mark.parametrize("verb", VERBS)
def test_a_stale_token_changes_nothing(client: FlaskClient, connection: Connection, verb: str) -> None:
    first = added_and_leased(client, lease_ms=100)
    past(connection, "running", "lease_expires_at", 1)
    second = lease_one(client)
    assert second["id"] == first["id"]
    assert second["lease_token"] != first["lease_token"]
    before = everything(connection)
    check_error(tell_by_token(client, verb, first), "conflict")
    assert everything(connection) == before
    assert tell_by_token(client, verb, second).status_code == 204


@pytest.mark.parametrize("verb", VERBS)
def test_a_token_of_another_job_changes_nothing(client: FlaskClient, connection: Connection, verb: str) -> None:
    mine = added_and_leased(client)
    other = added_and_leased(client)
    before = everything(connection)
    check_error(tell(client, verb, mine, lease_token=other["lease_token"]), "conflict")
    check_error(tell(client, verb, other, lease_token=mine["lease_token"]), "conflict")
    assert everything(connection) == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("token", ["", " ", "nonsense", "0", "-1", "9" * 400, "1-00000000", "1' or '1'='1", "\u0661"])
def test_a_text_that_is_no_token_is_a_conflict(
    client: FlaskClient, connection: Connection, verb: str, token: str
) -> None:
    job = added_and_leased(client)
    before = everything(connection)
    check_error(tell(client, verb, job, lease_token=token), "conflict")
    assert everything(connection) == before


@pytest.mark.parametrize("token", [1, True, [], {}, 1.5])
@pytest.mark.parametrize("verb", VERBS)
def test_a_token_is_a_text(client: FlaskClient, verb: str, token: object) -> None:
    body = check_error(tell(client, verb, added_and_leased(client), lease_token=token), "validation")
    assert list(body["details"]) == ["lease_token"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_token_of_a_lease_that_never_was_is_a_conflict(client: FlaskClient, verb: str) -> None:
    job = added_and_leased(client)
    check_error(tell(client, verb, job, lease_token=token_of(job["id"], 10**17)), "conflict")
    check_error(tell(client, verb, add(client), lease_token=token_of(job["id"], 1)), "conflict")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("body", [{}, {"lease_token": "x"}, {"lease_token": token_of(UNKNOWN, 1)}])
def test_an_unknown_job_is_not_found(refused: FlaskClient, verb: str, body: dict[str, str]) -> None:
    check_error(tell(refused, verb, UNKNOWN, **body), "not_found")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("job_id", ["nonsense", "1", f"{UNKNOWN}0", UNKNOWN.replace("-", ""), f"{{{UNKNOWN}}}"])
def test_what_is_no_id_is_not_found(refused: FlaskClient, verb: str, job_id: str) -> None:
    check_error(tell(refused, verb, job_id), "not_found")


@pytest.mark.parametrize("verb", VERBS)
def test_an_id_in_capitals_is_the_same_job(client: FlaskClient, verb: str) -> None:
    job = added_and_leased(client)
    assert tell(client, verb, job["id"].upper(), lease_token=job["lease_token"]).status_code == 204


@pytest.mark.parametrize("verb", VERBS)
def test_a_job_that_is_not_leased_is_a_conflict(client: FlaskClient, verb: str) -> None:
    check_error(tell(client, verb, add(client)), "conflict")


@pytest.mark.parametrize("verb", VERBS)
def test_a_job_that_a_pool_runs_belongs_to_nobody_over_http(
    client: FlaskClient, connection: Connection, verb: str
) -> None:
    job = created(client, kind="summarize_text", payload={"text": "Held."})
    held = claim_one(connection, register(connection), kinds=["summarize_text"])
    before = everything(connection)
    check_error(tell(client, verb, job["id"]), "conflict")
    check_error(tell(client, verb, job["id"], lease_token=token_of(job["id"], held.fence)), "conflict")
    assert everything(connection) == before


@pytest.mark.parametrize("verb", SETTLES)
def test_the_same_settle_again_answers_as_the_first(client: FlaskClient, connection: Connection, verb: str) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, verb, job).status_code == 204
    before = everything(connection)
    for _ in range(2):
        assert tell_by_token(client, verb, job).status_code == 204
    assert everything(connection) == before


@pytest.mark.parametrize("verb", SETTLES)
def test_the_same_settle_again_answers_as_the_first_after_the_job_went_on(
    client: FlaskClient, connection: Connection, verb: str
) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, verb, job, **({"retry_ms": 0} if verb == "fail" else {})).status_code == 204
    if verb != "ack":
        again = lease_one(client)
        assert again["id"] == job["id"]
        assert tell_by_token(client, "ack", again).status_code == 204
    before = everything(connection)
    assert tell_by_token(client, verb, job).status_code == 204
    assert everything(connection) == before


@pytest.mark.parametrize("verb", SETTLES)
def test_a_settle_without_its_token_is_answered_once(client: FlaskClient, verb: str) -> None:
    job = added_and_leased(client)
    assert tell(client, verb, job).status_code == 204
    check_error(tell(client, verb, job), "conflict")


@pytest.mark.parametrize(
    ("first", "second"), [(first, second) for first in SETTLES for second in VERBS if first != second]
)
def test_another_word_after_a_settle_is_a_conflict(client: FlaskClient, first: str, second: str) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, first, job).status_code == 204
    check_error(tell_by_token(client, second, job), "conflict")


def test_another_reason_or_another_end_is_another_settle(client: FlaskClient) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, "fail", job, reason="this").status_code == 204
    check_error(tell_by_token(client, "fail", job, reason="that"), "conflict")
    check_error(tell_by_token(client, "fail", job, reason="this", permanent=True), "conflict")
    assert tell_by_token(client, "fail", job, reason="this", retry_ms=0).status_code == 204
    job = added_and_leased(client)
    for _ in range(2):
        assert tell_by_token(client, "fail", job, reason="this", permanent=True).status_code == 204


def test_a_reason_that_was_cut_is_still_the_same(client: FlaskClient) -> None:
    job = added_and_leased(client)
    for _ in range(2):
        assert tell_by_token(client, "fail", job, reason="x" * 100_000 + "\x1b").status_code == 204


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_rescue_wrote_is_not_taken_for_the_holders_word(
    client: FlaskClient, connection: Connection, verb: str
) -> None:
    job = added_and_leased(client)
    past(connection, "running", "lease_expires_at", 3600)
    assert len(leases.rescue(connection, workers_too=False)) == 1
    check_error(tell_by_token(client, verb, job), "conflict")
    check_error(tell(client, verb, job), "conflict")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("told", [tell, tell_by_token])
def test_an_expired_lease_that_nobody_took_back_is_still_good(
    client: FlaskClient, connection: Connection, verb: str, told: Callable[..., TestResponse]
) -> None:
    job = added_and_leased(client)
    past(connection, "running", "lease_expires_at", 3600)
    assert told(client, verb, job).status_code == 204


@pytest.mark.parametrize("verb", VERBS)
def test_where_tokens_are_asked_for_none_is_an_error_that_names_the_field(
    make_app: Callable[..., flask.Flask], connection: Connection, verb: str
) -> None:
    client = make_app(require_lease_token=True).test_client()
    job = added_and_leased(client)
    before = everything(connection)
    for body in ({}, {"lease_token": None}):
        said = check_error(tell(client, verb, job, **body), "validation")
        assert list(said["details"]) == ["lease_token"]
        check_error(tell(client, verb, UNKNOWN, **body), "validation")
    assert everything(connection) == before
    assert tell_by_token(client, verb, job).status_code == 204


def test_no_token_is_ever_used_twice(client: FlaskClient) -> None:
    add(client)
    seen = set()
    for _ in range(20):
        job = lease_one(client)
        seen.add(job["lease_token"])
        assert tell_by_token(client, "release", job).status_code == 204
    assert len(seen) == 20


def test_the_fence_stays_inside(client: FlaskClient) -> None:
    job = added_and_leased(client)
    assert job["lease_token"] not in client.get(f"/jobs/{job['id']}").text
    assert get(client, job["id"])["queue"] == QUEUE
