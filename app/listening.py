"""Which process has a socket open."""

import os
from collections.abc import Iterable
from typing import Any


def has_open(pid: int, sockets: Iterable[Any]) -> bool:
    """Whether process `pid` has one of these sockets open too; False where the system does not tell."""
    ours = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in sockets}
    folder = f"/proc/{pid}/fd"
    try:
        return any(_target(f"{folder}/{descriptor}") in ours for descriptor in os.listdir(folder))
    except OSError:
        return False


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        # Closed meanwhile.
        return ""
