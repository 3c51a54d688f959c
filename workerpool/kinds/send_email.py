"""`send_email`: one message by SMTP to the server of SMTP_URL.

`Message-ID` is made from the job's id and so the same on every attempt: where a message does go out twice, mail
programs can tell. It goes out twice only when the connection breaks after the message was handed over and before
the server's answer arrived; nobody can know then whether it was taken, and it is sent again.

All recipients are announced before anything is sent. If the server refuses some for now (4xx), nothing is sent and
the job is retried, so that the others do not receive it twice; on the last attempt it goes to those accepted.
Recipients refused for good (5xx) are left out and named in the result; if none is left the job is dead.
"""

from __future__ import annotations

import re
import socket
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final

from marshmallow import ValidationError, fields, validates

from workerpool.context import Context
from workerpool.kinds import settings as kind_settings
from workerpool.kinds.payload import (
    MailAddresses,
    PayloadSchema,
    each_mailbox_once,
    line,
    mail_address,
    text,
)
from workerpool.kinds.registry import kind
from workerpool.kinds.settings import KindSettings
from workerpool.kinds.smtp_url import SmtpServer
from workerpool.outcomes import Dead, Retry

if TYPE_CHECKING:
    import smtplib
    from datetime import datetime

_LONGEST_SUBJECT: Final = 998
# One answer of the server; the whole is bounded by the job's own deadline.
_TIMEOUT_SECONDS: Final = 30.0
_GOODBYE_SECONDS: Final = 2.0
_LONGEST_REPLY: Final = 300
_HEADERS: Final = frozenset(
    {b"message-id", b"date", b"from", b"to", b"cc", b"reply-to", b"subject", b"auto-submitted"}
    | {b"mime-version", b"content-type", b"content-transfer-encoding"}
)


class SendEmail(PayloadSchema):
    """`to` (one address or a list, ≤ 50), `subject`, `body` required; `html`, `cc` (as `to`), `reply_to` optional."""

    to = MailAddresses(required=True)
    subject = line(longest=_LONGEST_SUBJECT, required=True)
    body = text(required=True)
    html = text(load_default=None, allow_none=True)
    cc = MailAddresses(load_default=None, allow_none=True)
    reply_to = fields.String(load_default=None, allow_none=True, validate=mail_address)

    @validates("subject")
    def _subject(self, value: str, **_: Any) -> None:
        # The email package decodes an encoded word it finds in a value, and Python 3.11.7 writes a newline hidden in
        # one as a newline of the header block (CVE-2024-6923).
        if "=?" in value:
            raise ValidationError("must be plain text; it is encoded for you, so it must not hold '=?'")


@kind("send_email", payload=SendEmail)
def send_email(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    return send(payload, context, kind_settings.current())


def send(payload: dict[str, Any], context: Context, settings: KindSettings) -> dict[str, Any]:
    """Send once. The result is `{"message_id", "accepted": [address], "refused": {address: the server's words}}`.

    Raises Retry for what may pass, Dead for what will not.
    """
    import smtplib

    if settings.smtp is None:
        raise Dead(
            "SMTP_URL is not set, so no mail can be sent: set it to a mail server, such as smtps://user:password@host"
        )
    message = composed(payload, context.job.id, context.now(), settings)
    data = message.as_bytes()
    _insist_on_headers(data)
    context.check_cancelled()
    context.progress({"percent": 10, "step": "connecting"})
    try:
        smtp = _connected(settings.smtp, context)
    except (smtplib.SMTPException, OSError) as error:
        # Whatever the server says before it has seen the message, a refused login included, is about us and not about
        # this message: somebody puts it right and the job must still be there.
        raise Retry(f"{settings.smtp.host}:{settings.smtp.port}: {type(error).__name__}: {error}") from None
    try:
        result = _submit(smtp, sender_address(settings), recipients(payload), data, context)
    except (smtplib.SMTPException, OSError) as error:
        smtp.close()
        raise Retry(f"{settings.smtp.host}: {type(error).__name__}: {error}") from None
    except BaseException:
        smtp.close()
        raise
    _leave(smtp)
    context.progress({"percent": 100, "step": "sent"})
    return {"message_id": str(message["Message-ID"]), **result}


def composed(payload: dict[str, Any], job_id: str, moment: datetime, settings: KindSettings) -> EmailMessage:
    """The message. Its headers are these and no others; addresses are re-built from their two checked halves."""
    from email.headerregistry import Address
    from email.policy import SMTP
    from email.utils import format_datetime

    def address(text: str) -> Address:
        local, _, domain = text.rpartition("@")
        return Address(username=local, domain=domain)

    sender = sender_address(settings)
    # Seven bits pass every server, whatever it announces.
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["Message-ID"] = f"<{job_id}@{sender.rpartition('@')[2]}>"
    message["Date"] = format_datetime(moment)
    message["From"] = address(sender)
    message["To"] = tuple(map(address, payload["to"]))
    if payload.get("cc"):
        message["Cc"] = tuple(map(address, payload["cc"]))
    if payload.get("reply_to"):
        message["Reply-To"] = address(payload["reply_to"])
    message["Subject"] = payload["subject"]
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(payload["body"])
    if payload.get("html") is not None:
        message.add_alternative(payload["html"], subtype="html")
    return message


def recipients(payload: dict[str, Any]) -> list[str]:
    """Everybody who receives the message, each mailbox once."""
    return each_mailbox_once([*payload["to"], *(payload.get("cc") or [])])


def sender_address(settings: KindSettings) -> str:
    """SMTP_FROM; else the user name of SMTP_URL where it is an address; else windlass@ this host."""
    if settings.smtp_from is not None:
        return settings.smtp_from
    username = settings.smtp.username if settings.smtp is not None else None
    for candidate in (username or "", f"windlass@{socket.gethostname()}"):
        try:
            mail_address(candidate)
        except ValidationError:
            continue
        return candidate
    return "windlass@localhost"


def _connected(server: SmtpServer, context: Context) -> smtplib.SMTP:
    """A session that is encrypted as SMTP_URL demands, and logged in."""
    import smtplib
    import ssl

    timeout = max(1.0, min(_TIMEOUT_SECONDS, context.remaining()))
    # Without a name given smtplib asks the DNS for ours, for each message and without a time limit.
    own_name = socket.gethostname() if "." in socket.gethostname() else "[127.0.0.1]"
    if server.security == "tls":
        tls = ssl.create_default_context()
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, local_hostname=own_name, timeout=timeout, context=tls
        )
    else:
        smtp = smtplib.SMTP(server.host, server.port, local_hostname=own_name, timeout=timeout)
    try:
        smtp.ehlo_or_helo_if_needed()
        if server.security == "starttls":
            smtp.starttls(context=ssl.create_default_context())
            smtp.ehlo_or_helo_if_needed()
        if server.username is not None:
            smtp.login(server.username, server.password or "")
    except BaseException:
        smtp.close()
        raise
    return smtp


def _submit(smtp: smtplib.SMTP, sender: str, everybody: list[str], data: bytes, context: Context) -> dict[str, Any]:
    context.check_cancelled()
    _insist(*smtp.mail(sender, [f"size={len(data)}"] if smtp.has_extn("size") else []))
    refused: dict[str, tuple[int, str]] = {}
    for address in everybody:
        code, words = smtp.rcpt(address)
        if not 200 <= code <= 299:
            refused[address] = code, _words(words)
    accepted = [address for address in everybody if address not in refused]
    for_now = any(_passes(code) for code, _ in refused.values())
    if refused and (not accepted or (for_now and not context.last_attempt)):
        told = "; ".join(f"{address}: {code} {words}" for address, (code, words) in refused.items())
        raise (Retry if for_now else Dead)(f"the mail server refused {told}")
    context.check_cancelled()
    context.progress({"percent": 60, "step": f"sending to {len(accepted)}"})
    _insist(*smtp.data(data))
    return {
        "accepted": accepted,
        "refused": {address: f"{code} {words}" for address, (code, words) in refused.items()},
    }


def _leave(smtp: smtplib.SMTP) -> None:
    """Say goodbye if that is quick. The message is delivered: nothing from here on may make the job fail."""
    import smtplib

    try:
        if smtp.sock is not None:
            smtp.sock.settimeout(_GOODBYE_SECONDS)
        smtp.quit()
    except (smtplib.SMTPException, OSError):
        smtp.close()


def _insist(code: int, words: bytes) -> None:
    if not 200 <= code <= 299:
        raise (Retry if _passes(code) else Dead)(f"the mail server answered {code} {_words(words)}")


def _passes(code: int) -> bool:
    """Whether trying again may help; a reply that is none (-1) says nothing about the message."""
    return not 500 <= code <= 599


def _words(reply: bytes) -> str:
    return " ".join(reply.decode("utf-8", "replace").split())[:_LONGEST_REPLY]


def _insist_on_headers(data: bytes) -> None:
    """The last look at what goes out: the header block holds our headers, each once, and nothing else.

    The e-mail package is what keeps a value from becoming a header; this holds even where it has a gap.
    """
    block = data.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].lower() for line in block.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", block)
    if bare or len(names) != len(set(names)) or not _HEADERS.issuperset(names):
        raise Dead("refused: a value of this message would have become a header of it")
