"""What does a limit cost, and what do a million clients do to it? `python -m bench.limits --clients 1000000`

In one process and one thread, without HTTP around it and without a database. Microseconds are of one request. Some
clients reach their limit, then so many others ask once each: none of these may be refused, memory may not grow, and
those at their limit should stay refused. A client that is forgotten begins a new window; `crowds` counts them where
ever more clients share the table, up to all of its places.
"""

import os
import time
from collections.abc import Iterable
from ipaddress import ip_network

from app.addresses import client_address, client_key
from app.rate_table import SETS, WAYS, RateTable
from bench import report

_LIMIT = 600
_CROWDS = (40_000, 60_000, 80_000, 100_000, SETS * WAYS)
_TRUSTED = (ip_network("10.0.0.0/24"), ip_network("2001:db8::/48"))


def resident() -> int:
    """Bytes of memory this process holds."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def spend(table: RateTable, clients: Iterable[bytes]) -> tuple[float, int]:
    """Microseconds of one request, and how many requests were refused."""
    refused = count = 0
    began = time.perf_counter()
    for client in clients:
        refused += table.spend(client) > 0
        count += 1
    return (time.perf_counter() - began) / count * 1e6, refused


def numbered(first: int, count: int) -> Iterable[bytes]:
    """So many clients nobody has seen."""
    return (number.to_bytes(8, "big") for number in range(first, first + count))


def walked(count: int) -> float:
    """Microseconds to find the address behind a proxy of ours."""
    began = time.perf_counter()
    for _ in range(count):
        client_key(client_address("10.0.0.1", ["203.0.113.1, 198.51.100.7"], _TRUSTED))
    return (time.perf_counter() - began) / count * 1e6


def main() -> None:
    """Prints a line per figure."""
    asked = report.asked(__doc__, rounds=(1, 1), clients=(1_000_000, 2_000), crowds=(_CROWDS, (1_000,)))
    found = report.Report("limits", asked)
    for _ in range(asked.rounds):
        _measure(asked.clients, asked.crowds, found)
    found.finish()


def _measure(count: int, crowds: tuple[int, ...], found: report.Report) -> None:
    table = RateTable(_LIMIT)
    busy = [b"busy %d" % number for number in range(100)]
    known, _ = spend(table, (client for _ in range(_LIMIT) for client in busy))
    before = resident()
    fresh, refused = spend(table, numbered(0, count))
    grown = (resident() - before) / 2**20
    _, still = spend(table, busy)
    found.add(
        {"clients": count},
        {
            "µs for one that is known": known,
            "µs for one that is new": fresh,
            "µs to find the address behind a proxy": walked(min(count, 100_000)),
            "MiB grown": grown,
            "innocent refused": refused,
            "at their limit": len(busy),
            "still refused": still,
        },
    )
    for others in crowds:
        crowd = RateTable(1)
        spend(crowd, numbered(0, others))
        # The youngest first: whoever begins anew takes the place of the oldest, which is gone or no longer needed.
        _, kept = spend(crowd, reversed(list(numbered(0, others))))
        found.add({"clients that ask once in a minute": others}, {"forgotten": others - kept}, "crowds")


if __name__ == "__main__":
    main()
