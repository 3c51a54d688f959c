"""Hostile mail: each input is refused, or is exactly one message to exactly the recipients it names."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from support.handlers import a_run
from support.smtp_sink import Received, SmtpSink

from workerpool.kinds.registry import PayloadInvalid, load
from workerpool.kinds.send_email import recipients, send
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Dead

HEADERS = {"message-id", "date", "from", "to", "cc", "reply-to", "subject", "auto-submitted", "mime-version"}
HEADERS |= {"content-type", "content-transfer-encoding"}
INTRUDER = "intruder@evil.example"

BREAKS = [
    *("\r\n", "\n", "\r", "\r\n\r\n", "\r\n ", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"),
    *("\\r\\n", "%0d%0a", "=0D=0A", "\u560a\u560d", "\ud800", "\x1b[2J", "\u202e", "\ufeff", "\x7f", "\x00", ""),
]
INJECTIONS = [
    *(f"Bcc: {INTRUDER}", f"To: {INTRUDER}", "X-Evil: 1", "Content-Type: text/html", ".", ".\r\n", "..", "QUIT"),
    *(f".\r\nMAIL FROM:<{INTRUDER}>\r\nRCPT TO:<{INTRUDER}>\r\nDATA\r\nevil\r\n.", f"RCPT TO:<{INTRUDER}>"),
    *(f"\n.\r\nRCPT TO:<{INTRUDER}>", f"\r.\rMAIL FROM:<{INTRUDER}>", "From attacker", "\x00", "--===============", ""),
]
ENCODED = [
    *("=?utf-8?q?=0D=0ABcc:_%s?=", "=?utf-8?b?DQpCY2M6IGludHJ1ZGVyQGV2aWwuZXhhbXBsZQ==?=", "=?utf-8?q?=0ABcc:=20x?= y"),
    *("=?x?q?=0a?=", "=?iso-2022-jp?b?GyRCDQo=?=", "=?utf-7?q?+AA0ACg-Bcc:?=", "=?", "?=", "=?utf-8?q?"),
]
SHAPES = [
    *("ann@example.org", "a@b", "{0}@example.org", "ann@{0}", "ann@example.org{0}", "{0}ann@example.org", "<{0}>"),
    *('"{0}"@example.org', "Ann {0} <ann@example.org>", "ann@example.org,{0}", "ann@example.org> {0} <b", "{0}"),
    *("ann@example.org SIZE=1", "=?utf-8?q?=61?=@example.org", "ann@[127.0.0.1]", "ann%evil.example@example.org"),
    *("@a,@b:ann@example.org", "o'x+y@example.org"),
]
TEXTS = [*BREAKS, *INJECTIONS, *ENCODED, "text", "ä", " " * 80, "word " * 30]


def hostile(chance: random.Random) -> str:
    return "".join(chance.choices(TEXTS, k=chance.randint(1, 5)))


def hostile_address(chance: random.Random) -> Any:
    made = chance.choice(SHAPES).format(chance.choice([*BREAKS, *INJECTIONS, *ENCODED, "b"]))
    return chance.choice([made, [made], ["ann@example.org", made], made, "ann@example.org"])


def payloads(seed: int, count: int, fields: list[str]) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    for _ in range(count):
        payload: dict[str, Any] = {"to": "ann@example.org", "subject": "Hello", "body": "Text"}
        for field in chance.sample(fields, chance.randint(1, 3)):
            payload[field] = hostile_address(chance) if field in ("to", "cc", "reply_to") else hostile(chance)
        yield payload


def settings(sink: SmtpSink) -> KindSettings:
    return KindSettings.from_env({"SMTP_URL": f"smtp://127.0.0.1:{sink.port}", "SMTP_FROM": "jobs@windlass.example"})


def assert_header_block(received: Received, payload: dict[str, Any]) -> None:
    block, _, _ = received.content.partition(b"\r\n\r\n")
    names = [line.split(b":")[0].decode().lower() for line in block.split(b"\r\n") if not line[:1].isspace()]
    assert len(names) == len(set(names)), payload
    assert set(names) <= HEADERS, payload


def assert_one_message(sink: SmtpSink, payload: dict[str, Any]) -> None:
    [received] = sink.received
    assert received.recipients == recipients(payload), payload
    assert_header_block(received, payload)
    without_line_ends = received.content.replace(b"\r\n", b"")
    assert b"\n" not in without_line_ends, payload
    assert b"\r" not in without_line_ends, payload
    # A reader takes leading space for part of the colon; everything else must be what was asked for.
    assert received.message["Subject"].split() == payload["subject"].split(), payload


def test_a_thousand_hostile_inputs_are_each_refused_or_one_message_to_those_named() -> None:
    refused = sent = 0
    with SmtpSink() as sink:
        for payload in payloads(1, 1200, ["to", "subject", "body", "html", "cc", "reply_to"]):
            sink.received.clear()
            try:
                loaded = load().check("send_email", payload)
            except PayloadInvalid:
                refused += 1
                continue
            send(loaded, a_run().context, settings(sink))
            assert_one_message(sink, loaded)
            sent += 1
    assert refused > 300
    assert sent > 200


def test_no_text_gets_into_the_header_block_even_past_the_schema() -> None:
    """The schema is one guard; texts it would refuse are given to the sender directly."""
    with SmtpSink() as sink:
        for payload in payloads(2, 1200, ["subject", "body", "html"]):
            sink.received.clear()
            payload["to"] = ["ann@example.org"]
            try:
                send(payload, a_run().context, settings(sink))
            except (Dead, ValueError):
                assert sink.received == [], payload
                continue
            [received] = sink.received
            assert received.recipients == ["ann@example.org"]
            assert_header_block(received, payload)


@pytest.mark.parametrize("word", ["=?utf-8?q?=0D=0ABcc:_intruder@evil.example?=", "=?utf-8?b?DQpCY2M6IHhAeS56?="])
def test_a_line_end_hidden_in_an_encoded_word_never_becomes_a_header(word: str) -> None:
    payload = {"to": ["ann@example.org"], "subject": word, "body": "Text"}
    with SmtpSink() as sink:
        try:
            send(payload, a_run().context, settings(sink))
        except (Dead, ValueError):
            assert sink.received == []
            return
        assert "bcc" not in {name.lower() for name in sink.received[0].message}


@pytest.mark.parametrize(
    "body",
    [
        ".",
        "\n.\n",
        "\r\n.\r\n",
        "a\r.\rb",
        "a\n.\nQUIT\n",
        "..",
        "\n..\n",
        ".\r\n.\r\n.",
        "\r",
        "a\rb",
        "x" * 100_000,
        "\x0c\x0b\x85 \u2028",
    ],
)
def test_a_body_arrives_whole_and_ends_nothing(body: str) -> None:
    with SmtpSink() as sink:
        send(
            load().check("send_email", {"to": "a@b.org", "subject": "s", "body": body}), a_run().context, settings(sink)
        )
    [received] = sink.received
    arrived = received.message.get_content()
    assert arrived.replace("\r\n", "\n").rstrip("\n") == body.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
