"""Processes as the kernel sees them, and waiting for them."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
_pause = threading.Event()


def wait_for(condition: Callable[[], object], seconds: float, what: str, every: float = 0.05) -> None:
    """Returns once `condition` holds. Raises SystemExit after `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"after {seconds:g} s still not: {what}")
        _pause.wait(every)


def rest(seconds: float) -> None:
    """Lets others work."""
    _pause.wait(max(0.0, seconds))


def tree(pid: int) -> list[int]:
    """`pid` and all below it."""
    found = [pid]
    for parent in found:
        try:
            threads = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Seconds of a core these processes have used; to the nanosecond, where clock ticks would hide an idle one."""
    total = 0
    for pid in pids:
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def private_mib(pid: int) -> float:
    """Memory nobody shares with it, which would be free if it ended; MiB."""
    kilobytes = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            kilobytes += int(line.split()[1])
    return kilobytes / 1024


def environment(**variables: str) -> dict[str, str]:
    """Ours, without settings of services that would change what is measured, and with `variables`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV") if name in os.environ}
    # `windlass web` leaves the working folder off the import path.
    return {**kept, "PYTHONPATH": str(ROOT), "KIND_MODULES": "bench.kinds", "LOG_LEVEL": "warning", **variables}
