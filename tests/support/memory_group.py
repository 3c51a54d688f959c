"""A control group whose processes share a small memory: whoever outgrows it is killed by the kernel."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.waiting import until

_ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """At most `limit` bytes for all that is put into it; of version 1 or 2, as the machine has it."""

    def __init__(self, limit: int) -> None:
        parent, limits = _parent()
        self._folder = parent / f"windlass-test-{secrets.token_hex(4)}"
        self._folder.mkdir()
        for name in limits:
            file = self._folder / name
            # Without swap accounting there is no such file, and without swap no need of it.
            if file.exists():
                file.write_text("0" if "swap" in name and "memsw" not in name else str(limit))

    def put(self, pid: int) -> None:
        """From now on what the process allocates counts."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Once everybody in it is gone."""
        until(lambda: not (self._folder / "cgroup.procs").read_text(), 5, "the group is empty")
        self._folder.rmdir()


def _parent() -> tuple[Path, tuple[str, ...]]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _ROOT / "memory" / path.lstrip("/"), ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    return _ROOT, ("memory.max", "memory.swap.max")


def available() -> bool:
    """Whether this account may make one here."""
    parent, limits = _parent()
    try:
        with _made(parent) as folder:
            return (folder / limits[0]).exists() and os.access(folder / limits[0], os.W_OK)
    except OSError:
        return False


@contextmanager
def _made(parent: Path) -> Iterator[Path]:
    folder = parent / f"windlass-test-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        folder.rmdir()
