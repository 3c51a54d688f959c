"""What `windlass demo` shows: a live bar for each kind (plain lines where there is no terminal), then a table."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.commands.demo_jobs import EVIDENCE

if TYPE_CHECKING:
    from app.commands.demo import Enqueued


@contextmanager
def watched(jobs: Sequence["Enqueued"]) -> Iterator[Callable[[], None]]:
    """Call what it gives after every look at the jobs."""
    console = Console()
    if not console.is_terminal:
        yield _lines(console, jobs)
        return
    what, bar, count = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(SpinnerColumn(), what, bar, count, TimeElapsedColumn(), console=console) as progress:
        bars = {kind: progress.add_task(kind, total=len(group)) for kind, group in _by_kind(jobs).items()}

        def show() -> None:
            for kind, group in _by_kind(jobs).items():
                progress.update(bars[kind], completed=sum(job.ended for job in group))

        yield show


def results(jobs: Sequence["Enqueued"]) -> None:
    """The table. Times are from enqueue to end, waiting included."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("kind", "jobs", "succeeded", "attempts", "evidence", "p50 ms", "p95 ms"):
        table.add_column(heading, justify="left" if heading in ("kind", "evidence") else "right")
    for kind, group in _by_kind(jobs).items():
        times = [_milliseconds(job) for job in group if job.ended]
        missing = sum(job.problem is not None for job in group)
        table.add_row(
            kind,
            str(len(group)),
            str(sum(job.job["status"] == "succeeded" for job in group)),
            str(sum(job.job["attempts"] for job in group)),
            f"{missing} missing" if missing else EVIDENCE[kind],
            *([f"{_quantile(times, share):.0f}" for share in (50, 95)] if times else ["-", "-"]),
        )
    Console().print(table)


def _lines(console: Console, jobs: Sequence["Enqueued"]) -> Callable[[], None]:
    shown = -1

    def show() -> None:
        nonlocal shown
        ended = sum(job.ended for job in jobs)
        if ended != shown:
            shown = ended
            console.print(f"{ended} of {len(jobs)} ended", highlight=False)

    return show


def _by_kind(jobs: Sequence["Enqueued"]) -> dict[str, list["Enqueued"]]:
    kinds: dict[str, list[Enqueued]] = {}
    for job in jobs:
        kinds.setdefault(job.plan.kind, []).append(job)
    return kinds


def _milliseconds(job: "Enqueued") -> float:
    began, ended = (datetime.fromisoformat(job.job[name]) for name in ("created_at", "finished_at"))
    return (ended - began).total_seconds() * 1000


def _quantile(times: Sequence[float], percent: int) -> float:
    if len(times) == 1:
        return times[0]
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
