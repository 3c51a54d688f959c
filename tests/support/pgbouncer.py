"""A real PgBouncer in front of the test's database."""

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


@contextmanager
def pgbouncer(database_url: str, pool_mode: str) -> Iterator[str]:
    """The address of a pooler in `pool_mode`, as a key=value string."""
    folder, port = reachable_folder(), free_port()
    server = parse_dsn(database_url)
    entry = {name: server[name] for name in ("host", "port", "dbname", "user", "password") if name in server}
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\njobs = {make_dsn(**entry)}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {pool_mode}\n"
    )
    command = [path_of("needs_pgbouncer"), configuration]
    if os.geteuid() == 0:
        # It refuses to run as root, and the embedded server lets nobody in but its own account.
        command[1:1] = ["-u", pwd.getpwuid(_owner(server.get("host", ""))).pw_name]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    address = make_dsn(host="127.0.0.1", port=port, dbname="jobs", user=entry.get("user", "postgres"))
    try:
        until(lambda: process.poll() is not None or _answers(address), 10, "PgBouncer answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _owner(socket_folder: str) -> int:
    folder = Path(socket_folder)
    return folder.stat().st_uid if folder.is_absolute() else pwd.getpwnam("nobody").pw_uid


def _answers(address: str) -> bool:
    try:
        psycopg2.connect(address).close()
    except psycopg2.OperationalError:
        return False
    return True
