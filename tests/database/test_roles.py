"""The least-privilege roles of `sql/roles.sql`, on a server of their own, since roles belong to a whole server."""

import os
import socket
import subprocess
from collections.abc import Iterator

import psycopg2
import pytest
from support.embedded import Playground
from support.migrations import SHIPPED
from support.service import WINDLASS

from sql import checks, dead_letters, hints, jobs, leases, retention, stats, tokens, workers
from sql.connection import Connection, connect
from sql.embedded.binaries import wheel_bin_dir
from sql.errors import StorageError
from sql.leases import START, Failure, Lease, Pick
from sql.migrate import MIGRATIONS, check_supported, migrate

ROLES = MIGRATIONS.parent / "roles.sql"
PASSWORD = "a password of these tests"


class Cluster:
    """A server, and its databases as seen by each role."""

    def __init__(self, tcp_url: str) -> None:
        self._url = tcp_url
        self._admin = psycopg2.connect(tcp_url)
        self._admin.autocommit = True

    def fresh_database(self, name: str) -> None:
        self._run(f"create database {name} template template0")

    def apply_roles(self, database: str) -> None:
        subprocess.run(
            [wheel_bin_dir() / "psql", "--quiet", "--no-psqlrc", self.url("postgres", database), "-f", ROLES],
            check=True,
            env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
        )
        for role in ("windlass_owner", "windlass_service", "windlass_metrics"):
            self._run(f"alter role {role} password '{PASSWORD}'")

    def url(self, role: str, database: str) -> str:
        given = psycopg2.extensions.parse_dsn(self._url)
        password = given["password"] if role == "postgres" else PASSWORD.replace(" ", "%20")
        return f"postgresql://{role}:{password}@127.0.0.1:{given['port']}/{database}"

    def close(self) -> None:
        self._admin.close()

    def _run(self, command: str) -> None:
        with self._admin.cursor() as cursor:
            cursor.execute(command)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    playground = Playground()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = playground.server(tcp_port=port, durable=False, bin_dir=os.environ.get("TEST_POSTGRES_BIN"))
    server.start()
    made = Cluster(server.tcp_url)
    yield made
    made.close()
    playground.clear()


@pytest.fixture(scope="module", params=["roles first", "migrated first"])
def database(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """A database whose schema belongs to windlass_owner, by either way to get there."""
    name = request.param.replace(" ", "_")
    cluster.fresh_database(name)
    if request.param == "roles first":
        cluster.apply_roles(name)
        assert migrate(cluster.url("windlass_owner", name), lambda _: None) == SHIPPED
    else:
        assert migrate(cluster.url("postgres", name), lambda _: None) == SHIPPED
    cluster.apply_roles(name)
    return name


@pytest.fixture
def service(cluster: Cluster, database: str) -> Iterator[Connection]:
    connection = connect(cluster.url("windlass_service", database), application_name="windlass tests")
    yield connection
    assert checks.states(connection) == []
    connection.close()


@pytest.fixture
def metrics(cluster: Cluster, database: str) -> Iterator[Connection]:
    connection = connect(cluster.url("windlass_metrics", database), application_name="windlass tests")
    yield connection
    connection.close()


def enqueued(conn: Connection, count: int, key: str | None = None) -> list[str]:
    new = jobs.NewJob("default", "external", 0, 3, 60, "{}", idempotency_key=key, request_hash="h" if key else None)
    return [job.id for job in jobs.enqueue(conn, [new] * count)]


def claimed(conn: Connection, count: int, **holder: int) -> list[Lease]:
    picks = [Pick("external", 0, *START)]
    return [Lease(job.id, job.fence) for job in leases.claim(conn, queue="default", picks=picks, limit=count, **holder)]


def test_the_service_can_do_all_that_services_do(service: Connection) -> None:
    check_supported(service)
    hints.listen(service)
    worker = workers.register(service, name="w", host="h", pid=1, pool="p", slot=1, lease_seconds=30)
    assert workers.beat(service, [worker]) == {worker}
    enqueued(service, 7)
    hints.hint(service, 7)
    assert leases.streams(service, "default", ["external"]) != []
    acked, failed, dead, released, stopped = claimed(service, 5, worker_id=worker)
    assert leases.report_progress(service, worker, acked, "1")
    assert len(leases.held_by(service, [worker])) == 5
    assert jobs.cancel(service, stopped.id) == "flagged"
    assert leases.ack(service, worker, [(acked, "1")]) == {acked.id}
    leases.fail(service, worker, [Failure(failed, "no"), Failure(dead, "never", permanent=True)])
    assert leases.release(service, worker, [released]) == {released.id}
    assert leases.ack_cancelled(service, worker, [stopped]) == {stopped.id}
    assert len(leases.settled_before(service, [acked, failed])) == 2
    assert dead_letters.retry(service, dead.id) == "queued"
    (waiting,) = enqueued(service, 1, key="k")
    assert jobs.cancel(service, waiting) == "cancelled"
    (lease,) = claimed(service, 1, lease_ms=100)
    assert leases.extend(service, lease, 100) is False
    claimed(service, 1, worker_id=worker)
    workers.lose(service, [worker])
    assert leases.rescue(service, workers_too=True) != {}
    workers.mark_lost(service)
    workers.forget(service, seconds=0)
    stats.ping(service)
    assert stats.depths(service) != []
    stats.oldest_ready(service)
    stats.inflight_leases(service)
    assert len(jobs.page(service).jobs) == 8
    retention.prune_done(service, days=1)
    retention.prune_keys(service)
    checks.server(service)
    assert tokens.find(service, bytes(32)) is None
    tokens.note_use(service, 1)
    assert tokens.every(service) == []


@pytest.mark.parametrize(
    "statement",
    [
        "create table windlass.mine ()",
        "alter table windlass.queues add column mine text",
        "drop table windlass.queues",
        "truncate windlass.queues",
        "create index on windlass.queues (paused_at)",
        "drop function windlass.uuid7()",
        "select setval('windlass.fence', 1)",
        "update windlass.jobs set priority = 1",
        "update windlass.done set status = 'succeeded'",
        "insert into windlass.schema_migrations values (99, 'x', 'x', 0, now())",
        "delete from windlass.schema_migrations",
        "insert into windlass.tokens (name, scopes, digest) values ('a', '{admin}', decode(repeat('00', 32), 'hex'))",
        "update windlass.tokens set scopes = '{admin}'",
        "update windlass.tokens set revoked_at = null",
        "delete from windlass.tokens",
        "create table public.mine ()",
        "create schema mine",
        "set role windlass_owner",
    ],
)
def test_the_service_can_do_no_more(service: Connection, statement: str) -> None:
    with pytest.raises(StorageError, match=r"42501"):
        service.execute(statement)


def test_tokens_are_the_owners_to_make_and_the_command_says_so(cluster: Cluster, database: str) -> None:
    def create(role: str) -> subprocess.CompletedProcess[str]:
        command = [WINDLASS, "token", "create", "--name", "ci", "--scopes", "read"]
        environ = {**os.environ, "DATABASE_URL": cluster.url(role, database)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    refused = create("windlass_service")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "connect as the owner of the tables, as `windlass migrate` does" in refused.stderr
    assert create("windlass_owner").returncode == 0
    # The database is for all tests of the module, in any order.
    owner = connect(cluster.url("windlass_owner", database), application_name="windlass tests")
    assert owner.execute("delete from windlass.tokens") == 1
    owner.close()


def test_dashboards_read_states_but_nothing_people_put_into_jobs(metrics: Connection) -> None:
    stats.depths(metrics)
    stats.oldest_ready(metrics)
    stats.inflight_leases(metrics)
    metrics.execute("select status, count(*) from windlass.done group by 1")
    for statement in SECRETS:
        with pytest.raises(StorageError, match="42501"):
            metrics.execute(statement)


def test_dashboards_write_nothing(metrics: Connection) -> None:
    for statement in (
        "delete from windlass.ready",
        "select nextval('windlass.fence')",
        "create table windlass.mine ()",
    ):
        with pytest.raises(StorageError):
            metrics.execute(statement)


def test_limits_hold_for_clients_that_set_none(cluster: Cluster, database: str) -> None:
    client = psycopg2.connect(cluster.url("windlass_service", database))
    try:
        with client.cursor() as cursor:
            for name, value in (("statement_timeout", "5s"), ("lock_timeout", "5s"), ("jit", "off")):
                cursor.execute("select current_setting(%s)", [name])
                assert cursor.fetchone() == (value,)
    finally:
        client.close()


def test_the_script_may_run_again(cluster: Cluster, database: str) -> None:
    cluster.apply_roles(database)


SECRETS = [
    "select payload from windlass.jobs",
    "select result from windlass.done",
    "select progress from windlass.running",
    "select error from windlass.failures",
    "select payload from windlass.job_view",
    "select key from windlass.idempotency_keys",
    "select digest from windlass.tokens",
]
