"""What a fault is let loose on: a database, and the real pools and web services that work on it."""

import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from support.database import open_connection
from support.effects import VARIABLE, Effects
from support.pool import Pool, start_pools
from support.processes import ROOT
from support.web import Web

from sql.connection import Connection

T = TypeVar("T")
_never = threading.Event()


class Arena:
    """On the database at `url`, with `folder` for logs and for what handlers did. All ends with the block.

    `own_url` is the same database for whoever may do more there than the service.
    """

    def __init__(self, url: str, folder: Path, own_url: str = "") -> None:
        self.url, self.folder = url, folder
        self._own_url = own_url or url
        self.effects = Effects(folder / "effects")
        self._start_pool, self._end_pools = start_pools(url, folder, self.effects)
        self._webs: list[Web] = []
        self._connections: list[Connection] = []
        self.connection = self.connect()

    def connect(self) -> Connection:
        """One more connection, for a thread of its own."""
        self._connections.append(open_connection(self._own_url))
        return self._connections[-1]

    def unfinished(self) -> list[str]:
        """Ids of the jobs that wait or run."""
        rows = self.connection.fetch_all(
            "select id::text from windlass.ready union all select id::text from windlass.running"
        )
        return [row[0] for row in rows]

    def pool(self, **settings: object) -> Pool:
        """One pool more; settings as variables in lower case."""
        pool: Pool = self._start_pool(**settings)
        return pool

    def web(self, port: int | None = None, within: Sequence[str] = (), **environ: Any) -> Web:
        """One web service more, not waited for."""
        folder = self.folder / f"web{len(self._webs) + 1}"
        folder.mkdir()
        environ = {
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            # What the pools can run it accepts.
            "KIND_MODULES": "support.fault_kinds",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            VARIABLE: str(self.effects.folder),
            **environ,
        }
        self._webs.append(Web(folder, environ.pop("DATABASE_URL", self.url), (), port, within, **environ))
        return self._webs[-1]

    def __enter__(self) -> "Arena":
        return self

    def __exit__(self, *_: object) -> None:
        for web in self._webs:
            web.end()
        self._end_pools()
        for connection in self._connections:
            connection.close()


def let_pass(seconds: float) -> None:
    """A fault's own time goes by; whatever it is to bring about is awaited elsewhere."""
    _never.wait(max(0.0, seconds))


def some(of: Sequence[T], rounds: int | None, chance: random.Random) -> list[T]:
    """All, or `rounds` of them picked at random, in their order."""
    if rounds is None or rounds >= len(of):
        return list(of)
    return [of[index] for index in sorted(chance.sample(range(len(of)), rounds))]
