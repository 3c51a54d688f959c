"""Where an operation is played: one database behind a proxy, the product's own ways to it, and one beside the proxy."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

import flask
from faults.harness.proxy import Proxy, through
from flask.testing import FlaskClient
from support.database import Databases, open_connection
from support.waiting import until
from support.work import new_job, register
from werkzeug.test import TestResponse

from app import context, create_app
from app.settings import AppSettings
from sql import jobs
from sql.errors import SchemaMissing, Unavailable
from sql.rows import Claimed, Job
from workerpool import metrics
from workerpool.board import WORKER, Board
from workerpool.duties import Duty
from workerpool.duties.reconcile import Reconcile
from workerpool.kinds import registry
from workerpool.lanes import Lane
from workerpool.outcomes import Outcome
from workerpool.session import Session
from workerpool.settings import PoolSettings
from workerpool.wake_pipe import WakePipe
from workerpool.worker import Worker

# A point cuts once; more tries than that are a client's bad luck that nobody planned.
_TRIES = 4
_KIND = "summarize_text"
_TABLES = ("jobs", "ready", "running", "done", "failures", "idempotency_keys", "workers", "queues")
_ORPHANS = "select count(*) from pg_stat_activity where pid = any(%(pids)s)"


class Answer(NamedTuple):
    """The last response to a request, and how many before it, or it, left unknown what had been done."""

    response: TestResponse
    unknown: int

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def json(self) -> Any:
        return self.response.get_json()


class Stage:
    """`admin` goes beside the proxy and is never harmed; `url` goes through it."""

    def __init__(self, database_url: str) -> None:
        self.proxy = Proxy(database_url)
        self.url = through(self.proxy, database_url)
        self.encrypted_url = through(self.proxy, database_url, sslmode="prefer")
        self.admin = open_connection(database_url)
        # What is cut goes through the proxy; waiting for the disk beside it only takes time.
        self.admin.execute("set synchronous_commit = off")
        self._app: flask.Flask | None = None
        self._to_close: list[Callable[[], object]] = []

    def reset(self) -> None:
        """Empty tables, and no session of an earlier operation."""
        self._close_sessions()
        with suppress(SchemaMissing):  # A migration that failed may have left none.
            self.admin.execute(";".join(f"delete from windlass.{table}" for table in _TABLES))  # noqa: S608

    def close(self) -> None:
        """Ends all of it."""
        self._close_sessions()
        if self._app is not None:
            with self._app.app_context():
                here = context.current()
            here.waiting.end()
            here.counts.end()
            here.hints.stop()
            here.database.close()
        self.admin.close()
        self.proxy.close()

    def wait_for_orphans(self, backends: list[int]) -> None:
        """Until these sessions of the server, cut off from their clients, have ended: they may still commit."""
        until(lambda: self.admin.fetch_one(_ORPHANS, pids=backends) == (0,), 10, "the sessions that were cut end")

    def _close_sessions(self) -> None:
        while self._to_close:
            self._to_close.pop()()

    # -- what is there ------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """As it is now."""
        job = jobs.find(self.admin, job_id)
        assert job is not None, f"job {job_id} is lost"
        return job

    def facts(self, *job_ids: str) -> list[tuple[str, int, str | None]]:
        """Of each job its status, its attempts and its last error."""
        return [(job.status, job.attempts, job.last_error) for job in map(self.job, job_ids)]

    def ids(self, table: str = "jobs") -> list[str]:
        """Of every row."""
        return [row[0] for row in self.admin.fetch_all(f"select id::text from windlass.{table} order by id")]  # noqa: S608

    def add(self, count: int = 1, **facts: Any) -> list[str]:
        """Ordinary jobs of a kind that the pool runs, beside the proxy; their ids in order."""
        wanted = [new_job(**{"kind": _KIND, "payload": '{"text": "One."}', **facts})] * count
        return [enqueued.id for enqueued in jobs.enqueue(self.admin, wanted)]

    # -- ways through the proxy ---------------------------------------------------------------------------------------

    def session(self, name: str = "windlass worker 1", *, opened: bool = True, **options: Any) -> Session:
        """One of the pool's sessions, which sends again what was not answered, here without a pause."""
        session = Session(options.pop("url", self.url), name, pause=lambda _: None, leaving=lambda: False, **options)
        self._to_close.append(session.close)
        if opened:
            session.run(lambda _: None)
        return session

    def passes(self, session: Session, make: Callable[[], Duty]) -> None:
        """A duty as stewards do it: what a lost connection kept from being done is done by the next pass, of this one
        or another.
        """
        for _ in range(_TRIES):
            try:
                session.once(lambda conn: make().run(conn))
                return
            except Unavailable:
                continue
        raise AssertionError(f"{_TRIES} passes of a duty failed")

    def web(self) -> FlaskClient:
        """A client of the application in this process, its connection open."""
        if self._app is None:
            self._app = create_app(AppSettings(database_url=self.url))
        client = self._app.test_client()
        until(lambda: client.get("/health").status_code == 200, message="the application has a connection")
        return client

    def ask(self, client: FlaskClient, path: str, body: Any, *, repeats: bool = True) -> Answer:
        """POSTs as a client should: what was answered 503 is sent again as it was, unless it `repeats` not."""
        unknown = 0
        while True:
            response = client.post(path, json=body)
            assert response.status_code != 500, response.text
            if response.status_code != 503:
                return Answer(response, unknown)
            assert int(response.headers["Retry-After"]) >= 1
            unknown += 1
            if not repeats:
                return Answer(response, unknown)
            assert unknown < _TRIES, "it is answered 503 again and again"

    def worker(self) -> "PoolWorker":
        """A registered worker with its place on a board, its connection open."""
        worker = PoolWorker(self)
        self._to_close += [worker.worker._session.close, worker.wake_pipe.close]
        return worker


class PoolWorker:
    """The real worker in this process, without its loop: what it claims is on its board, and no handler is called."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.board = Board.create(2)
        cell = self.board.open_cell(1, WORKER)
        assert cell is not None
        self.cell = cell
        cell.pid = os.getpid()
        cell.incarnation = register(stage.admin)
        cell.lease_until = time.monotonic() + 3600
        settings = PoolSettings.from_env({"DATABASE_URL": stage.url})
        kinds = _kinds()
        self.wake_pipe = WakePipe(1)
        self.worker = Worker(settings, kinds, self.board, cell, _NoSignals(), self.wake_pipe)  # type: ignore[arg-type]
        self.settlement = self.worker._settlement
        self._lane = Lane("default", kinds.runnable(), self.settlement.claim)
        self.worker.check_schema()
        self._steward = Reconcile(self.board)
        self._steward.run(stage.admin)
        self._refused = _settles_refused()

    def claim(self) -> list[Claimed]:
        """What is due, at most ten, as the loop does it."""
        return self.worker._claim(self._lane, 10, False)

    def settle(self, index: int, job: Claimed, outcome: Outcome, **more: Any) -> None:
        """Runs the batch's job `index` to this outcome."""
        self.cell.start(index, now=time.monotonic(), kill_at=0.0)
        self.settlement.settle(index, job, outcome, ended=time.monotonic(), **more)

    def glance(self) -> None:
        """The steward's next look, which reads all that runs only if the board gives a reason."""
        self._steward.run(self.stage.admin)

    def assert_rid_of_all(self) -> None:
        """Nothing is left on the board, and no settle was taken for one that came too late."""
        assert not self.cell.holds
        assert _settles_refused() == self._refused


def _settles_refused() -> float:
    return float(metrics.settles_refused._value.get())


@cache
def _kinds() -> registry.Registry:
    return registry.load()


class _NoSignals:
    """The inbox of a process that nobody signals. Waiting takes no time."""

    received = ()

    def take(self) -> list[int]:
        return []

    def wait(self, _timeout: float | None, *_descriptors: int) -> set[int]:
        return set()


@contextmanager
def stage(databases: Databases) -> Iterator[Stage]:
    """On a database of its own with the schema."""
    with databases.migrated() as url, closing(Stage(url)) as made:
        yield made


def counted(application_name: str) -> bool:
    """Whether a connection is an operation's. The web's threads beside it send hints, or not, at moments of their own;
    a hint lost is no fault.
    """
    return not application_name.startswith("windlass-web-")
