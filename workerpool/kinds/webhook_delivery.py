"""`webhook_delivery`: an HTTP POST with a signature, as Standard Webhooks 1.0 (standardwebhooks.com) has it.

`webhook-id` is the job's id and stays the same on every attempt, so a receiver recognises a repeated delivery;
`webhook-timestamp` is the time of this attempt by the database's clock: receivers refuse what is 5 minutes off, and
this machine's own may be. The signature covers the exact bytes that are sent.

Without `event` the JSON of `body` is sent as it is. With `event` it is wrapped as the specification recommends,
`{"type": event, "timestamp": …, "data": body}`, so that the event's name is signed too; the timestamp is the job's
creation, so the bytes are the same on every attempt.

2xx is done. 410 says the receiver is gone for good and ends the job. Everything else, redirects included, is a
failure that is retried, after the reply's `Retry-After` if it has one.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from marshmallow import ValidationError, fields, validates

from workerpool.context import Context
from workerpool.kinds import settings as kind_settings
from workerpool.kinds.address_guard import AddressRefused, Guard, Resolve, resolve
from workerpool.kinds.payload import PayloadSchema, line, whole_number
from workerpool.kinds.registry import kind
from workerpool.kinds.retry_after import retry_after
from workerpool.kinds.settings import KindSettings
from workerpool.kinds.text import clean_text
from workerpool.kinds.webhook_headers import Headers
from workerpool.kinds.webhook_url import Target, parse_target
from workerpool.outcomes import Dead, Retry
from workerpool.retry import Backoff

if TYPE_CHECKING:
    from workerpool.kinds.pinned_http import Reply

DEFAULT_TIMEOUT_SECONDS: Final = 15

_GONE: Final = 410
_EXCERPT: Final = 500
_SHORTEST_TOKEN: Final = 6
# Left of the job's own time when we give up ourselves, so that the reason is ours and not the interruption.
_MARGIN_SECONDS: Final = 0.5


class WebhookDelivery(PayloadSchema):
    """`url` required; `body` any JSON (default `{}`), `event` a name such as `order.paid`, `headers` name → text,
    `timeout_seconds` 1 to 60 for the whole exchange (default 15)."""

    url = fields.String(required=True)
    body = fields.Raw(load_default=dict, allow_none=True)
    event = line(longest=200, load_default=None, allow_none=True)
    headers = Headers(load_default=None, allow_none=True)
    timeout_seconds = whole_number(1, 60, load_default=None, allow_none=True)

    @validates("url")
    def _url(self, value: str, **_: Any) -> None:
        """A kindness to whoever creates the job. The control is at connect time, on the address itself."""
        try:
            target = parse_target(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        try:
            _guard(kind_settings.current()).check_host(target.host, target.port)
        except AddressRefused as error:
            raise ValidationError(str(error)) from None
        except kind_settings.SettingsError:
            # Broken settings are reported at start; they are no fault of this payload.
            return


# The windows are the usual ones at first and grow to an hour: a receiver's deploy or outage outlasts a minute. Ten
# attempts span an hour and a half on average and three hours at most.
@kind("webhook_delivery", payload=WebhookDelivery, max_attempts=10, backoff=Backoff(cap_seconds=3600))
def webhook_delivery(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    return deliver(payload, context, kind_settings.current(), resolve)


def deliver(payload: dict[str, Any], context: Context, settings: KindSettings, resolver: Resolve) -> dict[str, Any]:
    """Deliver once. The result is `{"status": HTTP status, "attempt": n, "duration_ms": n}`.

    Raises Retry and Dead.
    """
    from http.client import HTTPException

    from workerpool.kinds.pinned_http import DeadlinePassed, post

    if not settings.webhook_secrets:
        raise Dead(
            "WEBHOOK_SECRET is not set, so nothing can be signed: set it to whsec_ and the base64 of 32 random bytes"
        )
    try:
        target = parse_target(payload["url"])
    except ValueError as error:
        raise Dead(f"url {error}") from None
    body = content(payload, context.job.id)
    headers = {
        **(payload.get("headers") or {}),
        **signed(context.job.id, body, settings.webhook_secrets, int(context.now().timestamp())),
    }
    wanted = float(payload.get("timeout_seconds") or DEFAULT_TIMEOUT_SECONDS)
    seconds = max(0.0, min(wanted, context.remaining() - _MARGIN_SECONDS))
    context.check_cancelled()
    context.progress({"percent": 10, "step": f"sending to {target.host}"})
    started = time.monotonic()
    try:
        reply = post(target, body, headers, guard=_guard(settings), resolve=resolver, deadline=started + seconds)
    except AddressRefused as error:
        raise Dead(f"{target.host} {error}") from None
    except DeadlinePassed as error:
        raise Retry(f"{_place(target)}: {error} ({seconds:.0f} s)") from None
    except (OSError, HTTPException) as error:
        raise Retry(f"{_place(target)}: {type(error).__name__}: {error}") from None
    if 200 <= reply.status <= 299:
        context.progress({"percent": 100, "step": "delivered"})
        duration = round((time.monotonic() - started) * 1000)
        return {"status": reply.status, "attempt": context.attempt, "duration_ms": duration}
    raise _failure(target, reply, headers)


def content(payload: dict[str, Any], job_id: str) -> bytes:
    """The bytes to send and to sign: the same for every attempt of one job."""
    body = payload.get("body")
    event = payload.get("event")
    if event is not None:
        body = {"type": event, "timestamp": _created_at(job_id), "data": body}
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def signed(job_id: str, body: bytes, secrets: tuple[str, ...], timestamp: int) -> dict[str, str]:
    """The headers of Standard Webhooks. Each secret signs, so that receivers on the old and the new one both accept."""
    from standardwebhooks import Webhook

    moment = datetime.fromtimestamp(timestamp, tz=UTC)
    return {
        "content-type": "application/json",
        "user-agent": "Windlass-Webhook/1",
        "webhook-id": job_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(Webhook(secret).sign(job_id, moment, body.decode()) for secret in secrets),
    }


def _failure(target: Target, reply: Reply, headers: dict[str, str]) -> Exception:
    said = f"{_place(target)} answered {reply.status}"
    if 300 <= reply.status <= 399:
        said += "; redirects are not followed, so give the final url"
    excerpt = reply.body.decode("utf-8", "replace").strip()[: 2 * _EXCERPT]
    for value in headers.values():
        # A server that echoes its request must not put a token into the job's history.
        if len(value) >= _SHORTEST_TOKEN:
            excerpt = excerpt.replace(value, "[redacted]")
    if excerpt:
        said += f": {clean_text(excerpt, _EXCERPT)}"
    if reply.status == _GONE:
        return Dead(said)
    return Retry(said, after=retry_after(reply.headers))


def _guard(settings: KindSettings) -> Guard:
    return Guard(settings.webhook_allow_nets, settings.webhook_allow_ports, services=settings.service_hosts)


def _place(target: Target) -> str:
    """The target without its path and query, which may hold a token."""
    return f"{target.scheme}://{target.host}:{target.port}"


def _created_at(job_id: str) -> str:
    """The creation time a UUIDv7 carries in its first 48 bits, milliseconds since 1970."""
    moment = datetime.fromtimestamp((uuid.UUID(job_id).int >> 80) / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
