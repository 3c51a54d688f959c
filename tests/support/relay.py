"""Brings a server that listens on a socket of this machine to an address of the test's choosing."""

import asyncio
import contextlib
import threading

from psycopg2.extensions import make_dsn, parse_dsn


class Relay:
    """Forwards every byte of every connection to the server of `database_url`; `url` is how to reach it at `host`."""

    def __init__(self, database_url: str, host: str) -> None:
        self._server = parse_dsn(database_url)
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay")
        self.port = 0

    @property
    def url(self) -> str:
        kept = {name: value for name, value in self._server.items() if name not in ("host", "port")}
        return make_dsn(host=self._host, port=self.port, **kept)

    def __enter__(self) -> "Relay":
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._forward, self._host, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = str(self._server.get("host", "127.0.0.1")), int(self._server.get("port", 5432))
        if host.startswith("/"):
            server = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            server = await asyncio.open_connection(host, port)
        # Whichever side ends, both have ended.
        ways = [asyncio.ensure_future(_pump(reader, server[1])), asyncio.ensure_future(_pump(server[0], writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # A stream's own callback would log that as an error.
            pass
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, server[1]):
                end.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
