"""A proxy between libpq and a server that counts PostgreSQL's messages and can do harm at any one of them.

It runs in a thread of its own. `watch(rules)` begins to count, on all connections together and each side by itself,
from 1; a rule says at which message of which side what is done. Without rules it passes everything on and notes what
passed: that is how one learns how many messages an operation has. TLS and GSS are refused, as by a server without.
"""

import asyncio
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

from faults.harness.wire import CLIENT, SERVER, START_UP, Framer, Message
from psycopg2.extensions import parse_dsn

T = TypeVar("T")

_CHUNK = 65536
_LONGEST_STEP_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_LINGER_NOT = struct.pack("ii", 1, 0)


class Cut(NamedTuple):
    """The connection of the `message`th message of `sender` ends, before the message went on or `after` it did.

    Both ends see a FIN; with `reset` an RST, where the server is reached over TCP (a unix socket knows none).
    """

    sender: str
    message: int
    after: bool = False
    reset: bool = False


class Swallow(NamedTuple):
    """From that message on nothing passes on its connection, in neither direction, not even that it was closed."""

    sender: str
    message: int


class Delay(NamedTuple):
    """That message, and each of its sender after it, passes `seconds` after it arrived."""

    sender: str
    message: int
    seconds: float


class Slow(NamedTuple):
    """That message, and each of its sender after it, passes at this rate."""

    sender: str
    message: int
    bytes_per_second: float


Rule = Cut | Swallow | Delay | Slow


@dataclass
class Watch:
    """What passed since it began: (sender, type) of each message, in the order in which they came.

    said      the names of the statements of ours among them
    fired     a Cut or Swallow did its work
    cut       the backends of connections that were cut; those not served yet are not among them
    noted_at  when the last message came, or it began
    """

    rules: tuple[Rule, ...] = ()
    concerns: Callable[[str], bool] = lambda _: True
    seen: list[tuple[str, str]] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    fired: threading.Event = field(default_factory=threading.Event)
    cut: list[int] = field(default_factory=list)
    noted_at: float = field(default_factory=time.monotonic)
    _counts: Counter[str] = field(default_factory=Counter)

    def note(self, message: Message) -> list[Rule]:
        """Counts it; the rules that apply to it."""
        self.seen.append((message.sender, message.type))
        if statement := message.statement():
            self.said.add(statement)
        self._counts[message.sender] += 1
        self.noted_at = time.monotonic()
        return [rule for rule in self.rules if rule.sender == message.sender and self._is_its_turn(rule)]

    def _is_its_turn(self, rule: Rule) -> bool:
        came = self._counts[rule.sender]
        return came == rule.message if isinstance(rule, Cut | Swallow) else came >= rule.message


class Proxy:
    """Listens on a loopback port, for the server of `server_url` (over TCP or its unix socket), until it is closed."""

    def __init__(self, server_url: str) -> None:
        self.server = parse_dsn(server_url)
        self.watching = Watch()
        self.links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])

    def watch(self, *rules: Rule, concerns: Callable[[str], bool] = lambda _: True) -> Watch:
        """Begins to count anew, by these rules; what was swallowed stays so. Only connections whose application name
        `concerns` accepts are counted, and harmed.
        """
        self.watching = Watch(rules, concerns)
        return self.watching

    def freeze(self) -> int:
        """Nothing passes any more on the connections there are now; how many there are."""

        async def freeze() -> int:
            for link in self.links:
                link.frozen = True
            return len(self.links)

        return self._call(freeze())

    def close(self) -> None:
        """Ends every connection and the thread."""

        async def end() -> None:
            self._server.close()
            # Whoever was let in just now gets to be a link first.
            await asyncio.sleep(0)
            tasks = [task for link in self.links if (task := link.task)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LONGEST_STEP_SECONDS)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _listen(self) -> asyncio.Server:
        # Not a socket of our own making: only on its own asyncio does without Nagle, which would cost 40 ms an answer.
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)

    def _call(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(_LONGEST_STEP_SECONDS)


class _CutNow(Exception):
    """It has come to the message at which the connection ends."""


class _Link:
    """One connection through the proxy. Either side's end is the other's."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._name = ""
        self._backend: int | None = None
        self._reset = False
        self.frozen = False
        self.task = asyncio.current_task()

    async def run(self) -> None:
        pumps = []
        try:
            from_server, self._to_server = await self._open()
            pumps = [
                asyncio.ensure_future(self._pump(CLIENT, self._from_client, self._to_server)),
                asyncio.ensure_future(self._pump(SERVER, from_server, self._to_client)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            # The server cannot be reached.
            pass
        except asyncio.CancelledError:
            # The proxy is closed, and waits for nobody.
            self._reset = True
        finally:
            try:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                await self._end()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._proxy.server.get("host", "127.0.0.1"), self._proxy.server.get("port", 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pump(self, sender: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer(sender)
        with suppress(OSError, _CutNow):
            while data := await reader.read(_CHUNK):
                arrived = time.monotonic()
                for message in framer.feed(data):
                    await self._pass(message, writer, arrived)
            while self.frozen:
                await asyncio.sleep(3600)

    async def _pass(self, message: Message, writer: asyncio.StreamWriter, arrived: float = 0.0) -> None:
        if message.type == START_UP:
            self._name = message.application_name()
        self._backend = message.backend() or self._backend
        watch = self._proxy.watching
        rules = [] if self.frozen or not watch.concerns(self._name) else watch.note(message)
        for rule in rules:
            if isinstance(rule, Swallow):
                self.frozen = True
                watch.fired.set()
            elif isinstance(rule, Delay):
                await asyncio.sleep(max(0.0, arrived + rule.seconds - time.monotonic()))
        if self.frozen:
            return
        cut = next((rule for rule in rules if isinstance(rule, Cut)), None)
        if cut is None or cut.after:
            await self._send(message, writer, rules)
        if cut is not None:
            self._reset = cut.reset
            if self._backend is not None:
                watch.cut.append(self._backend)
            watch.fired.set()
            raise _CutNow

    async def _send(self, message: Message, writer: asyncio.StreamWriter, rules: list[Rule]) -> None:
        if message.asks_for_encryption:
            # The refusal is a message like any other.
            await self._pass(Message(SERVER, "N", b"N"), self._to_client)
            return
        slow = next((rule for rule in rules if isinstance(rule, Slow)), None)
        if slow is None:
            writer.write(message.data)
        else:
            for byte in message.data:
                await asyncio.sleep(1 / slow.bytes_per_second)
                writer.write(bytes([byte]))
        await writer.drain()

    async def _end(self) -> None:
        for writer in filter(None, (self._to_client, self._to_server)):
            if self._reset:
                connection = writer.get_extra_info("socket")
                if connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                writer.transport.abort()
            else:
                writer.close()
        for writer in filter(None, (self._to_client, self._to_server)):
            try:
                await asyncio.wait_for(writer.wait_closed(), _GOODBYE_SECONDS)
            except (OSError, TimeoutError):
                # It does not read what is still on its way.
                pass
            finally:
                writer.transport.abort()


def through(proxy: Proxy, url: str, *, sslmode: str = "disable") -> str:
    """`url`, a database of the proxy's server, as one reaches it through the proxy.

    With `sslmode` "prefer" a client asks for encryption first, which the proxy counts as a message and refuses.
    """
    given = parse_dsn(url)
    options = f"sslmode={sslmode}&gssencmode=disable"
    user = ":".join(quote(given[part], safe="") for part in ("user", "password") if part in given)
    return f"postgresql://{f'{user}@' if user else ''}127.0.0.1:{proxy.port}/{given.get('dbname', '')}?{options}"
