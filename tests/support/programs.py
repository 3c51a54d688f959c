"""Programs beyond Python that some tests need, found on this machine."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from support import disks, memory_group, network

# Servers live in sbin, which an ordinary user's PATH leaves out.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class Program(NamedTuple):
    """One of the names, looked for on the PATH or as an absolute path."""

    label: str
    names: tuple[str, ...]

    def find(self) -> Path | None:
        """Where it is, or None."""
        return next((Path(found) for name in self.names if (found := shutil.which(name, path=_PATH))), None)


BY_MARKER = {
    "needs_curl": Program("curl", ("curl",)),
    "needs_node": Program("Node", ("node", "nodejs")),
    "needs_chromium": Program("Chromium", ("chromium", "chromium-browser", "google-chrome")),
    "needs_prometheus": Program("Prometheus", ("prometheus",)),
    "needs_postgres15": Program("PostgreSQL 15", ("/usr/lib/postgresql/15/bin/postgres",)),
    "needs_strace": Program("strace", ("strace",)),
    "needs_pgbouncer": Program("PgBouncer", ("pgbouncer",)),
    "needs_iproute2": Program("iproute2", ("ip",)),
    "needs_c_compiler": Program("a C compiler", ("cc", "gcc")),
}
# Not programs: without these rights a test proves nothing, and whoever lacks them is no worse off for it.
RIGHTS = {
    "needs_root": (lambda: os.geteuid() == 0, "not run as root"),
    "needs_memory_group": (memory_group.available, "no memory control group can be made here"),
    "needs_mounts": (disks.available, "no file system can be mounted here"),
    "needs_network_namespace": (network.available, "no network namespace can be made here"),
}
# What the whole run is, and some tests cannot be.
OF_THE_RUN = {
    "a pooler": "what a pooler in transaction mode takes away, see support/pgbouncer.py",
    "least privilege": "what only the owner of the schema may do, see support/least_privilege.py",
}


def path_of(marker: str) -> Path:
    """Where the program of `marker` is, for a test that carries the marker."""
    found = BY_MARKER[marker].find()
    assert found is not None, f"mark the test with {marker}"
    return found


def reason(marker: str) -> str:
    """Why tests with `marker` are left out."""
    if marker in OF_THE_RUN:
        return OF_THE_RUN[marker]
    return RIGHTS[marker][1] if marker in RIGHTS else f"{BY_MARKER[marker].label} is not installed"


def split_by_presence(items: list[pytest.Item]) -> tuple[list[pytest.Item], dict[str, list[pytest.Item]]]:
    """The tests that can run here, and the others by the marker that forbids it."""
    absent = [marker for marker, program in BY_MARKER.items() if program.find() is None]
    absent += [marker for marker, (granted, _) in RIGHTS.items() if not granted()]
    runnable: list[pytest.Item] = []
    left_out: dict[str, list[pytest.Item]] = {}
    for item in items:
        missing = next((marker for marker in absent if item.get_closest_marker(marker)), None)
        if missing is None:
            runnable.append(item)
        else:
            left_out.setdefault(missing, []).append(item)
    return runnable, left_out
