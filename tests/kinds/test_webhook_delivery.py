"""webhook_delivery against a real HTTP server: what is sent, and what each answer leads to."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from standardwebhooks import Webhook
from support.handlers import JOB_CREATED_AT, JOB_ID, a_run
from support.receiver import Exchange, Receiver

from workerpool.kinds.address_guard import resolve
from workerpool.kinds.registry import load
from workerpool.kinds.settings import KindSettings
from workerpool.kinds.webhook_delivery import deliver, signed, webhook_delivery
from workerpool.outcomes import Cancelled, Dead, Retry

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(100, 140))).decode()


def settings(receiver: Receiver, **environ: str) -> KindSettings:
    nets = f"127.0.0.1/32:{receiver.port},[::1]/128:{receiver.port}"
    return KindSettings.from_env({"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_NETS": nets, **environ})


def post(
    receiver: Receiver,
    *,
    url: str | None = None,
    run: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    payload = {"url": url or receiver.url, "body": {}, **more}
    return deliver(payload, a_run(**(run or {})).context, settings(receiver, **(environ or {})), resolve)


def replying(status: int, body: bytes = b"", **headers: str) -> Receiver:
    return Receiver(lambda exchange: exchange.reply(status, body, **headers))


def independent_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature computed from the specification's text alone."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed_bytes = message_id.encode() + b"." + timestamp.encode() + b"." + body
    return "v1," + base64.b64encode(hmac.new(key, signed_bytes, hashlib.sha256).digest()).decode()


def test_the_body_arrives_signed_and_both_verifiers_accept_it() -> None:
    body = {"text": "Grüße 😀", "numbers": [1, 2.5, -0.0, 9007199254740993], "null": None}
    with Receiver() as receiver:
        result = post(receiver, body=body)
    [request] = receiver.requests
    assert json.loads(request.body) == body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == JOB_ID
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 5
    assert request.headers["webhook-signature"] == independent_signature(
        SECRET, JOB_ID, request.headers["webhook-timestamp"], request.body
    )
    assert Webhook(SECRET).verify(request.body, request.headers) == body
    assert result["status"] == 204


def test_the_timestamp_is_by_the_databases_clock() -> None:
    with Receiver() as receiver:
        post(receiver, run={"waited_seconds": 60.0})
    [request] = receiver.requests
    due = datetime.fromisoformat(JOB_CREATED_AT).timestamp()
    assert 60 <= int(request.headers["webhook-timestamp"]) - due <= 62


def test_the_specifications_own_example_is_reproduced() -> None:
    """The vector published with the reference libraries."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
        1614265330,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_during_a_rotation_each_secret_signs_and_receivers_on_either_accept() -> None:
    with Receiver() as receiver:
        post(receiver, environ={"WEBHOOK_SECRET": f"{SECRET} {OLD_SECRET}"})
    [request] = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(request.body, request.headers)


def test_every_attempt_has_the_same_id_and_the_same_bytes() -> None:
    with Receiver() as receiver:
        for attempt in (1, 2, 3):
            post(receiver, body={"a": [1, {"b": "ü"}]}, event="order.paid", run={"attempt": attempt, "fence": attempt})
    assert len({request.body for request in receiver.requests}) == 1
    assert {request.headers["webhook-id"] for request in receiver.requests} == {JOB_ID}


def test_an_event_wraps_the_body_as_the_specification_recommends() -> None:
    with Receiver() as receiver:
        post(receiver, body={"n": 1}, event="order.paid")
    assert json.loads(receiver.requests[0].body) == {
        "type": "order.paid",
        "timestamp": JOB_CREATED_AT,
        "data": {"n": 1},
    }


@pytest.mark.parametrize("body", [None, 0, "x", [], {}, True, [None]])
def test_any_json_is_sent_as_it_is(body: Any) -> None:
    with Receiver() as receiver:
        post(receiver, body=body)
    assert json.loads(receiver.requests[0].body) == body


def test_own_headers_are_sent_and_nothing_unasked_for() -> None:
    with Receiver() as receiver:
        post(receiver, headers={"X-Api-Key": "k", "Traceparent": "00-1"}, url=receiver.url + "?a=b%20c#part")
    [request] = receiver.requests
    assert request.path == "/hook?a=b%20c"
    assert sorted(request.header_names) == [
        *("accept-encoding", "content-length", "content-type", "host", "traceparent", "user-agent"),
        *("webhook-id", "webhook-signature", "webhook-timestamp", "x-api-key"),
    ]
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["accept-encoding"] == "identity"


def test_the_handler_takes_its_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("WEBHOOK_ALLOW_NETS", f"127.0.0.1/32:{receiver.port}")
        payload = load().check("webhook_delivery", {"url": receiver.url})
        assert webhook_delivery(payload, a_run().context)["status"] == 204


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy, Receiver() as receiver:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        post(receiver)
    assert proxy.connections == 0
    assert len(receiver.requests) == 1


def test_without_a_secret_the_job_is_dead_and_nothing_is_sent() -> None:
    with Receiver() as receiver, pytest.raises(Dead, match="WEBHOOK_SECRET is not set"):
        post(receiver, environ={"WEBHOOK_SECRET": ""})
    assert receiver.connections == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_a_2xx_is_delivered(status: int) -> None:
    with replying(status) as receiver:
        assert post(receiver)["status"] == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 599])
def test_any_other_answer_is_retried_and_told(status: int) -> None:
    with (
        replying(status, b"what they said") as receiver,
        pytest.raises(Retry, match=f"answered {status}: what they said"),
    ):
        post(receiver)


def test_410_ends_the_job() -> None:
    with replying(410, b"gone") as receiver, pytest.raises(Dead, match="answered 410: gone"):
        post(receiver)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    with Receiver() as elsewhere:
        answer: Callable[[Exchange], None] = lambda exchange: exchange.reply(status, Location=elsewhere.url)  # noqa: E731
        with Receiver(answer) as receiver, pytest.raises(Retry, match="redirects are not followed"):
            post(receiver, environ={"WEBHOOK_ALLOW_NETS": "127.0.0.0/8"})
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("7", 7), ("120", 120), (" 30 ", 30), ("86400", 86400), ("99999999", 86400), ("9" * 5000, 86400)],
)
def test_retry_after_in_seconds_is_obeyed_up_to_a_day(value: str, seconds: float) -> None:
    with replying(503, Retry_After=value) as receiver, pytest.raises(Retry) as caught:
        post(receiver)
    assert caught.value.after == seconds


@pytest.mark.parametrize("value", ["", "-5", "1.5", "soon", "٧", "1e3", "Wed, 99 Foo 2030 00:00:00 GMT", "0x10"])  # noqa: RUF001
def test_a_retry_after_that_is_none_leaves_the_delay_to_the_kind(value: str) -> None:
    with (
        Receiver(
            lambda e: e.wfile.write(b"HTTP/1.1 503 x\r\nRetry-After: " + value.encode() + b"\r\n\r\n")
        ) as receiver,
        pytest.raises(Retry) as caught,
    ):
        post(receiver)
    assert caught.value.after is None


def test_retry_after_as_a_date_is_obeyed_by_the_receivers_own_clock() -> None:
    theirs = datetime.now(UTC) - timedelta(hours=5)
    headers = (
        f"Date: {format_datetime(theirs, True)}\r\nRetry-After: {format_datetime(theirs + timedelta(seconds=90), True)}"
    )
    with (
        Receiver(lambda e: e.wfile.write(f"HTTP/1.1 429 x\r\n{headers}\r\n\r\n".encode())) as receiver,
        pytest.raises(Retry) as caught,
    ):
        post(receiver)
    assert caught.value.after == 90


def test_a_retry_after_date_that_has_passed_means_now() -> None:
    with replying(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT") as receiver, pytest.raises(Retry) as caught:
        post(receiver)
    assert caught.value.after == 0


def test_a_token_that_is_echoed_is_not_kept() -> None:
    def echo(exchange: Exchange) -> None:
        exchange.reply(500, str(dict(exchange.headers)).encode())

    with Receiver(echo) as receiver, pytest.raises(Retry) as caught:
        post(receiver, headers={"X-Api-Key": "canary-1234"}, url=receiver.url + "?token=canary-5678")
    assert "canary" not in caught.value.reason
    assert receiver.requests[0].headers["webhook-signature"] not in caught.value.reason


def test_a_reply_that_is_not_text_makes_a_storable_error() -> None:
    with replying(500, bytes(range(256)) * 10) as receiver, pytest.raises(Retry) as caught:
        post(receiver)
    caught.value.reason.encode()
    assert "\x00" not in caught.value.reason
    assert len(caught.value.reason) < 1000


def test_a_server_that_is_not_there_is_retried() -> None:
    with Receiver() as receiver:
        gone = settings(receiver)
        url = receiver.url
    with pytest.raises(Retry, match=r"http://127\.0\.0\.1:\d+: ConnectionRefusedError"):
        deliver({"url": url}, a_run().context, gone, resolve)


def test_a_name_nobody_knows_is_retried() -> None:
    with Receiver() as receiver, pytest.raises(Retry, match="gaierror"):
        post(receiver, url=f"http://does-not-exist.invalid:{receiver.port}/")


def test_a_cancelled_job_sends_nothing() -> None:
    with Receiver() as receiver, pytest.raises(Cancelled):
        post(receiver, run={"is_cancelled": lambda: True})
    assert receiver.connections == 0


@pytest.mark.usefixtures("trusting")
def test_https_is_verified_and_the_server_is_asked_for_by_its_name(certificates: Any) -> None:
    with Receiver(tls=certificates.trusted) as receiver:
        url = f"https://hook.example.:{receiver.port}/x"
        run = a_run()
        deliver({"url": url}, run.context, settings(receiver), lambda _host, port: resolve("127.0.0.1", port))
    [request] = receiver.requests
    assert request.server_name == "hook.example"
    assert request.headers["host"] == f"hook.example.:{receiver.port}"


@pytest.mark.parametrize("context", ["untrusted", "trusted"])
@pytest.mark.usefixtures("trusting")
def test_a_certificate_of_a_stranger_or_for_another_name_is_refused(context: str, certificates: Any) -> None:
    host = "hook.example" if context == "untrusted" else "other.example"
    with (
        Receiver(tls=getattr(certificates, context)) as receiver,
        pytest.raises(Retry, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        deliver(
            {"url": f"https://{host}:{receiver.port}/"},
            a_run().context,
            settings(receiver),
            lambda _host, port: resolve("127.0.0.1", port),
        )
    assert receiver.requests == []
