"""What does a limit cost, and what do a million clients do to it? `python -m bench.limits --clients 1000000`

In one process and one thread, without HTTP around it and without a database. Microseconds are of one request.
"""

import argparse
import os
import time
from collections.abc import Iterable
from ipaddress import ip_network

from app.addresses import client_address, client_key
from app.rate_table import SETS, WAYS, RateTable

_LIMIT = 600
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
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000_000)
    count = parser.parse_args().clients

    table = RateTable(_LIMIT)
    busy = [b"busy %d" % number for number in range(100)]
    print(f"{SETS} sets of {WAYS} places, {table.size / 2**20:g} MiB; {len(busy)} clients at their limit of {_LIMIT}")
    known, _ = spend(table, (client for _ in range(_LIMIT) for client in busy))
    print(f"a client that is known: {known:.1f} µs")
    before = resident()
    fresh, refused = spend(table, numbered(0, count))
    print(f"{count:,} clients that ask once: {fresh:.1f} µs each, {refused} of them refused")
    print(f"memory grew by {(resident() - before) / 2**20:.1f} MiB")
    _, still = spend(table, busy)
    print(f"of those at their limit {still} of {len(busy)} are still refused")
    print(f"the address behind a proxy: {walked(100_000):.1f} µs")
    for others in (40_000, 60_000, 80_000, 100_000, 131_072):
        crowd = RateTable(1)
        spend(crowd, numbered(0, others))
        # The youngest first: whoever begins anew takes the place of the oldest, which is gone or no longer needed.
        _, kept = spend(crowd, reversed(list(numbered(0, others))))
        print(f"of {others:,} clients in a minute {others - kept:,} were forgotten")


if __name__ == "__main__":
    main()
