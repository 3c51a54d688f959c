"""Every input known to break a queue, in every place a client can put it.

Whatever it is: no 5xx, and whatever is accepted reads back as it was sent.
"""

import json
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from support.figures import Publish
from support.hostile_values import REFUSED_EVERYWHERE, VALUES
from support.http import check_error, get
from werkzeug.test import TestResponse

from sql.connection import Connection

FIELDS = ("kind", "payload", "max_attempts", "idempotency_key", "queue", "priority", "run_at", "timeout_seconds")


def with_value(field: str, value: bytes) -> bytes:
    """A request for a job whose `field` is `value`."""
    fields = {"kind": b'"external"', "payload": b"null", field: value}
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), text) for name, text in fields.items()) + b"}"


def post(client: FlaskClient, body: bytes, path: str = "/jobs") -> TestResponse:
    return client.post(path, data=body, content_type="application/json")


def check_answer(response: TestResponse, accepted: tuple[int, ...] = (200, 201)) -> None:
    """Accepted, or refused in the one shape as the fault of the client."""
    if response.status_code not in accepted:
        assert 400 <= response.status_code < 500, response.text
        check_error(response, response.get_json()["error"])


def readable(client: FlaskClient, connection: Connection) -> list[dict[str, Any]]:
    """Every stored job, each read alone and all of them in lists."""
    stored = [row[0] for row in connection.fetch_all("select id::text from windlass.jobs order by id desc")]
    alone = [get(client, job_id) for job_id in stored]
    listed: list[dict[str, Any]] = []
    for offset in range(0, len(stored) + 1, 200):
        listed += client.get(f"/jobs?limit=200&offset={offset}").get_json()
    assert alone == listed
    assert "unreadable" not in json.dumps(alone)
    return alone


@pytest.mark.parametrize("field", FIELDS)
def test_any_value_in_any_field_is_refused_or_reads_back(
    client: FlaskClient, connection: Connection, publish: Publish, field: str
) -> None:
    expected = {}
    for name, value in VALUES.items():
        response = post(client, with_value(field, value))
        check_answer(response)
        assert response.status_code >= 400 or name not in REFUSED_EVERYWHERE, name
        if response.status_code == 201 and field == "payload":
            expected[response.get_json()["id"]] = json.loads(value)
    stored = readable(client, connection)
    for job in stored:
        if field == "payload":
            sent = expected[job["id"]]
            # jsonb writes a float out as the decimal it was sent as; read as a float it is the same.
            assert (float(job["payload"]) if isinstance(sent, float) else job["payload"]) == sent
    publish(f"{field}: of {len(VALUES)} values {len(stored)} were taken and read back, the others refused")


def test_any_value_may_be_a_name_a_list_or_deep_inside_a_payload(client: FlaskClient, connection: Connection) -> None:
    for name, value in VALUES.items():
        shapes = [b"[%s]" % value, b'{"a":{"b":[1,%s]}}' % value]
        if value.startswith(b'"'):
            shapes.append(b'{%s:{"x":%s}}' % (value, value))
        for shape in shapes:
            response = post(client, with_value("payload", shape))
            check_answer(response)
            assert response.status_code >= 400 or name not in REFUSED_EVERYWHERE, name
    readable(client, connection)


def test_any_value_in_any_payload_field_of_the_shipped_kinds_is_refused_or_reads_back(
    client: FlaskClient, connection: Connection
) -> None:
    payloads: dict[str, dict[str, bytes]] = {
        "send_email": {"to": b'"a@example.org"', "subject": b'"s"', "body": b'"b"', "html": b'"h"', "cc": b"[]"},
        "resize_image": {"source": b'"a.png"', "width": b"1", "height": b"1", "target": b'"b.png"', "fit": b'"cover"'},
        "summarize_text": {"text": b'"t"', "sentences": b"1"},
        "webhook_delivery": {"url": b'"https://example.org/"', "body": b"1", "headers": b"{}", "event": b'"e"'},
    }
    for kind, fields in payloads.items():
        for field in fields:
            for value in VALUES.values():
                changed = {**fields, field: value}
                payload = b"{" + b",".join(b'"%s":%s' % (n.encode(), v) for n, v in changed.items()) + b"}"
                check_answer(post(client, b'{"kind":"%s","payload":%s}' % (kind.encode(), payload)))
    readable(client, connection)


@pytest.mark.parametrize("path", ["/jobs", "/jobs/bulk", "/jobs/01a200c6-e47b-72f2-a97e-1600febf64d7/cancel"])
def test_any_value_as_the_whole_body_is_refused(refused: FlaskClient, path: str) -> None:
    for value in VALUES.values():
        response = post(refused, value, path)
        assert 400 <= response.status_code < 500
        check_error(response, response.get_json()["error"])


def test_any_value_as_an_item_of_a_bulk_is_refused_and_its_neighbours_are_not(
    client: FlaskClient, connection: Connection
) -> None:
    for name, value in VALUES.items():
        response = post(client, b'{"jobs":[%s,{"kind":"external","payload":1}]}' % value, "/jobs/bulk")
        check_answer(response)
        if response.status_code == 200:
            assert name not in REFUSED_EVERYWHERE
            assert [result["status"] for result in response.get_json()["results"]] == [422, 201]
    readable(client, connection)


def test_a_field_that_nobody_knows_is_refused_whatever_its_name(refused: FlaskClient) -> None:
    for value in VALUES.values():
        if value.startswith(b'"') and value != b'"payload"':
            response = post(refused, b'{"kind":"external","payload":null,%s:1}' % value)
            check_error(response, response.get_json()["error"])


@pytest.mark.parametrize("name", ["status", "kind", "queue", "limit", "offset", "cursor", "nonsense"])
def test_any_text_in_a_query_is_refused_or_means_nothing(refused: FlaskClient, name: str) -> None:
    for value in VALUES.values():
        text = quote(value.strip(b'"')[:2000])
        response = refused.get(f"/jobs?{name}={text}")
        check_answer(response)
        assert response.status_code != 200 or response.get_json() == []


def test_any_text_in_a_path_is_not_found(refused: FlaskClient) -> None:
    for value in VALUES.values():
        for path in ("/jobs/{}", "/jobs/{}/cancel", "/{}", "/docs/assets/{}"):
            response = refused.get(path.format(quote(value.strip(b'"')[:500], safe="")))
            assert response.status_code in (404, 405), response.text
            check_error(response, response.get_json()["error"])


def test_any_text_in_a_header_is_refused_or_ignored(client: FlaskClient, connection: Connection) -> None:
    for value in VALUES.values():
        text = value[:500].decode("latin-1").replace("\r", " ").replace("\n", " ").replace("\0", " ")
        for header in (
            "Idempotency-Key",
            "X-Request-Id",
            "Authorization",
            "Content-Encoding",
            "X-Forwarded-For",
            "Host",
        ):
            check_answer(
                client.post(
                    "/jobs", data=with_value("payload", b"1"), content_type="application/json", headers={header: text}
                )
            )
        check_answer(client.post("/jobs", data=with_value("payload", b"1"), content_type=text or None))
    readable(client, connection)


def test_numbers_come_back_as_jsonb_keeps_them(client: FlaskClient) -> None:
    numbers = b"[9007199254740993, 1.0, -0, 1e22, 0.1, 1e-7]"
    job = post(client, with_value("payload", numbers)).get_json()
    text = client.get(f"/jobs/{job['id']}").text
    assert "[9007199254740993, 1.0, 0, 10000000000000000000000, 0.1, 0.0000001]" in text
