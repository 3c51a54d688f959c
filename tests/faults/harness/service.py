"""The service under load while its PostgreSQL suffers: a web service, a pool, and clients with ledgers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.harness import defects, history
from faults.harness.arena import Arena
from faults.harness.clients import Client, Http, Sql, enqueuing, ledger
from faults.harness.cluster import Cluster
from support.database import open_connection
from support.pool import Pool
from support.tables import drained
from support.web import Web

_DRAIN_SECONDS = 120.0


class Service:
    """A web service and a pool of `support.fault_kinds`, of an arena on `server`. `defect` is one that is planted.

    others  how many jobs were enqueued that are in no client's ledger
    pooled  it reaches the server through a pooler
    """

    def __init__(
        self, arena: Arena, server: Cluster, defect: str = "", pooled: bool = False, **settings: object
    ) -> None:
        self.server = server
        self._pooled = pooled
        self.url = arena.url
        self.effects = arena.effects
        self.others = 0
        self._clients: list[Client] = []
        history.record(arena.connection)
        if defect:
            defects.into_database(defect, arena.connection)
        environ = defects.environ(defect)
        self.web: Web = arena.web(**environ)
        settings |= {name.lower(): value for name, value in environ.items()}
        self.pool: Pool = arena.pool(**settings).ready()
        self.web.ready()
        self.count_exits()

    @contextmanager
    def load(
        self, clients: Sequence[Client] | None = None, *, pause: float = 0.002, judged: bool = True
    ) -> Iterator[Sequence[Client]]:
        """Clients enqueue during the block: those given, or one of each sort; `judged` are those `verdict` goes by."""
        number = len(self._clients)
        if clients is None:
            clients = [
                Http(self.web.url, f"single-{number}", pause=pause),
                Http(self.web.url, f"keyed-{number}", keyed=True, pause=pause),
                Http(self.web.url, f"bulk-{number}", size=10, pause=5 * pause),
                Sql(self.url, f"sql-{number}", size=5, pause=5 * pause),
            ]
        if judged:
            self._clients += clients
        with enqueuing(clients):
            yield clients

    def count_exits(self) -> None:
        """From now on: what is gone now was meant to go."""
        self._before = self._everyone()

    def _everyone(self) -> set[int]:
        return {self.web.process.pid, *self.web.workers(), *self.pool.everyone()}

    def verdict(self, *, by_history: bool = True) -> dict[str, Any]:
        """Figures over all that was enqueued here, once it is done. Where the server lost some of it, its history has
        lost the same, and tells nothing.
        """
        conn = open_connection(self.url)
        try:
            drained(conn, _DRAIN_SECONDS)
            done = {row[0] for row in conn.fetch_all("select id::text from windlass.done")}
            effects = self.effects.all()
            ran = [effect.job for effect in effects if effect.what == "ran"]
            ids = {job_id for client in self._clients for job_id in client.accepted}
            return {
                **(history.verdict(conn, ids, effects, pooled=self._pooled) if by_history else {}),
                **ledger(conn, self._clients, self.others),
                "ran_again": len(ran) - len(set(ran)),
                "never_ran": len(done - set(ran)),
                "exits": len(self._before - self._everyone()),
            }
        finally:
            conn.close()


@contextmanager
def on_a_server(folder: Path, defect: str = "") -> Iterator[Service]:
    """A service on a server as it comes."""
    with Cluster(folder / "server") as server:
        server.make().start().migrated()
        with Arena(server.url, folder) as arena:
            yield Service(arena, server, defect)
