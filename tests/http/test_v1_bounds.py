"""Every number, name and list of `/v1` has bounds, and what is beyond them is refused by its name."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.hostile_values import VALUES
from support.http import check_error
from support.v1 import QUEUE, add, added_and_leased, lease, tell

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"
DAY_MS = 86_400_000
BODIES: dict[str, dict[str, Any]] = {
    "/v1/jobs": {"queue": QUEUE, "payload": None},
    "/v1/lease": {"queue": QUEUE, "limit": 1, "lease_ms": 1000},
    f"/v1/jobs/{UNKNOWN}/ack": {},
    f"/v1/jobs/{UNKNOWN}/fail": {"reason": "no"},
    f"/v1/jobs/{UNKNOWN}/heartbeat": {"extend_ms": 1000},
    f"/v1/jobs/{UNKNOWN}/release": {},
}
NUMBERS = [
    ("/v1/jobs", "max_attempts", 1, 100, True),
    ("/v1/jobs", "priority", -32768, 32767, True),
    ("/v1/lease", "limit", 1, 1000, False),
    ("/v1/lease", "lease_ms", 100, DAY_MS, False),
    ("/v1/lease", "wait_ms", 0, 20_000, True),
    (f"/v1/jobs/{UNKNOWN}/fail", "retry_ms", 0, DAY_MS, True),
    (f"/v1/jobs/{UNKNOWN}/heartbeat", "extend_ms", 100, DAY_MS, False),
]
REQUIRED = [("/v1/jobs", "queue"), ("/v1/jobs", "payload"), ("/v1/lease", "queue"), ("/v1/lease", "limit"),
            ("/v1/lease", "lease_ms"), (f"/v1/jobs/{UNKNOWN}/fail", "reason"),
            (f"/v1/jobs/{UNKNOWN}/heartbeat", "extend_ms")]  # fmt: skip
WRONG_TYPES = ["1", 1.0, 1.5, True, False, [1], {}, ""]


def check_refused(client: FlaskClient, path: str, field: str, value: Any) -> None:
    body = check_error(client.post(path, json={**BODIES[path], field: value}), "validation")
    assert [name.partition(".")[0] for name in body["details"]] == [field], value
    assert body["message"].startswith(field)


@pytest.mark.parametrize(("path", "field", "least", "most", "nullable"), NUMBERS, ids=lambda each: str(each)[-30:])
def test_a_number_beyond_its_bounds_is_refused(
    refused: FlaskClient, path: str, field: str, least: int, most: int, nullable: bool
) -> None:
    beyond = [least - 1, most + 1, -1 - abs(least), 2**31 - 1 if most < 2**31 - 1 else 2**31, 2**31, 2**32 + 500,
              -(2**31) - 1, 2**63, 10**400]  # fmt: skip
    for value in (*beyond, *WRONG_TYPES, *([] if nullable else [None])):
        check_refused(refused, path, field, value)


@pytest.mark.parametrize(("path", "field", "least", "most", "nullable"), NUMBERS, ids=lambda each: str(each)[-30:])
def test_the_bounds_themselves_are_good(
    client: FlaskClient, path: str, field: str, least: int, most: int, nullable: bool
) -> None:
    for value in (least, most, *([None] if nullable else [])):
        job_id = added_and_leased(client)["id"]
        # A request for work that may wait finds some and is answered at once.
        add(client)
        response = client.post(path.replace(UNKNOWN, job_id), json={**BODIES[path], field: value})
        assert response.status_code in (200, 204), response.text
        for job in lease(client, 1000):
            tell(client, "ack", job)


@pytest.mark.parametrize(("path", "field"), REQUIRED)
def test_a_field_that_is_left_out_is_named(refused: FlaskClient, path: str, field: str) -> None:
    body = {name: value for name, value in BODIES[path].items() if name != field}
    assert list(check_error(refused.post(path, json=body), "validation")["details"]) == [field]
    if field != "payload":
        check_refused(refused, path, field, None)


@pytest.mark.parametrize("path", BODIES)
def test_a_field_that_nobody_knows_is_named(refused: FlaskClient, path: str) -> None:
    check_refused(refused, path, "lease_tokens", "x")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/lease"])
@pytest.mark.parametrize("queue", ["", " ", "a b", "a" * 129, "caf\u00e9", "a\n", "a,b", "*", "%", 1, [], None, True])
def test_a_queue_has_a_name_of_few_characters(refused: FlaskClient, path: str, queue: Any) -> None:
    check_refused(refused, path, "queue", queue)


@pytest.mark.parametrize(
    "kinds",
    [[], ["a"] * 101, [""], ["a b"], ["a" * 129], [None], [1], [["a"]], ["external", "caf\u00e9"], "external", {}, 1],
    ids=repr,
)
def test_kinds_are_1_to_100_names(refused: FlaskClient, kinds: Any) -> None:
    check_refused(refused, "/v1/lease", "kinds", kinds)


def test_a_hundred_kinds_with_the_longest_names_are_good(client: FlaskClient) -> None:
    kinds = [f"{'k' * 125}{n:03}" for n in range(100)]
    response = client.post("/v1/lease", json={**BODIES["/v1/lease"], "kinds": kinds})
    assert (response.status_code, response.get_json()) == (200, {"jobs": []})


@pytest.mark.parametrize("permanent", [0, 1, "true", "false", [], {}, 1.0])
def test_permanent_is_true_or_false(refused: FlaskClient, permanent: Any) -> None:
    check_refused(refused, f"/v1/jobs/{UNKNOWN}/fail", "permanent", permanent)


@pytest.mark.parametrize("reason", [1, None, [], {}, True])
def test_a_reason_is_a_text(refused: FlaskClient, reason: Any) -> None:
    check_refused(refused, f"/v1/jobs/{UNKNOWN}/fail", "reason", reason)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("sent", "slug"),
    [
        ({"data": b"{", "content_type": "application/json"}, "bad_request"),
        ({"data": b"\xff", "content_type": "application/json"}, "bad_request"),
        ({"data": b"[]", "content_type": "application/json"}, "validation"),
        ({"data": b"null", "content_type": "application/json"}, "validation"),
        ({"data": b"{}", "content_type": "text/plain"}, "unsupported_media_type"),
        ({"data": b"{}"}, "unsupported_media_type"),
        ({"data": b" " * (1024 * 1024 + 1), "content_type": "application/json"}, "payload_too_large"),
    ],
    ids=["half", "not UTF-8", "a list", "null", "text", "no type", "too large"],
)
def test_a_body_that_is_no_object_is_refused(refused: FlaskClient, path: str, sent: dict[str, Any], slug: str) -> None:
    check_error(refused.post(path, **sent), slug)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_not_known(refused: FlaskClient, path: str, method: str) -> None:
    response = refused.open(path, method=method)
    check_error(response, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", BODIES)
def test_any_value_in_any_field_is_answered_without_a_500(client: FlaskClient, path: str) -> None:
    fields = {
        "jobs": ("queue", "payload", "max_attempts", "run_at", "priority", "idempotency_key", "kind"),
        "lease": ("queue", "limit", "lease_ms", "kinds", "wait_ms"),
        "ack": ("lease_token", "result"),
        "fail": ("reason", "retry_ms", "permanent", "lease_token"),
        "heartbeat": ("extend_ms", "progress", "lease_token"),
        "release": ("lease_token",),
    }[path.rpartition("/")[2]]
    add(client)
    for field in fields:
        for name, value in VALUES.items():
            rest = {known: json.dumps(given).encode() for known, given in BODIES[path].items()}
            sent = {**rest, field: value if field != "kinds" else b"[%s]" % value}
            body = b"{" + b",".join(b'"%s":%s' % (known.encode(), given) for known, given in sent.items()) + b"}"
            response = client.post(path, data=body, content_type="application/json")
            if response.status_code != 200:
                assert response.status_code < 500, (field, name)
                check_error(response, response.get_json()["error"])
    unreadable = [job for job in client.get("/jobs?limit=200").get_json() if "unreadable" in json.dumps(job)]
    assert not unreadable
