"""The programs of a storm: PostgreSQL, the web service, pools, and workers over HTTP, each of which may be ended and
begins anew.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from faults.harness import defects, events
from faults.harness.kinds import SINK
from faults.harness.proxy import Proxy, through
from faults.harness.sink import Sink
from support.database import open_connection
from support.effects import Effects
from support.embedded import answers
from support.pool import Pool
from support.ports import free_port
from support.processes import ROOT
from support.waiting import until
from support.web import Web

from sql.connection import Connection
from sql.embedded import EmbeddedServer
from sql.embedded.errors import EmbeddedFailure
from sql.migrate import migrate

WORKERS = 2
LEASE_SECONDS = 3
GRACE_SECONDS = 4
# None of these may ever be seen in a log or a metric.
CANARIES = {
    **{name: f"canary-{name}-5f1d0c" for name in ("api", "admin", "payload")},
    "webhook": "Y2FuYXJ5LXdlYmhvb2stNWYxZDBjLW1ha2UtaXQtbG9uZw==",
}


class Cast:
    """All of them, in `folder`. `defect` is one that is planted, see `defects`; `server_settings` are put into the
    server's configuration.
    """

    def __init__(
        self, folder: Path, sink: Sink, *, pools: int = 2, holders: int = 2, defect: str = "", settings: str = ""
    ) -> None:
        self.folder = folder
        self.server = EmbeddedServer(folder / "postgresql", smart_seconds=1)
        self.url = self.server.start()
        self._settings = settings
        self._prepare_database(defect)
        self.environ = {
            "KIND_MODULES": "faults.harness.kinds",
            **defects.environ(defect),
            SINK: sink.address,
            "SMTP_URL": sink.smtp_url,
            "WEBHOOK_ALLOW_NETS": f"{sink.address.split(':')[0]}/32:{sink.address.split(':')[1]}",
            "WEBHOOK_SECRET": f"whsec_{CANARIES['webhook']}",
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS),
            "POLL_INTERVAL_MS": "200",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "json",
        }
        # One of the pools reaches the server through it.
        self.proxy = Proxy(self.url)
        self.port = free_port()
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._started = 0
        # The pid of each supervisor that there has been → the name of its pool.
        self.supervisors: dict[int, str] = {}
        self.exit_codes: list[int] = []
        # When somebody was answered that the queue is paused.
        self.paused_at: list[float] = []
        self.leaving_seconds: list[float] = []
        self.ended_by_themselves: list[str] = []
        # Whoever does something to one of these holds its lock: two faults of one program would only hide each other.
        self.locks = {name: threading.Lock() for name in ("web", "server", "link", *map(str, range(pools + holders)))}
        self.web = self._start_web()
        self.pools = [self._start_pool(n) for n in range(pools)]
        self.holders = [self._start_holder(n) for n in range(holders)]

    def _prepare_database(self, defect: str) -> None:
        migrate(self.url, log=lambda _: None)
        conn = open_connection(self.url)
        events.record(conn)
        if defect:
            defects.into_database(defect, conn)
        for setting in filter(None, self._settings.split(";")):
            conn.execute(f"alter system set {setting}")
        conn.execute("select pg_reload_conf()")
        conn.close()

    # -- each of them -------------------------------------------------------------------------------------------------

    def _start_web(self) -> Web:
        tokens = {"API_TOKEN": CANARIES["api"], "ADMIN_TOKEN": CANARIES["admin"]}
        return Web(self._logs, self.url, port=self.port, WEB_CONCURRENCY="2", **self.environ, **tokens)

    def _start_pool(self, n: int) -> Pool:
        self._started += 1
        settings = {name.lower(): value for name, value in self.environ.items()}
        settings["database_url"] = self.url if n else through(self.proxy, self.url)
        effects = Effects(self.folder / "effects")
        pool = Pool(self.url, self._logs / f"pool{self._started}", effects, worker_processes=WORKERS, **settings)
        self.supervisors[pool.process.pid] = str(n)
        return pool

    def _start_holder(self, n: int) -> subprocess.Popen[bytes]:
        self._started += 1
        with open(self._logs / f"holder{self._started}", "wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "faults.harness.holder",
                    f"http://127.0.0.1:{self.port}",
                    self.holder_log,
                    str(n),
                ],
                cwd=ROOT / "tests",
                env={**os.environ, "PYTHONPATH": self.environ["PYTHONPATH"], "API_TOKEN": CANARIES["api"]},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def holder_log(self) -> Path:
        """What HTTP holders did and were answered."""
        return self.folder / "holders"

    def ready(self) -> "Cast":
        """Itself, once all work."""
        self.web.ready()
        conn = open_connection(self.url)
        try:
            for pool in self.pools:
                until(lambda pool=pool: _works(pool, conn), 30, "all workers are registered")
        finally:
            conn.close()
        return self

    @contextlib.contextmanager
    def borrowed(self, what: str, chance: random.Random) -> Iterator[str | None]:
        """A pool, a holder, or the one program of that name, that nobody else does something to just now; or None."""
        names = {"pool": self.pool_names, "holder": self.holder_names}.get(what, [what])
        free = next(
            (name for name in chance.sample(names, len(names)) if self.locks[name].acquire(blocking=False)), None
        )
        try:
            yield free
        finally:
            if free is not None:
                self.locks[free].release()

    @property
    def pool_names(self) -> list[str]:
        return list(map(str, range(len(self.pools))))

    @property
    def holder_names(self) -> list[str]:
        return list(map(str, range(len(self.pools), len(self.pools) + len(self.holders))))

    def pool(self, name: str) -> Pool:
        return self.pools[int(name)]

    def holder(self, name: str) -> "subprocess.Popen[bytes]":
        return self.holders[int(name) - len(self.pools)]

    def connect(self, **terms: object) -> "psycopg2.extensions.connection":
        """A session outside the product, for what is done to the server. Raises psycopg2.Error."""
        conn = psycopg2.connect(self.url, application_name="nemesis", connect_timeout=5, **terms)
        conn.autocommit = True
        return conn

    # -- beginning anew -----------------------------------------------------------------------------------------------

    def restart_pool(self, name: str) -> None:
        """A new one instead of one that has ended, or is ended now."""
        self.pool(name).end(show_log=False)
        self.pools[int(name)] = self._start_pool(int(name))

    def restart_holder(self, name: str) -> None:
        holder = self.holder(name)
        if holder.poll() is not None:
            self.ended_by_themselves.append(f"a holder ended by itself: {holder.returncode}")
        holder.kill()
        holder.wait()
        self.holders[int(name) - len(self.pools)] = self._start_holder(self._started)

    def restart_web(self) -> None:
        for pid in [self.web.process.pid, *self.web.workers()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.web.process.wait()
        self.web = self._start_web()

    def restart_server(self) -> None:
        """As after a crash: SIGQUIT ends every process of it at once, and its keeper starts it again."""
        pid = self.server.pid
        os.kill(pid, signal.SIGQUIT)
        until(lambda: self._server_pid() not in (None, pid) and answers(self.url), 60, "the server is back")

    def _server_pid(self) -> int | None:
        try:
            return self.server.pid
        except EmbeddedFailure:
            return None

    def heal(self) -> None:
        """Whoever has ended begins anew; all work."""
        until(lambda: answers(self.url), 60, "the server answers")
        # Whoever is ended by a fault has been followed by another within it.
        if self.web.process.poll() is not None:
            self.ended_by_themselves.append(f"the web ended by itself: {self.web.process.returncode}")
            self.web = self._start_web()
        for name in self.pool_names:
            if self.pool(name).ended:
                self.ended_by_themselves.append(f"pool {name} ended by itself: {self.pool(name).process.returncode}")
                self.restart_pool(name)
        for name in self.holder_names:
            if self.holder(name).poll() is not None:
                self.restart_holder(name)
        self.ready()

    def drain(self, name: str) -> int:
        """TERM to a pool in the middle of its work, and another begins; how many jobs it left in running."""
        pool = self.pool(name).ready()
        workers = list(pool.registered().values())
        began = time.monotonic()
        pool.send(signal.SIGTERM)
        self.exit_codes.append(pool.ends(GRACE_SECONDS + 3))
        self.leaving_seconds.append(time.monotonic() - began)
        conn = open_connection(self.url)
        try:
            row = conn.fetch_one(
                "select count(*) from windlass.running where worker_id = any(%(workers)s::bigint[])", workers=workers
            )
            assert row is not None
            return int(row[0])
        finally:
            conn.close()
            self.restart_pool(name)

    # -- the end ------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """TERM to all pools and the web. Raises AssertionError or TimeoutExpired if anybody stays."""
        for holder in self.holders:
            holder.kill()
            holder.wait()
        for pool in self.pools:
            began = time.monotonic()
            pool.send(signal.SIGTERM)
            self.exit_codes.append(pool.ends(GRACE_SECONDS + 3))
            self.leaving_seconds.append(time.monotonic() - began)
        began = time.monotonic()
        self.exit_codes.append(self.web.terminate(GRACE_SECONDS + 3))
        self.leaving_seconds.append(time.monotonic() - began)

    def end(self) -> None:
        """Whatever happened, nothing of it runs on."""
        for holder in self.holders:
            holder.kill()
            holder.wait()
        for pool in self.pools:
            pool.end(show_log=False)
        self.web.end()
        self.proxy.close()
        self.server.stop()

    def server_log(self) -> str:
        """All that PostgreSQL wrote."""
        logs = [self.server.log.with_suffix(".log.old"), self.server.log]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def logs(self) -> str:
        """All that pools, web and holders wrote."""
        return "\n".join(
            path.read_text(errors="replace")
            for path in self._logs.rglob("*")
            if path.is_file() and path.suffix != ".db"
        )


def _works(pool: Pool, conn: Connection) -> bool:
    rows = conn.fetch_all("select pid from windlass.workers where lost_at is null")
    workers = set(pool.workers())
    assert not pool.ended, "a pool has ended by itself"
    return len(workers) == WORKERS and workers <= {pid for (pid,) in rows}
