"""Ports for the servers of tests."""

import os
import random
import socket

# Linux gives outgoing connections those from 32768 on: one of these would now and then be taken before its server
# starts. `windlass up` looks among those from 20000 on. Processes of one run keep to blocks of their own.
_BLOCK = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
_PORTS = range(10_000 + 600 * _BLOCK, 10_590 + 600 * _BLOCK)
# Tests are seeded, and two runs at once would ask alike.
_chance = random.SystemRandom()


def free_port(in_a_row: int = 1) -> int:
    """A port that nobody listened on a moment ago; the first of so many neighbours."""
    while True:
        first = _chance.choice(_PORTS)
        if all(_is_free(first + place) for place in range(in_a_row)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
