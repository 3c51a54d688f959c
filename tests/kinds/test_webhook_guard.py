"""What a webhook must never reach, tried at creation, at sending and at sending again: nothing may arrive."""

import socket
from collections.abc import Iterator, Sequence

import pytest
from support.forbidden_hosts import HOSTS
from support.handlers import a_run
from support.receiver import Receiver

from workerpool.kinds.address_guard import Answer, resolve
from workerpool.kinds.registry import PayloadInvalid, load
from workerpool.kinds.settings import KindSettings
from workerpool.kinds.webhook_delivery import deliver
from workerpool.outcomes import Dead, Retry

SECRET = f"whsec_{'a' * 43}="


@pytest.fixture
def victim() -> Iterator[Receiver]:
    """A receiver on loopback that must hear nothing."""
    with Receiver() as receiver:
        yield receiver
        assert receiver.connections == 0


def settings(port: int, nets: str = "") -> KindSettings:
    return KindSettings.from_env(
        {"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PORTS": f"80,443,{port}", "WEBHOOK_ALLOW_NETS": nets}
    )


def answer(address: str, port: int) -> Answer:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (address, port))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", HOSTS)
def test_no_form_of_a_forbidden_address_is_connected_to(host: str, scheme: str, victim: Receiver) -> None:
    port = victim.port
    for attempt in (1, 2):
        with pytest.raises(Dead):
            deliver({"url": f"{scheme}://{host}:{port}/"}, a_run(attempt=attempt).context, settings(port), resolve)


@pytest.mark.parametrize("host", ["127.0.0.1.", "localhost.", "2130706433."])
def test_a_dot_at_the_end_changes_nothing(host: str, victim: Receiver) -> None:
    """Whether the system's resolver knows such a name differs; that nothing is reached does not."""
    port = victim.port
    with pytest.raises((Dead, Retry)):
        deliver({"url": f"http://{host}:{port}/"}, a_run().context, settings(port), resolve)


@pytest.mark.parametrize("host", [host for host in [*HOSTS, "127.0.0.1."] if host.lower() != "localhost"])
def test_no_form_of_a_forbidden_address_is_accepted_at_creation(host: str) -> None:
    with pytest.raises(PayloadInvalid, match="url: "):
        load().check("webhook_delivery", {"url": f"http://{host}/"})


@pytest.mark.parametrize("bad", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "fd00::1"])
@pytest.mark.parametrize("first", [True, False])
def test_a_name_with_one_forbidden_answer_among_public_ones_is_refused(bad: str, first: bool, victim: Receiver) -> None:
    port = victim.port

    def mixed(_host: str, port: int) -> Sequence[Answer]:
        answers = [answer("93.184.215.14", port), answer(bad, port)]
        return answers[::-1] if first else answers

    with pytest.raises(Dead, match=r"hook\.example is not a public address"):
        deliver({"url": f"http://hook.example:{port}/"}, a_run().context, settings(port), mixed)


def test_a_name_that_changes_its_answer_is_asked_once_and_the_checked_answer_is_used() -> None:
    """The first question is answered with an allowed address, every later one with another."""
    with Receiver(host="127.0.0.1") as allowed, Receiver(host="127.0.0.3") as other:
        other_port = other.port
        asked: list[str] = []

        def flipping(host: str, port: int) -> Sequence[Answer]:
            asked.append(host)
            return [answer("127.0.0.1", port)] if len(asked) == 1 else [answer("127.0.0.3", other_port)]

        rules = settings(allowed.port, nets=f"127.0.0.1/32:{allowed.port}")
        payload = {"url": f"http://hook.example:{allowed.port}/"}
        assert deliver(payload, a_run().context, rules, flipping)["status"] == 204
        assert asked == ["hook.example"]
        with pytest.raises(Dead):
            deliver(payload, a_run(attempt=2).context, rules, flipping)
        assert asked == ["hook.example"] * 2
    assert allowed.connections == 1
    assert other.connections == 0
    assert allowed.requests[0].headers["host"] == f"hook.example:{allowed.port}"


def test_every_attempt_is_checked_anew() -> None:
    with Receiver() as receiver:
        answers = iter(["127.0.0.1", "10.0.0.1"])
        rules = settings(receiver.port, nets="127.0.0.1/32")
        payload = {"url": f"http://hook.example:{receiver.port}/"}

        def changing(_host: str, port: int) -> Sequence[Answer]:
            return [answer(next(answers), port)]

        deliver(payload, a_run().context, rules, changing)
        with pytest.raises(Dead):
            deliver(payload, a_run(attempt=2).context, rules, changing)
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "/again", "file:///etc/passwd"]
)
def test_a_redirect_to_a_forbidden_address_is_not_followed(location: str, victim: Receiver) -> None:
    where = location.format(port=victim.port)
    with Receiver(lambda exchange: exchange.reply(307, Location=where)) as receiver, pytest.raises(Retry):
        deliver(
            {"url": receiver.url},
            a_run().context,
            settings(receiver.port, nets=f"127.0.0.1/32:{receiver.port}"),
            resolve,
        )
    assert len(receiver.requests) == 1


def test_the_refusal_of_a_name_says_what_to_set_and_not_what_it_resolves_to() -> None:
    with pytest.raises(Dead, match="WEBHOOK_ALLOW_NETS") as caught:
        deliver(
            {"url": "http://db.internal/"},
            a_run().context,
            settings(80),
            lambda _host, port: [answer("10.20.30.40", port)],
        )
    assert "10.20.30.40" not in caught.value.reason


def test_a_name_without_any_address_is_no_way_around_the_guard() -> None:
    with pytest.raises(Retry):
        deliver({"url": "http://empty.example/"}, a_run().context, settings(80), lambda _host, _port: [])
