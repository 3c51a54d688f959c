"""Owners of embedded servers, in this process and in others."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg2

from sql.embedded import EmbeddedServer
from support.processes import script, working_in
from support.server import reachable_folder
from support.waiting import until

_OWNER = """
import sys
from sql.embedded import EmbeddedServer
server = EmbeddedServer(sys.argv[1], smart_seconds=float(sys.argv[2]))
print(server.start(), server.home, flush=True)
sys.stdin.read()
server.stop()
"""


class Owner:
    """A process that owns a server on a folder until its input ends."""

    def __init__(self, folder: Path, smart_seconds: float, **options: Any) -> None:
        self.process: subprocess.Popen[str] = script(_OWNER, folder, smart_seconds, **options)

    def wait_for_start(self) -> str:
        """Returns the URL once the server answers."""
        assert self.process.stdout is not None
        self.url, self.home = self.process.stdout.readline().split()
        return self.url

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.communicate()

    def leave(self) -> None:
        """Stops the server the proper way and ends."""
        self.process.communicate()


class Playground:
    """Folders for servers, and the servers and owners on them, all ended and removed with it."""

    def __init__(self) -> None:
        self.folder = reachable_folder()
        self.data = self.folder / "postgresql"
        self._servers: list[EmbeddedServer] = []
        self._owners: list[Owner] = []
        self._homes = [self.data]

    def server(self, data: Path | None = None, **options: Any) -> EmbeddedServer:
        """A server of this process, not started."""
        self._servers.append(EmbeddedServer(data or self.data, **{"smart_seconds": 1, **options}))
        return self._servers[-1]

    def owner(self, smart_seconds: float = 1, data: Path | None = None, **options: Any) -> Owner:
        """A process that starts a server."""
        self._owners.append(Owner(data or self.data, smart_seconds, **options))
        return self._owners[-1]

    def also_remove(self, home: Path) -> None:
        """For data that lie elsewhere."""
        self._homes.append(home)

    def clear(self) -> None:
        """Ends everything, and fails if any process stays."""
        for owner in self._owners:
            owner.leave()
        for server in self._servers:
            server.stop()
        for home in self._homes:
            until(lambda home=home: not working_in(home), 10, f"nobody works in {home}")
            shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(self.folder)


def ask(url: str, statement: str) -> Any:
    """One statement on a connection of its own; its first value, if any."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def beginning(url: str) -> Any:
    """When the server began that lets a new client in; None if none does."""
    try:
        return ask(url, "select pg_postmaster_start_time()")
    except psycopg2.OperationalError:
        return None


def answers(url: str) -> bool:
    """Whether a new client is let in."""
    try:
        return ask(url, "select 1") == 1
    except psycopg2.OperationalError:
        return False
