"""What a question was asked, on what, and what it found: printed as a table, kept as JSON."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2

from bench.processes import ROOT

RESULTS = Path(__file__).parent / "results"
_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "autovacuum")
_MADE = (":!bench/results", ":!bench/plots", ":!bench/RESULTS.md")


def asked(doc: str | None, rounds: tuple[int, int] = (3, 1), **options: tuple[Any, Any]) -> argparse.Namespace:
    """The command line; of each option the default and the size under `--smoke`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: whether it works, not how fast")
    parser.add_argument("--bin-dir", default="", help="PostgreSQL's programs, for an embedded server of that version")
    parser.add_argument("--out", type=Path, help="the folder for the JSON")
    options = {"rounds": rounds, **options}
    for name, (default, _) in options.items():
        kind = _numbers if isinstance(default, tuple) else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"default {_shown(default)}")
    given = parser.parse_args()
    for name, sizes in options.items():
        if getattr(given, name) is None:
            setattr(given, name, sizes[given.smoke])
    given.options = {name: getattr(given, name) for name in options}
    return given


class Report:
    """Rounds of cases. A case is what was varied; numbers are named with their unit."""

    def __init__(self, question: str, given: argparse.Namespace) -> None:
        self._out = given.out or (None if given.smoke else RESULTS)
        self._rounds: dict[tuple[str, tuple[tuple[str, Any], ...]], list[dict[str, float]]] = {}
        self.document: dict[str, Any] = {
            "question": question,
            "command": _command(question),
            "smoke": given.smoke,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": _commit(),
            "machine": machine(),
            "python": platform.python_version(),
            "servers": [],
            "options": given.options,
            "rows": [],
            "plots": {},
        }

    def server(self, url: str) -> str:
        """Notes version and settings of the server at `url`, and returns the version; the same is noted once."""
        noted = server_settings(url)
        if noted not in self.document["servers"]:
            self.document["servers"].append(noted)
        return noted["version"]

    def add(self, case: Mapping[str, Any], numbers: Mapping[str, float], table: str = "") -> None:
        """One round of a case. Rounds of the same case become one row, with medians, of the table so named."""
        self._rounds.setdefault((table, tuple(case.items())), []).append(dict(numbers))
        shown = [f"{name} {value}" for name, value in case.items()]
        print(", ".join([*shown, *(f"{_number(value)} {name}" for name, value in numbers.items())]), flush=True)

    def plot(
        self,
        name: str,
        *,
        title: str,
        x: str,
        y: str,
        lines: Mapping[str, Sequence[tuple[float, float]]],
        log_x: bool = False,
        log_y: bool = False,
    ) -> None:
        """A figure bench.plots will draw: named lines of (x, y). Without a log scale y begins at 0."""
        rounded = {label: [[_rounded(number) for number in point] for point in line] for label, line in lines.items()}
        self.document["plots"][name] = {
            "title": title,
            "x": x,
            "y": y,
            "log_x": log_x,
            "log_y": log_y,
            "lines": rounded,
        }

    def finish(self) -> None:
        """Prints the tables and writes the JSON."""
        for (table, case), rounds in self._rounds.items():
            medians = {name: _rounded(statistics.median(each[name] for each in rounds)) for name in rounds[0]}
            kept = [{name: _rounded(value) for name, value in each.items()} for each in rounds]
            row = {"table": table, "case": dict(case), "rounds": kept, "median": medians}
            self.document["rows"].append(row)
        print("\n" + tables(self.document))
        if self._out:
            self._out.mkdir(parents=True, exist_ok=True)
            path = self._out / f"{self.document['question']}.json"
            # A line for each fact: a figure's points would take thousands.
            facts = (f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in self.document.items())
            path.write_text("{\n" + ",\n".join(facts) + "\n}\n", encoding="utf-8")


def tables(document: Mapping[str, Any]) -> str:
    """The rows in Markdown: medians, and beside them the rounds of the first number."""
    names = list(dict.fromkeys(row["table"] for row in document["rows"]))
    return "\n".join(_table(name, [row for row in document["rows"] if row["table"] == name]) for name in names)


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    cases = list(dict.fromkeys(key for row in rows for key in row["case"]))
    numbers = list(dict.fromkeys(key for row in rows for key in row["median"]))
    several = any(len(row["rounds"]) > 1 for row in rows)
    head = [*cases, *numbers, *([f"rounds: {numbers[0]}"] if several else [])]
    lines = [f"**{name}**\n"] if name else []
    lines += [_line(head), _line(["---"] * len(cases) + ["---:"] * (len(head) - len(cases)))]
    for row in rows:
        cells = [_shown(row["case"].get(key, "")) for key in cases]
        cells += [_number(row["median"][key]) if key in row["median"] else "" for key in numbers]
        if several:
            cells.append(" · ".join(_number(each[numbers[0]]) for each in row["rounds"] if numbers[0] in each))
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> dict[str, Any]:
    """The processor, its cores that we may use, memory, kernel."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") / 2**30
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        # Who else was at work: the bench itself has hardly begun.
        "load_before": round(os.getloadavg()[0], 2),
    }


def server_settings(url: str) -> dict[str, str]:
    """Version and durability, as the server says them."""
    conn = psycopg2.connect(url)
    try:
        cursor = conn.cursor()
        cursor.execute("select name, current_setting(name) from pg_settings where name = any(%s)", (list(_SETTINGS),))
        settings = dict(cursor.fetchall())
        return {"version": str(conn.get_parameter_status("server_version")), **{k: settings[k] for k in _SETTINGS}}
    finally:
        conn.close()


def _command(question: str) -> str:
    words = sys.argv[1:]
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(["python -m", f"bench.{question}", *words])


def _commit() -> str:
    """Of the code measured; `+` when it differed from that commit."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", ".", *_MADE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rounded(value: float) -> float:
    """Four digits: more are not in it."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
