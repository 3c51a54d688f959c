"""Hostile mail: each input is refused, or is exactly one message to exactly the recipients it names."""

from typing import Any

import pytest
from support.figures import Publish
from support.handlers import a_run
from support.hostile_mail import payloads
from support.raw_smtp import RawSmtp
from support.smtp_sink import Received, SmtpSink

from workerpool.kinds.registry import PayloadInvalid, load
from workerpool.kinds.send_email import recipients, send
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Dead

HEADERS = {"message-id", "date", "from", "to", "cc", "reply-to", "subject", "auto-submitted", "mime-version"}
HEADERS |= {"content-type", "content-transfer-encoding"}
EVERYWHERE = ["to", "subject", "body", "html", "cc", "reply_to"]


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
        for payload in payloads(1, 1200, EVERYWHERE):
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
    refused = sent = 0
    with SmtpSink() as sink:
        for payload in payloads(2, 1200, ["subject", "body", "html"]):
            sink.received.clear()
            payload["to"] = ["ann@example.org"]
            try:
                send(payload, a_run().context, settings(sink))
            except (Dead, ValueError):
                assert sink.received == [], payload
                refused += 1
                continue
            [received] = sink.received
            assert received.recipients == ["ann@example.org"]
            assert_header_block(received, payload)
            sent += 1
    assert refused > 50
    assert sent > 200


def test_whoever_reads_line_ends_otherwise_sees_one_message_to_those_named_too(publish: Publish) -> None:
    """Servers differ in what ends a line, a header or a message; each reading of the bytes must come to the same."""
    refused = sent = 0
    with RawSmtp() as sink:
        rules = KindSettings.from_env({"SMTP_URL": f"smtp://127.0.0.1:{sink.port}", "SMTP_FROM": "j@windlass.example"})
        for seed, past_the_schema in ((3, False), (4, True)):
            for payload in payloads(seed, 500, ["subject", "body", "html"] if past_the_schema else EVERYWHERE):
                sink.sessions.clear()
                payload["to"] = ["ann@example.org"] if past_the_schema else payload["to"]
                try:
                    loaded = payload if past_the_schema else load().check("send_email", payload)
                    send(loaded, a_run().context, rules)
                except (PayloadInvalid, Dead, ValueError):
                    refused += 1
                    assert not any(session.data for session in sink.sessions), payload
                    continue
                sent += 1
                [session] = sink.sessions
                assert session.recipients() == recipients(loaded), payload
                assert session.messages() == 1, payload
                assert session.header_names() <= HEADERS, payload
    publish(f"{refused + sent} hostile mails: {sent} sent as one message to those named, {refused} refused")
    assert refused + sent == 1000
    assert refused > 200
    assert sent > 200


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
