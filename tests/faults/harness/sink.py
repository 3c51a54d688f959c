"""Where effects go: an HTTP server that hears of each handler's start and gets webhooks, and a mail server."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from support.smtp_sink import SmtpSink

_JOB_IN_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([0-9a-f-]{36})@", re.MULTILINE | re.IGNORECASE)


class Effect(NamedTuple):
    """A handler began at `at`, by its own `time.time()`; or it was heard of from outside, then the rest is 0."""

    job: str
    attempt: int
    fence: int
    at: float


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The answer is two writes; without this the second would wait for the client's acknowledgement.
    wbufsize = -1
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        terms = json.loads(body) if self.path == "/effect" else (self.headers["webhook-id"], 0, 0, 0)
        self.server.effects.append(Effect(*terms))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the DNS for a name of this address.
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker killed in the middle of telling is no error here."""


class Sink:
    """Both servers, while it is entered."""

    def __enter__(self) -> Self:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self._mail = SmtpSink().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mail.__exit__(kind, error, trace)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def address(self) -> str:
        """host:port of the HTTP server."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def smtp_url(self) -> str:
        return f"smtp+plain://127.0.0.1:{self._mail.port}"

    def effects(self) -> list[Effect]:
        """All so far."""
        mails = [_JOB_IN_MESSAGE_ID.search(each.content) for each in list(self._mail.received)]
        return [*self._server.effects, *(Effect(found[1].decode(), 0, 0, 0) for found in mails if found)]
