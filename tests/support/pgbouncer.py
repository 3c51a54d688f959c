"""A real PgBouncer, in front of a test's database or of all that the suite makes.

`TEST_PGBOUNCER=1` sends the whole suite through one in transaction mode; LEFT_OUT names what cannot go that way.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from support.programs import path_of
from support.server import reachable_folder
from support.service import free_port
from support.waiting import until

# Of test ids their beginnings, each with what a pooler in transaction mode takes away from it.
_LISTEN = "LISTEN: what a session hears is lost between transactions"
_SESSION = "a session of the server's that is the client's own"
_OPTIONS = "options at the start of a session"
LEFT_OUT = {
    "database/test_hints.py::": _LISTEN,
    "database/test_connection.py::test_what_the_url_says_itself_wins": _OPTIONS,
    "database/test_connection.py::test_a_connection_hung_up_while_idle_is_seen_without_asking": _SESSION,
    "database/test_connection.py::test_an_idle_transaction_is_ended_by_the_server": _SESSION,
    "database/test_connection_limits.py::": _SESSION,
}


@contextmanager
def pgbouncer(database_url: str, pool_mode: str) -> Iterator[str]:
    """The address of a pooler in `pool_mode` in front of this database, as a key=value string."""
    server = parse_dsn(database_url)
    with _started(server, f"jobs = {make_dsn(**_entry(server, 'dbname'))}", pool_mode) as address:
        yield make_dsn(**address, dbname="jobs")


@contextmanager
def pooled_server(server_url: str) -> Iterator[str]:
    """The URL of a pooler in transaction mode in front of every database of this server."""
    server = parse_dsn(server_url)
    with _started(server, f"* = {make_dsn(**_entry(server))}", "transaction") as address:
        yield f"postgresql://{address['user']}@{address['host']}:{address['port']}/{server['dbname']}"


def _entry(server: dict[str, str], *more: str) -> dict[str, str]:
    return {name: server[name] for name in ("host", "port", "user", "password", *more) if name in server}


@contextmanager
def _started(server: dict[str, str], entry: str, pool_mode: str) -> Iterator[dict[str, str]]:
    folder, port = reachable_folder(), free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{entry}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {pool_mode}\nmax_client_conn = 1000\ndefault_pool_size = 40\nserver_idle_timeout = 5\n"
    )
    command = [path_of("needs_pgbouncer"), configuration]
    if os.geteuid() == 0:
        # It refuses to run as root, and the embedded server lets nobody in but its own account.
        command[1:1] = ["-u", pwd.getpwuid(_owner(server.get("host", ""))).pw_name]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    address = {"host": "127.0.0.1", "port": str(port), "user": server.get("user", "postgres")}
    try:
        until(lambda: process.poll() is not None or _answers(address, entry), 10, "PgBouncer answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _owner(socket_folder: str) -> int:
    folder = Path(socket_folder)
    return folder.stat().st_uid if folder.is_absolute() else pwd.getpwnam("nobody").pw_uid


def _answers(address: dict[str, str], entry: str) -> bool:
    database = "postgres" if entry.startswith("*") else entry.split(" ", 1)[0]
    try:
        psycopg2.connect(**address, dbname=database).close()
    except psycopg2.OperationalError:
        return False
    return True
