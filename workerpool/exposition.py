"""Serves the pool's metrics over HTTP, from the steward."""

import socket
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from workerpool import metrics


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, *_args: object) -> None:
        """A scrape every few seconds is not news."""


def serve(listener: socket.socket) -> None:
    """Answers scrapes in a thread of this process, until it ends."""
    server = WSGIServer(("", 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()[:2]
    server.setup_environ()
    server.set_app(make_wsgi_app(metrics.registry()))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
