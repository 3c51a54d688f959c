"""The rounds, and what is shown of them."""

import argparse
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import database, peers, report
from bench.peers.catalog import OURS, PEERS, Peer
from bench.peers.questions import Sizes, answers
from bench.peers.tools import Tools

_TIMES = f"{OURS.name} ÷ it"
_TABLES = {
    "Drain": ("drained/s", "by the database's clock", _TIMES),
    "Enqueue": ("one by one/s", "in bulk/s"),
    "Pickup": ("p50, ms", "p99, ms"),
    "Memory": ("private, MiB", "peak resident, MiB", "all processes, private, MiB"),
}


def main() -> None:
    """Prints tables. A peer that fails is left out from then on, which is said; if we fail, the bench does."""
    asked = report.asked(
        peers.__doc__,
        peers=(",".join(PEERS), ",".join(PEERS)),
        size=(1.0, 0.001),
        singly=(3000, 20),
        picked_up=(200, 5),
        folder=("", ""),
    )
    unknown = set(asked.peers.split(",")) - set(PEERS)
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    tools = Tools(asked.folder)
    if not asked.smoke:
        tools.install()
    chosen = [PEERS[name] for name in asked.peers.split(",") if tools.installed or PEERS[name] is OURS]
    found = report.Report("peers", asked)
    for peer in chosen:
        found.add(
            {"queue": peer.name, "configured": peer.configuration, "keeps of a finished job": peer.kept},
            {"jobs to drain": _sizes(peer, asked).drained},
        )
    with database.server(asked.bin_dir) as server, tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        found.server(server.url)
        for _ in range(asked.rounds):
            chosen = _round(found, chosen, tools, server, Path(folder) / "tallies", asked)
    found.finish()


def _round(
    found: report.Report,
    chosen: Sequence[Peer],
    tools: Tools,
    server: database.Server,
    folder: Path,
    asked: argparse.Namespace,
) -> list[Peer]:
    """Asks each in turn; those that answered."""
    answered: dict[Peer, Mapping[str, float]] = {}
    for peer in chosen:
        try:
            answered[peer] = answers(peer, tools, server, folder, _sizes(peer, asked))
        except (SystemExit, subprocess.TimeoutExpired) as failure:
            if peer is OURS:
                raise
            print(f"LEFT OUT: {failure}", flush=True)
            continue
        numbers = dict(answered[peer])
        if OURS in answered and peer is not OURS:
            numbers[_TIMES] = answered[OURS]["drained/s"] / numbers["drained/s"]
        for table, names in _TABLES.items():
            found.add({"queue": peer.name}, {name: numbers[name] for name in names if name in numbers}, table)
    return list(answered)


def _sizes(peer: Peer, asked: argparse.Namespace) -> Sizes:
    return Sizes(max(20, int(peer.jobs * asked.size)), asked.singly, asked.picked_up)


main()
