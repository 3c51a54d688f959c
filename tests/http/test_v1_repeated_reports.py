"""A failure reported again is answered as the first time, whatever has become of the job; a rescue is no report."""

from flask.testing import FlaskClient
from support.http import check_error
from support.v1 import added_and_leased, lease_one, tell_by_token
from support.work import everything, past

from sql import leases
from sql.connection import Connection


def test_a_permanent_failure_is_known_also_after_its_redrive(client: FlaskClient, connection: Connection) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, "fail", job, reason="this", permanent=True).status_code == 204
    assert client.post(f"/v1/admin/jobs/{job['id']}/requeue").status_code == 204
    lease_one(client)
    before = everything(connection)
    assert tell_by_token(client, "fail", job, reason="this", permanent=True).status_code == 204
    check_error(tell_by_token(client, "fail", job, reason="this"), "conflict")
    assert everything(connection) == before


def test_who_reports_the_words_of_a_rescue_has_still_lost_its_lease(
    client: FlaskClient, connection: Connection
) -> None:
    job = added_and_leased(client)
    past(connection, "running", "lease_expires_at", 3600)
    assert leases.rescue(connection, workers_too=False) == {job["id"]: "retrying"}
    check_error(tell_by_token(client, "fail", job, reason="lease expired"), "conflict")
