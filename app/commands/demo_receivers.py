"""The other end of the demo's jobs: a real mail server and a real webhook receiver, on loopback ports."""

import email.policy
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook, WebhookVerificationError

from app.commands.console import Failure

_LONGEST_BODY = 1024 * 1024


class Mailbox:
    """The messages a mail server on a loopback port has taken."""

    def __init__(self) -> None:
        self._messages: list[EmailMessage] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: one message has arrived."""
        self._messages.append(email.message_from_bytes(cast(bytes, envelope.content), policy=email.policy.default))
        return "250 OK"

    def from_job(self, job_id: str) -> list[EmailMessage]:
        """The messages whose Message-ID was made from the job's id."""
        return [message for message in self._messages if str(message["Message-ID"]).startswith(f"<{job_id}@")]


class Deliveries:
    """The webhooks a receiver has taken, each after its signature was verified by the specification's own library."""

    def __init__(self, secret: str, refused_once: int) -> None:
        """The delivery whose body says `"number": refused_once` is turned away when it first comes."""
        self._webhook = Webhook(secret)
        self._refused_once = {refused_once}
        self._bodies: dict[str, Any] = {}
        self.forged = 0

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        """The status and headers to answer with."""
        try:
            self._webhook.verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return 401, {}
        found = json.loads(body)
        if found["number"] in self._refused_once:
            self._refused_once.remove(found["number"])
            return 503, {"Retry-After": "1"}
        self._bodies[headers["webhook-id"]] = found
        return 204, {}

    def from_job(self, job_id: str) -> Any:
        """The body that came under the job's id, or None."""
        return self._bodies.get(job_id)


@contextmanager
def mail_server(port: int) -> Iterator[Mailbox]:
    """Takes mail on the loopback `port`. Raises Failure when it is taken."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    try:
        controller.start()
    except OSError as error:
        raise _taken(port, error) from error
    try:
        yield mailbox
    finally:
        controller.stop()


@contextmanager
def webhook_receiver(port: int, secret: str, refused_once: int) -> Iterator[Deliveries]:
    """Takes webhooks on the loopback `port`. Raises Failure when it is taken."""
    deliveries = Deliveries(secret, refused_once)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", "0")), _LONGEST_BODY)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = deliveries.take(headers, self.rfile.read(length))
            self.send_response(status)
            for name, value in {**answer, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """The table of results says what came."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise _taken(port, error) from error
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield deliveries
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _taken(port: int, error: OSError) -> Failure:
    return Failure(
        f"cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}; does another `windlass demo` run?"
    )
