"""What the kernel says of a process, through /proc."""

import os


def state(pid: int) -> str:
    """The state's letter (R, S, D, Z, T, t, X); empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            # The name before it is free text in parentheses and may itself hold one.
            return stat.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def rss_mb() -> float:
    """Resident memory of this process, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
