"""Keep-alive HTTP clients that cost nearly nothing: one thread, bare sockets, and nothing read but status and length.

Each sends its next request when it has read the answer to its last. That takes some 50 µs of a core a request, of the
1,200 and more that the service and its database take, where `http.client` and a thread for each client took 200.
"""

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

_MOST_BYTES = 1 << 20
_PATIENCE_SECONDS = 60.0


class Answered(NamedTuple):
    """In how many seconds all was answered, after how many milliseconds each, and how many cores the clients used."""

    seconds: float
    milliseconds: list[float]
    cores: float


def request(host: str, path: str, body: bytes, **headers: str) -> bytes:
    """A POST of JSON, as it goes over the wire; `Idempotency_Key` names the header Idempotency-Key."""
    given = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + "".join(given) + "\r\n").encode() + body


def ask(
    address: tuple[str, int], clients: int, seconds: float, status: int, next_request: Callable[[], bytes]
) -> Answered:
    """Lets `clients` ask for so long. What they have sent by then is still answered; a status other than `status` ends
    the bench.
    """
    opened = [_Client(address, status) for _ in range(clients)]
    try:
        with selectors.DefaultSelector() as selector:
            for client in opened:
                selector.register(client.socket, selectors.EVENT_READ, client)
            return _ask(selector, opened, seconds, next_request)
    finally:
        for client in opened:
            client.socket.close()


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """The time in which half and in which 99 of 100 were answered."""
    ordered = sorted(milliseconds)
    return {f"p{percent} ms": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 99)}


def _ask(
    selector: selectors.BaseSelector, opened: Sequence["_Client"], seconds: float, next_request: Callable[[], bytes]
) -> Answered:
    taken: list[float] = []
    busy = len(opened)
    used = time.process_time()
    began = time.perf_counter()
    for client in opened:
        client.send(next_request())
    while busy:
        ready = selector.select(_PATIENCE_SECONDS)
        if not ready:
            raise SystemExit(f"no answer for {_PATIENCE_SECONDS:g} s")
        for key, _ in ready:
            milliseconds = key.data.receive()
            if milliseconds is None:
                continue
            taken.append(milliseconds)
            if time.perf_counter() < began + seconds:
                key.data.send(next_request())
            else:
                busy -= 1
    lasted = time.perf_counter() - began
    return Answered(lasted, taken, (time.process_time() - used) / lasted)


class _Client:
    def __init__(self, address: tuple[str, int], status: int) -> None:
        self.socket = socket.create_connection(address, _PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expected = f"HTTP/1.1 {status} ".encode()
        self._sent_at = 0.0
        self._read = b""
        self._length = 0

    def send(self, request: bytes) -> None:
        self._read = b""
        self._length = 0
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """Reads what has come; how many milliseconds the answer took when it is whole, None before."""
        part = self.socket.recv(_MOST_BYTES)
        self._read += part
        if not part or not self._expected.startswith(self._read[: len(self._expected)]):
            raise SystemExit(f"not the answer expected: {self._read[:500]!r}")
        if not self._length:
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return None
            _, _, rest = self._read[:end].lower().partition(b"\r\ncontent-length:")
            self._length = end + 4 + int(rest.partition(b"\r\n")[0])
        return None if len(self._read) < self._length else (time.perf_counter() - self._sent_at) * 1e3
