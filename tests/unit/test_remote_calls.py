"""What the answers of a service mean to a worker over HTTP, and how long it goes on asking."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.receiver import Exchange, Receiver
from support.remote import jobs_body, leased

from app.commands.api import Api
from app.commands.console import Target
from app.commands.remote.calls import LONGEST_PAUSE_SECONDS, Again, Calls, Lease, LeaseLost, Refused, pause_before
from app.commands.remote.settling import repeated

JOB = leased("01890000-0000-7000-8000-000000000001", timeout_seconds=7)
LEASE = Lease.of(JOB)
OURS = b'{"error": "not_found", "message": "there is no job"}'


@pytest.fixture
def service() -> Iterator[Receiver]:
    """A service that answers as `answer` says."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def calls(service: Receiver) -> Calls:
    """The calls of a worker with leases of 30 s."""
    target = Target(f"http://127.0.0.1:{service.port}", None)
    return Calls(Api(target), Api(target), 30_000)


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.reply(status, body, **headers)


def body_of(service: Receiver) -> Any:
    return json.loads(service.requests[-1].body)


# -- what is sent


def test_a_lease_asks_for_what_it_was_told(service: Receiver, calls: Calls) -> None:
    service.answer = answering(200, jobs_body(JOB))
    assert calls.lease("slow", ("a", "b"), 3, 100) == [LEASE]
    asked = {"queue": "slow", "kinds": ["a", "b"], "limit": 3, "lease_ms": 30_000, "wait_ms": 100}
    assert body_of(service) == asked
    calls.lease("slow", (), 3, 100)
    assert "kinds" not in body_of(service)


def test_every_call_about_a_job_names_its_lease(service: Receiver, calls: Calls) -> None:
    calls.heartbeat(LEASE)
    assert body_of(service) == {"extend_ms": 30_000, "lease_token": LEASE.token}
    calls.settle(LEASE, "ack", {"result": 1})
    assert body_of(service) == {"result": 1, "lease_token": LEASE.token}
    assert [request.path for request in service.requests] == [
        f"/v1/jobs/{LEASE.id}/heartbeat",
        f"/v1/jobs/{LEASE.id}/ack",
    ]


# -- what the answers mean


@pytest.mark.parametrize(("said", "wished"), [({}, False), ({"Windlass_Cancel_Requested": "true"}, True)])
def test_a_heartbeat_hears_that_cancel_was_requested(
    service: Receiver, calls: Calls, said: dict[str, str], wished: bool
) -> None:
    service.answer = answering(204, **said)
    assert calls.heartbeat(LEASE) is wished


@pytest.mark.parametrize(("status", "body"), [(409, b""), (409, b"{}"), (404, OURS)])
def test_409_and_404_say_that_the_lease_is_lost(service: Receiver, calls: Calls, status: int, body: bytes) -> None:
    service.answer = answering(status, body)
    with pytest.raises(LeaseLost):
        calls.heartbeat(LEASE)
    with pytest.raises(LeaseLost):
        calls.settle(LEASE, "ack", {})


@pytest.mark.parametrize("body", [b"", b"<html>404</html>", b"[]", b'{"error": {}}', b'"not_found"'])
def test_a_404_that_is_not_the_services_decides_nothing(service: Receiver, calls: Calls, body: bytes) -> None:
    service.answer = answering(404, body)
    with pytest.raises(Again) as raised:
        calls.settle(LEASE, "ack", {})
    assert not raised.value.unheard


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_trouble_passes_and_retry_after_says_when(service: Receiver, calls: Calls, status: int) -> None:
    service.answer = answering(status, Retry_After="17")
    for call in (lambda: calls.lease("q", (), 1, 0), lambda: calls.heartbeat(LEASE)):
        with pytest.raises(Again) as raised:
            call()
        assert raised.value.after == 17
        assert raised.value.unheard == (status != 500)


def test_nobody_there_is_asked_again(calls: Calls, service: Receiver) -> None:
    service.__exit__(None, None, None)
    with pytest.raises(Again, match="Connection refused") as raised:
        calls.settle(LEASE, "ack", {})
    assert (raised.value.after, raised.value.unheard) == (None, True)
    service.__enter__()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 415, 422, 302])
def test_a_lease_that_is_refused_says_what_the_service_said(service: Receiver, calls: Calls, status: int) -> None:
    service.answer = answering(status, b'{"error": "x", "message": "because\\nof this"}')
    with pytest.raises(Refused) as raised:
        calls.lease("q", (), 1, 0)
    assert str(raised.value) == f"lease refused: {status} because of this"


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"jobs": [{}]}', b'{"jobs": 1}', b'{"jobs": [1]}'])
def test_an_answer_that_is_none_is_no_windlass(service: Receiver, calls: Calls, body: bytes) -> None:
    service.answer = answering(200, body)
    with pytest.raises(Refused, match="no Windlass"):
        calls.lease("q", (), 1, 0)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_fields_that_are_refused_are_not_sent_again(service: Receiver, calls: Calls, status: int) -> None:
    service.answer = answering(status)
    with pytest.raises(Refused):
        calls.settle(LEASE, "ack", {"result": 1})


@pytest.mark.parametrize("status", [302, 401, 403, 405])
def test_a_settle_is_told_again_to_whoever_will_not_hear_it_now(service: Receiver, calls: Calls, status: int) -> None:
    service.answer = answering(status)
    with pytest.raises(Again):
        calls.settle(LEASE, "ack", {})


def test_a_lease_may_take_longer_than_its_wait(service: Receiver, calls: Calls) -> None:
    def slowly(exchange: Exchange) -> None:
        service.ending.wait(0.5)
        exchange.reply(200, jobs_body())

    service.answer = slowly
    assert calls.lease("q", (), 1, 100) == []


def test_connections_are_kept(calls: Calls, service: Receiver) -> None:
    def keep(exchange: Exchange) -> None:
        exchange.protocol_version = "HTTP/1.1"
        exchange.close_connection = False
        exchange.reply(200, jobs_body())

    service.answer = keep
    for _ in range(3):
        calls.lease("q", (), 1, 0)
    assert (len(service.requests), service.connections) == (3, 1)
    # The service hears that nothing more is asked.
    calls.stop_leasing()


# -- how often


def test_pauses_grow_to_a_bound_and_are_never_nothing() -> None:
    for repeat in range(1, 2000):
        pauses = [pause_before(repeat) for _ in range(10)]
        most = min(LONGEST_PAUSE_SECONDS, 0.2 * 2.0 ** min(repeat, 10))
        assert all(most / 2 <= pause <= most for pause in pauses)
        assert len(set(pauses)) > 1


def test_a_named_pause_is_the_least() -> None:
    assert pause_before(1, 60.0) == 60.0
    assert pause_before(9, 0.001) >= LONGEST_PAUSE_SECONDS / 2


def test_a_settle_is_repeated_through_any_outage_and_not_too_often() -> None:
    waited = 0.0
    tries = 0

    def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds

    for attempt in repeated(threading.Event()).copy(sleep=sleep):
        with attempt:
            tries += 1
            if waited < 3600:
                raise Again("nobody there")
    assert waited >= 3600
    assert tries < 3600 / (LONGEST_PAUSE_SECONDS / 2) + 10


def test_repeating_ends_when_all_is_over() -> None:
    over = threading.Event()
    over.set()
    tries = 0

    def in_vain() -> None:
        nonlocal tries
        tries += 1
        raise Again("nobody there")

    with pytest.raises(Again):
        repeated(over)(in_vain)
    assert tries == 1
