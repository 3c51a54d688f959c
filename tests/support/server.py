"""The PostgreSQL the tests run on: the one given, else a container, else the embedded one."""

import contextlib
import gc
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sql.embedded import EmbeddedServer
from support import least_privilege

_CONTAINER_IMAGE = "postgres:18-alpine"
_IN_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 8 * 2**30


def through_pgbouncer() -> bool:
    """Whether all tests are to reach their databases through a pooler in transaction mode (`TEST_PGBOUNCER=1`)."""
    return os.environ.get("TEST_PGBOUNCER") == "1"


class Server(NamedTuple):
    """Its URL, how it was found, and how to be done with it."""

    url: str
    found: str
    close: Callable[[], None]


def find_server() -> Server:
    """`TEST_DATABASE_URL`, else the programs in `TEST_POSTGRES_BIN`, else a container or, without a daemon, ours."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return Server(given, "TEST_DATABASE_URL", lambda: None)
    bin_dir = os.environ.get("TEST_POSTGRES_BIN")
    if least_privilege.asked_for():
        return _verified(bin_dir)
    if bin_dir:
        return embedded(bin_dir)
    return _container() or embedded()


def embedded(bin_dir: str | None = None) -> Server:
    """A durable server of our own on an empty folder, removed at the end; in memory where there is room, since a
    database for each test is 400 files: 230 ms on a disk, 20 ms there.
    """
    folder = reachable_folder(_IN_MEMORY if _room_in_memory() else None)
    server = EmbeddedServer(folder / "postgresql", bin_dir=bin_dir, smart_seconds=2)
    try:
        server.start()
    except BaseException:
        shutil.rmtree(folder)
        raise

    def close() -> None:
        server.stop()
        shutil.rmtree(server.home)
        shutil.rmtree(folder)

    return Server(server.url, f"embedded, {bin_dir}" if bin_dir else "embedded", close)


def _verified(bin_dir: str | None) -> Server:
    ends = contextlib.ExitStack()
    folder = ends.enter_context(in_reachable_folder())
    url = ends.enter_context(least_privilege.verified_server(folder, bin_dir))
    return Server(url, "embedded, as the service's role and over verified TLS", ends.close)


def _room_in_memory() -> bool:
    try:
        available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
        free = min(shutil.disk_usage(_IN_MEMORY).free, int(available[1]) * 1024 if available else 0)
    except OSError:
        return False
    return os.access(_IN_MEMORY, os.W_OK) and free > _ROOM_BYTES


def reachable_folder(parent: Path | None = None) -> Path:
    """A fresh folder that other accounts can go through: root's servers run as somebody else. The caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix="windlass-tests-", dir=parent))
    folder.chmod(0o711)
    return folder


@contextmanager
def in_reachable_folder() -> Iterator[Path]:
    """Such a folder, removed with all that is in it."""
    folder = reachable_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _container() -> Server | None:
    # The libraries warn of what they do themselves, and every warning is an error here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from docker.errors import DockerException
            from testcontainers.community.postgres import PostgresContainer
        except ImportError:
            return None
        try:
            container = PostgresContainer(_CONTAINER_IMAGE, driver=None).start()
            return Server(container.get_connection_url(), f"container {_CONTAINER_IMAGE}", container.stop)
        except (DockerException, RuntimeError, TimeoutError, OSError):
            return None
        finally:
            gc.collect()
