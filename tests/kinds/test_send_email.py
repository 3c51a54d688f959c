"""send_email against a real SMTP server: what arrives, what each answer of the server leads to."""

import base64
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from support.handlers import JOB_CREATED_AT, JOB_ID, a_run
from support.smtp_sink import SmtpSink

from workerpool.kinds.registry import load
from workerpool.kinds.send_email import recipients, send, send_email
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Cancelled, Dead, Retry

MAIL = {"to": "ann@example.org", "subject": "Hello", "body": "Text\n"}


def settings(sink: SmtpSink, form: str = "smtp://127.0.0.1:{port}") -> KindSettings:
    return KindSettings.from_env({"SMTP_URL": form.format(port=sink.port), "SMTP_FROM": "jobs@windlass.example"})


def deliver(sink: SmtpSink, form: str = "smtp://127.0.0.1:{port}", /, **more: Any) -> dict[str, Any]:
    of_the_run = ("attempt", "max_attempts", "is_cancelled", "waited_seconds")
    run = {name: more.pop(name) for name in of_the_run if name in more}
    payload = load().check("send_email", {**MAIL, **more})
    return send(payload, a_run(**run).context, settings(sink, form))


def test_one_message_arrives_with_the_headers_it_should_have_and_no_others() -> None:
    with SmtpSink() as sink:
        result = deliver(sink)
    [received] = sink.received
    assert (received.sender, received.recipients) == ("jobs@windlass.example", ["ann@example.org"])
    message = received.message
    assert [name.lower() for name in message] == [
        *("message-id", "date", "from", "to", "subject", "auto-submitted"),
        *("content-type", "content-transfer-encoding", "mime-version"),
    ]
    assert message["Message-ID"] == f"<{JOB_ID}@windlass.example>" == result["message_id"]
    assert (message["From"], message["To"], message["Subject"]) == (
        *("jobs@windlass.example", "ann@example.org", "Hello"),
    )
    assert message.get_content() == "Text\r\n"
    assert result == {"message_id": result["message_id"], "accepted": ["ann@example.org"], "refused": {}}


def test_the_date_is_by_the_databases_clock() -> None:
    with SmtpSink() as sink:
        deliver(sink, waited_seconds=60.0)
    [received] = sink.received
    assert parsedate_to_datetime(received.message["Date"]) - datetime.fromisoformat(JOB_CREATED_AT) == timedelta(
        minutes=1
    )


def test_the_handler_takes_the_server_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with SmtpSink() as sink:
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{sink.port}")
        send_email(load().check("send_email", MAIL), a_run().context)
    assert len(sink.received) == 1


def test_without_a_server_the_job_is_dead_and_says_what_to_set() -> None:
    with pytest.raises(Dead, match="SMTP_URL is not set"):
        send_email(load().check("send_email", MAIL), a_run().context)


def test_every_recipient_and_every_optional_field_arrives() -> None:
    with SmtpSink() as sink:
        deliver(
            sink,
            to=["a@example.org", "b@example.org"],
            cc=["c@example.org", "a@EXAMPLE.org"],
            reply_to="re@example.org",
            subject="Grüße aus 東京 😀 " + "lang " * 60,
            body="Zeile eins\n.\n..\n.punkt\nGrüße 😀\n" + "x" * 2000,
            html="<p>Grüße</p>",
        )
    [received] = sink.received
    assert received.recipients == ["a@example.org", "b@example.org", "c@example.org"]
    message = received.message
    assert message["To"] == "a@example.org, b@example.org"
    assert message["Cc"] == "c@example.org, a@EXAMPLE.org"
    assert message["Reply-To"] == "re@example.org"
    assert message["Subject"] == "Grüße aus 東京 😀 " + "lang " * 59 + "lang "
    plain, html = message.iter_parts()
    assert plain.get_content().splitlines() == ["Zeile eins", ".", "..", ".punkt", "Grüße 😀", "x" * 2000]
    assert html.get_content().splitlines() == ["<p>Grüße</p>"]
    assert max(map(len, received.content.split(b"\r\n"))) <= 998
    assert received.content.isascii()


def test_the_message_id_is_the_same_on_every_attempt() -> None:
    with SmtpSink() as sink:
        for attempt in (1, 2):
            deliver(sink, attempt=attempt)
    assert len({received.message["Message-ID"] for received in sink.received}) == 1


@pytest.mark.parametrize("reply", ["421 busy", "450 greylisted", "451 try later", "452 full"])
@pytest.mark.parametrize("step", ["mail", "data"])
def test_a_4xx_is_retried(step: str, reply: str) -> None:
    with SmtpSink(**{step: reply}) as sink, pytest.raises(Retry, match=reply[4:]):  # type: ignore[arg-type]
        deliver(sink)
    assert sink.received == []


@pytest.mark.parametrize("reply", ["550 no", "552 too big", "554 spam"])
@pytest.mark.parametrize("step", ["mail", "data"])
def test_a_5xx_is_the_end_of_the_job_and_says_why(step: str, reply: str) -> None:
    with SmtpSink(**{step: reply}) as sink, pytest.raises(Dead, match=reply):  # type: ignore[arg-type]
        deliver(sink)
    assert sink.received == []


def test_while_one_recipient_is_refused_for_now_nobody_receives_anything() -> None:
    with SmtpSink(rcpt={"b@example.org": "450 greylisted"}) as sink:
        with pytest.raises(Retry, match=r"b@example\.org: 450 greylisted"):
            deliver(sink, to=["a@example.org", "b@example.org"])
        assert sink.received == []
        sink.rcpt.clear()
        deliver(sink, to=["a@example.org", "b@example.org"], attempt=2)
    assert [received.recipients for received in sink.received] == [["a@example.org", "b@example.org"]]


def test_on_the_last_attempt_it_goes_to_those_who_are_accepted() -> None:
    with SmtpSink(rcpt={"b@example.org": "450 greylisted"}) as sink:
        result = deliver(sink, to=["a@example.org", "b@example.org"], attempt=3, max_attempts=3)
    assert [received.recipients for received in sink.received] == [["a@example.org"]]
    assert result["refused"] == {"b@example.org": "450 greylisted"}


def test_a_recipient_refused_for_good_is_left_out_and_named() -> None:
    with SmtpSink(rcpt={"b@example.org": "550 no such user"}) as sink:
        result = deliver(sink, to=["a@example.org", "b@example.org"])
    assert [received.recipients for received in sink.received] == [["a@example.org"]]
    assert result["accepted"] == ["a@example.org"]
    assert result["refused"] == {"b@example.org": "550 no such user"}


def test_when_every_recipient_is_refused_for_good_the_job_is_dead() -> None:
    with SmtpSink(rcpt={"ann@example.org": "550 no such user"}) as sink, pytest.raises(Dead, match="550 no such user"):
        deliver(sink)


def test_when_every_recipient_is_refused_for_now_the_job_is_retried_even_at_last() -> None:
    with SmtpSink(rcpt={"ann@example.org": "450 later"}) as sink, pytest.raises(Retry, match="450 later"):
        deliver(sink, attempt=3)


def test_a_connection_that_breaks_after_the_message_was_taken_is_retried_with_the_same_message_id() -> None:
    with SmtpSink(drop_after_dot=True) as sink:
        with pytest.raises(Retry, match="SMTPServerDisconnected"):
            deliver(sink)
        sink.drop_after_dot = False
        deliver(sink, attempt=2)
    first, second = sink.received
    assert first.message["Message-ID"] == second.message["Message-ID"]


@pytest.mark.parametrize("goodbye", ["421 no", "500 what", "drop"])
def test_nothing_that_happens_after_the_message_was_taken_makes_the_job_fail(goodbye: str) -> None:
    with SmtpSink(quit=goodbye) as sink:
        assert deliver(sink)["accepted"] == ["ann@example.org"]


def test_a_server_that_is_not_there_is_retried() -> None:
    with SmtpSink() as sink:
        port = sink.port
    gone = KindSettings.from_env({"SMTP_URL": f"smtp://127.0.0.1:{port}"})
    with pytest.raises(Retry, match=f"127.0.0.1:{port}: ConnectionRefusedError"):
        send(load().check("send_email", MAIL), a_run().context, gone)


@pytest.mark.usefixtures("trusting")
def test_starttls_encrypts_before_the_login_and_the_message(certificates: Any) -> None:
    with SmtpSink(starttls=certificates.trusted, password="s3cret:/") as sink:
        deliver(sink, "smtp+starttls://ann:s3cret%3A%2F@localhost:{port}")
    [received] = sink.received
    assert received.encrypted
    assert sink.logins == ["ann"]


@pytest.mark.usefixtures("trusting")
def test_smtps_is_encrypted_from_the_first_byte(certificates: Any) -> None:
    with SmtpSink(tls=certificates.trusted) as sink:
        deliver(sink, "smtps://localhost:{port}")
    assert sink.received[0].encrypted


def test_a_server_that_offers_no_starttls_gets_neither_login_nor_message() -> None:
    with SmtpSink(password="s3cret") as sink, pytest.raises(Retry, match="STARTTLS") as caught:
        deliver(sink, "smtp+starttls://ann:s3cret@localhost:{port}")
    assert sink.received == []
    assert "s3cret" not in caught.value.reason


@pytest.mark.parametrize("form", ["smtp+starttls://u:s3cret@localhost:{port}", "smtps://u:s3cret@localhost:{port}"])
@pytest.mark.usefixtures("trusting")
def test_a_certificate_nobody_trusts_gets_neither_login_nor_message(form: str, certificates: Any) -> None:
    wraps = form.startswith("smtps")
    with (
        SmtpSink(**{"tls" if wraps else "starttls": certificates.untrusted}) as sink,
        pytest.raises(Retry, match="CERTIFICATE_VERIFY_FAILED") as caught,
    ):
        deliver(sink, form)
    assert sink.received == []
    assert "s3cret" not in caught.value.reason


def test_a_refused_login_is_retried_and_does_not_repeat_the_password() -> None:
    with SmtpSink(password="right") as sink, pytest.raises(Retry, match="SMTPAuthenticationError") as caught:
        deliver(sink, "smtp://ann:s3cret@127.0.0.1:{port}")
    assert sink.received == []
    assert "s3cret" not in caught.value.reason
    assert base64.b64encode(b"s3cret").decode() not in caught.value.reason


def test_a_cancelled_job_sends_nothing() -> None:
    with SmtpSink() as sink, pytest.raises(Cancelled):
        deliver(sink, is_cancelled=lambda: True)
    assert sink.received == []


def test_the_envelope_names_each_mailbox_once_and_the_first_spelling_wins() -> None:
    payload = {"to": ["a@example.org", "B@example.org"], "cc": ["a@Example.ORG", "b@example.org"]}
    assert recipients(payload) == ["a@example.org", "B@example.org", "b@example.org"]


@pytest.mark.parametrize(
    ("environ", "sender"),
    [
        ({"SMTP_FROM": "x@example.org", "SMTP_URL": "smtps://u%40example.net:p@h"}, "x@example.org"),
        ({"SMTP_URL": "smtps://u%40example.net:p@h"}, "u@example.net"),
    ],
)
def test_the_sender_is_the_setting_or_the_login(environ: dict[str, str], sender: str) -> None:
    from workerpool.kinds.send_email import sender_address

    assert sender_address(KindSettings.from_env(environ)) == sender
    assert sender_address(KindSettings()).startswith("windlass@")
