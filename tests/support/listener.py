"""The `windlass` command in this process, and somebody it may talk to."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from click.testing import CliRunner, Result

from app.cli import cli

Reply = tuple[int, str, dict[str, str]]


class Listener:
    """An HTTP server that keeps what it was asked and answers what the test wants."""

    def __init__(self) -> None:
        self.status, self.body = 201, '{"id": "01890000-0000-7000-8000-000000000000"}'
        self.reply: Callable[[str, str, Any], Reply] = lambda *_: (self.status, self.body, {})
        """(method, path, body) → status, body, headers."""
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                sent = json.loads(body) if body else None
                listener.asked.append((self.command, self.path, headers, sent))
                status, text, more = listener.reply(self.command, self.path, sent)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02])
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def run(*arguments: str, **variables: str) -> Result:
    """The command in this process, with nothing of the developer's environment that it reads."""
    unset = dict.fromkeys(("WINDLASS_URL", "API_TOKEN", "ADMIN_TOKEN"))
    return CliRunner().invoke(cli, arguments, env={**unset, **variables})
