"""One HTTP POST to an address that was checked, and nothing else an HTTP client usually does.

The name is resolved once, the guard sees every answer, and the connection goes to a checked answer; the Host header
and the TLS server name stay what the URL says. There are no redirects, retries, proxies, cookies, credentials from
files, decompression or kept connections to switch off, because `http.client` has none of them.

Everything happens before one deadline. A per-read timeout would let a server that sends a byte a second hold a
worker for ever, so each socket operation is given what is left of the whole.
"""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workerpool.kinds.address_guard import Address, Answer, Guard, Resolve
from workerpool.kinds.webhook_url import DEFAULT_PORTS, Target

MOST_READ: Final = 65_536
# How long the body of a reply may keep us once its status is known.
_LINGER_SECONDS: Final = 2.0


class DeadlinePassed(Exception):
    """The exchange was not over in time. `doing` says what it was waiting for."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        super().__init__(f"no answer in time while {doing}")


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is at most the first 64 KiB of what the server sent, as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(
    target: Target,
    body: bytes,
    headers: Mapping[str, str],
    *,
    guard: Guard,
    resolve: Resolve,
    deadline: float,
) -> Reply:
    """Send one POST and return the reply, whatever its status.

    `deadline` is a reading of `time.monotonic()` by which the whole exchange ends. Raises AddressRefused,
    DeadlinePassed, OSError (ssl.SSLError and socket.gaierror among them) and http.client.HTTPException.
    """
    found, services = _resolved(target, guard, resolve, deadline)
    answers = guard.checked(found, target.port, services)
    connection = _Connection(target, answers, deadline)
    try:
        return _exchange(connection, target, body, headers)
    except TimeoutError:
        raise DeadlinePassed(connection.doing) from None
    finally:
        connection.close()


def _exchange(connection: _Connection, target: Target, body: bytes, headers: Mapping[str, str]) -> Reply:
    connection.connect()
    connection.doing = "sending the request"
    try:
        connection.request("POST", target.path, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        # A server may answer, 413 say, and close before it has read everything; its answer is still there to read.
        pass
    connection.doing = "waiting for the reply"
    with connection.getresponse() as response:
        connection.limit(_LINGER_SECONDS)
        try:
            content = response.read(MOST_READ)
        except (OSError, http.client.HTTPException):
            # The status decided already; a body that breaks off or never ends must not turn a delivery into a
            # failure, which would be sent again.
            content = b""
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


class _Deadline:
    """Gives every operation of a socket what is left until `deadline`, instead of the same timeout again."""

    deadline: float = 0.0

    def _arm(self: Any) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self.settimeout(left)

    def recv_into(self: Any, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return int(super().recv_into(*args, **kwargs))  # type: ignore[misc]

    def send(self: Any, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return int(super().send(*args, **kwargs))  # type: ignore[misc]

    def sendall(self: Any, *args: Any, **kwargs: Any) -> None:
        self._arm()
        super().sendall(*args, **kwargs)  # type: ignore[misc]


class _PlainSocket(_Deadline, socket.socket):
    pass


class _TlsSocket(_Deadline, ssl.SSLSocket):
    pass


class _Connection(http.client.HTTPConnection):
    """Connects to one of the checked answers and asks no resolver; `doing` says what it is at, for error texts."""

    def __init__(self, target: Target, answers: Sequence[Answer], deadline: float) -> None:
        super().__init__(target.host, target.port)
        # http.client leaves the default port out of the Host header, by the default of the class.
        self.default_port = DEFAULT_PORTS[target.scheme]
        self.doing = "connecting"
        self._target = target
        self._answers = answers
        self._deadline = deadline
        self._socket: Any = None

    def connect(self) -> None:
        self._socket = self.sock = self._connected()
        if self._target.scheme == "https":
            self.doing = "setting up TLS"
            context = ssl.create_default_context()
            context.sslsocket_class = _TlsSocket
            self.sock.settimeout(max(0.001, self._deadline - time.monotonic()))
            # A dot at the end of a name is the DNS's business; certificates are written without it.
            self._socket = self.sock = context.wrap_socket(self.sock, server_hostname=self.host.rstrip("."))
            self._socket.deadline = self._deadline

    def limit(self, seconds: float) -> None:
        self._socket.deadline = min(self._deadline, time.monotonic() + seconds)

    def _connected(self) -> socket.socket:
        failure: OSError | None = None
        for position, (family, kind, protocol, _, address) in enumerate(self._answers):
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            candidate = _PlainSocket(family, kind, protocol)
            candidate.deadline = self._deadline
            # The first address of several may be dead without a word; the others get their share of the time.
            candidate.settimeout(left / (len(self._answers) - position))
            try:
                candidate.connect(address)
            except OSError as error:
                candidate.close()
                failure = error
            else:
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return candidate
        raise failure or TimeoutError("the deadline has passed")


def _resolved(
    target: Target, guard: Guard, resolve: Resolve, deadline: float
) -> tuple[Sequence[Answer], frozenset[Address]]:
    """One resolution, and where our own servers are, in a thread of its own: the resolver cannot be given a time limit
    or be interrupted, and the handler must stay able to stop. A thread left behind ends with the resolver's own limits.
    """
    answered: queue.SimpleQueue[tuple[Sequence[Answer], frozenset[Address]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = resolve(target.host, target.port)
            answered.put((found, guard.services_found(resolve)))
        except Exception as error:
            answered.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answered.get(timeout=max(0.001, deadline - time.monotonic()))
    except queue.Empty:
        raise DeadlinePassed("resolving the host's name") from None
    if isinstance(found, Exception):
        raise found
    if not found[0]:
        raise OSError("the host's name has no address")
    return found
