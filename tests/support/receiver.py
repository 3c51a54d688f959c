"""A real HTTP server on a loopback port that keeps what it is sent and answers as a test wants it to."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case, in the order sent."""

    path: str
    headers: dict[str, str]
    header_names: list[str]
    body: bytes
    server_name: str | None


class Exchange(BaseHTTPRequestHandler):
    """What an `answer` gets to write its reply with; `wfile` takes bytes that are no HTTP at all."""

    server: "_Server"
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        name = getattr(self.connection, "asked_name", None)
        self.server.receiver.requests.append(
            Request(self.path, headers, [each.lower() for each in self.headers], body, name)
        )
        self.close_connection = True
        try:
            self.server.receiver.answer(self)
        except OSError:
            # The client hung up on us, which is what many of the tests are about.
            return

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A well-formed reply."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    receiver: "Receiver"

    def server_bind(self) -> None:
        # HTTPServer's own asks the DNS for a name of this address, which takes as long as the DNS likes.
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[Any, Any]:
        request, address = super().get_request()
        self.receiver.connections += 1
        return request, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        context = self.receiver.tls
        if context is None:
            super().finish_request(request, client_address)
            return
        try:
            wrapped = context.wrap_socket(request, server_side=True)
        except OSError:
            return
        try:
            super().finish_request(wrapped, client_address)
        finally:
            wrapped.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error here."""


@dataclass
class Receiver:
    """Listens while it is entered. `answer` writes the reply; the default is an empty 204."""

    answer: Callable[[Exchange], None] = lambda exchange: exchange.reply(204)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        if self.tls is not None:
            self.tls.sni_callback = _remember_name
        self._server = _Server((self.host, 0), Exchange)
        self._server.receiver = self
        self._server.daemon_threads = False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}/hook"


def _remember_name(socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    socket.asked_name = name  # type: ignore[attr-defined]
