"""A small HTTP client of the API, for the subcommands."""

import json
import re
import socket
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError

from app.commands.console import Failure, Target

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0


class NoAnswer(Failure):
    """Nobody answered, or not in time: whether the request was carried out is unknown."""


@dataclass(frozen=True)
class Answer:
    """A response: its status, its body as text, and its headers."""

    status: int
    text: str
    headers: urllib3.HTTPHeaderDict

    def json(self) -> Any:
        """The body, parsed. Raises Failure when it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise Failure(f"the answer is not JSON, so this is no Windlass: {self.text[:200]!r}") from error


class Api:
    """The API at one address. Every call is one request, never repeated: repeating is the caller's decision."""

    def __init__(self, target: Target, default_url: str = Target.DEFAULT_URL, callers: int = 1) -> None:
        """`callers`: how many threads may call at once and find their connection kept open.

        Raises click.UsageError for an address or a token that no request can carry.
        """
        self.url = (target.server_url or default_url).rstrip("/")
        self._headers = {}
        try:
            parts = urllib3.util.parse_url(self.url)
        except LocationParseError:
            parts = urllib3.util.Url()
        if parts.scheme not in ("http", "https") or not parts.host:
            raise click.UsageError(f"--server-url must be like {Target.DEFAULT_URL}, not {self.url!r}")
        if target.api_token:
            # Never repeated in the message: a token in the wrong shape is mostly a right one with a line break.
            if not re.fullmatch(r"[\x21-\x7e]+", target.api_token):
                raise click.UsageError(f"{target.token_name} must be visible ASCII without spaces or line breaks")
            self._headers["Authorization"] = f"Bearer {target.api_token}"
        self._pool = urllib3.PoolManager(retries=False, headers=self._headers, maxsize=callers)
        self._opened = _Opened()
        self._pool.pool_classes_by_scheme = self._opened.pools

    def get(self, path: str) -> Answer:
        """Raises NoAnswer."""
        return self._call("GET", path, None, _READ_SECONDS)

    def post(self, path: str, body: Any, read_seconds: float = _READ_SECONDS) -> Answer:
        """Sends `body` as JSON; `read_seconds` is the longest silence that is waited out. Raises NoAnswer."""
        return self._call("POST", path, body, read_seconds)

    def stop_asking(self) -> None:
        """Half-closes the connections there are: a Windlass that keeps a request waiting answers it then, and gives
        nothing to whoever will not ask again. The answer still arrives. For calls of other threads, under way now.
        """
        self._opened.half_close()

    def _call(self, method: str, path: str, body: Any, read_seconds: float) -> Answer:
        try:
            response = self._pool.request(method, self.url + path, json=body, timeout=_timeout(read_seconds))
        except HTTPError as error:
            raise NoAnswer(
                f"no answer from {self.url}: {_reason(error)}; is it running? (`windlass up` starts one)"
            ) from error
        return Answer(response.status, response.data.decode("utf-8", "replace"), response.headers)


class _Opened:
    """The connections that urllib3 has opened, which it does not tell itself."""

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[urllib3.connection.HTTPConnection] = weakref.WeakSet()
        self._lock = threading.Lock()
        opened = self

        class Plain(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                opened._add(self)

        class Secure(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                opened._add(self)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        self.pools = {"http": PlainPool, "https": SecurePool}

    def _add(self, connection: urllib3.connection.HTTPConnection) -> None:
        with self._lock:
            self._connections.add(connection)

    def half_close(self) -> None:
        with self._lock:
            for connection in self._connections:
                sock = connection.sock
                if sock is not None:
                    # The base class's: after its own, a TLS socket takes what arrives for plain text.
                    with suppress(OSError):
                        socket.socket.shutdown(sock, socket.SHUT_WR)


def _timeout(read_seconds: float) -> urllib3.Timeout:
    return urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds)


def _reason(error: HTTPError) -> str:
    # urllib3 puts the object's repr in front of what happened.
    return str(error).rpartition("object at 0x")[2].partition(": ")[2] or str(error)
