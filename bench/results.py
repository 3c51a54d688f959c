"""`python -m bench.results` writes RESULTS.md, FAULTS.md and plots/*.svg from results/*.json, no number by hand.

What is said about a question is its module's docstring, so it stands beside the code that measures it.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import report

HERE = Path(__file__).parent
PAGE = HERE / "RESULTS.md"
FAULTS_PAGE = HERE / "FAULTS.md"
# As one would ask them; a question that is not here comes last.
ORDER = (
    "peers",
    "drain",
    "shares",
    "dispatcher",
    "handlers",
    "sustained",
    "held",
    "backlog",
    "pickup",
    "post",
    "bulk",
    "long_job",
    "idle",
    "memory",
    "lists",
    "barrier",
    "limits",
    "faults",
    "controls",
    "each_fault",
    "every_message",
    "every_line",
    "model",
    "kills",
    "attacks",
)
_HEAD = """\
# Results

Written by `python -m bench.results` from `bench/results/*.json`; no number here is typed by hand. Every figure names
its command, machine, date and the commit it was measured on (`+`: with changes not committed). Where there were several
rounds a row shows their medians, and the rounds of its first number beside it. Server, workers, producers and the bench
itself share the cores; the machine is shared, too, so differences under 20 % are noise. After each round the
invariants' checker looked at every job of its database, and found nothing, or there would be no figure.
"""

# These have a page of their own.
FAULTS = ("faults", "controls", "each_fault", "every_message", "every_line", "model", "kills", "attacks")
_FAULTS_HEAD = """\
# Faults

Written by `python -m bench.results` from `bench/results/*.json`; no number here is typed by hand. Each section names
its command, machine, date and commit. Stated exclusions, which can lose what was acknowledged: failover to an
asynchronous standby, and `fsync=off`.
"""
_FOOT = """\
## What we meant to reach and did not, and what stands in the way

**Drain at 1.3 times graphile-worker.** With as many rows written for each job (it deletes a job,
we keep attempts, times and worker) PostgreSQL's part alone (*shares*) is nearly all the time that would leave us; its
profile is flat, no function above a thirtieth, and the dearest single thing is the index by which people list what is
finished. Of the loop's part (*dispatcher*) the check of the payload is a third, the timer of the deadline a tenth.
Tried: batches beyond 1,000, fewer or untyped columns in the claim's answer, no order in it, one timer for several jobs
(it lost deadlines), collecting garbage less often: none is worth its price.

**1 ms handlers at 95 % of workers ÷ duration.** The loop with no database at all does not reach it (*dispatcher*): what
takes 8 µs while the processor's caches are warm takes several times that just after a sleep. Batches twice as long
would add one point, and let a job wait twice as long behind its neighbours.

**200 priorities at 90 % of the empty table's rate, on PostgreSQL 15, where the last to come go first.** The same claims
of as many streams pass it where jobs go in the order in which they came (*backlog*): what is lost comes with rows and
index entries that are read and written in another order than they were made in. Of the claim's own we took away what
was to be had: emptied streams are forgotten, and looking for new ones has a fortieth of the time. Tried: to name fewer
streams in a claim, which cost more, by a second commit, than it saved.

**Pickup within 1.0 ms in the median.** More than half is the claim itself, from its begin to the handler, when nothing
has run for a while; the rest is six wake-ups, of the listener, the worker and the server's processes (*pickup*). Not to
wait until the claim is durable would save a tenth, and could give one fence out twice after a crash.
"""


def documents(folder: Path = report.RESULTS) -> list[dict[str, Any]]:
    """What was kept, in order."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda document: _place(document["question"]))


def page(found: Sequence[Mapping[str, Any]]) -> str:
    """RESULTS.md."""
    return "\n".join([_HEAD, *map(_section, found), _FOOT])


def results_page(found: Sequence[Mapping[str, Any]]) -> str:
    """RESULTS.md, of all but the faults."""
    return page([document for document in found if document["question"] not in FAULTS])


def faults_page(found: Sequence[Mapping[str, Any]]) -> str:
    """FAULTS.md."""
    return "\n".join([_FAULTS_HEAD, *(_section(document) for document in found if document["question"] in FAULTS)])


def _section(document: Mapping[str, Any]) -> str:
    title, _, prose = _docstring(document["question"]).partition("\n")
    lines = [f"## {title.partition('?')[0]}?", ""]
    if prose.strip():
        lines += [prose.strip(), ""]
    lines += [_facts(document), "", report.tables(document)]
    for name, figure in document["plots"].items():
        lines += [f"![{figure['title']}](plots/{name}.svg)", ""]
    return "\n".join(lines)


def _facts(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    facts = [
        f"`{document['command']}`",
        f"{document['at'][:10]}",
        f"commit {document['commit']}",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}",
        f"load before {machine['load_before']}",
        f"Python {document['python']}",
        *map(_server, document["servers"]),
    ]
    return "; ".join(facts) + "."


def _server(settings: Mapping[str, str]) -> str:
    rest = ", ".join(f"{name} {value}" for name, value in settings.items() if name != "version")
    return f"PostgreSQL {settings['version']} ({rest})"


def _docstring(question: str) -> str:
    path = HERE / f"{question}.py"
    if not path.exists():
        path = HERE / question / "__init__.py"
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or question


def _place(question: str) -> tuple[int, str]:
    return (ORDER.index(question) if question in ORDER else len(ORDER), question)


def main() -> None:
    """Writes the page and its figures."""
    from bench import plots

    found = documents()
    PAGE.write_text(results_page(found), encoding="utf-8")
    FAULTS_PAGE.write_text(faults_page(found), encoding="utf-8")
    for document in found:
        for name, figure in document["plots"].items():
            plots.draw(name, figure)


if __name__ == "__main__":
    main()
