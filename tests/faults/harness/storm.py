"""One storm: everything started, clients that enqueue, faults from a seed, then quiet, a drain, and the verdict."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import urllib3
from faults.harness import events, holder
from faults.harness.cast import CANARIES, Cast
from faults.harness.checker import check
from faults.harness.evidence import Evidence, Injected, Verdict, Worker
from faults.harness.faults import FAULTS
from faults.harness.hits import Fault
from faults.harness.ledger import Ledger
from faults.harness.load import Client
from faults.harness.nemesis import Nemesis
from faults.harness.sink import Sink
from prometheus_client.parser import text_string_to_metric_families
from support.database import open_connection
from support.server import in_reachable_folder
from support.waiting import until

from sql import checks

_ROWS = """
select j.id::text,
    coalesce(
        j.payload ->> 'n', j.payload #>> '{body,n}', j.payload ->> 'subject',
        substring(j.payload ->> 'text' from '[0-9]+$')
    )::integer,
    j.idempotency_key, j.max_attempts, v.status, v.attempts
from windlass.jobs as j
join windlass.job_view as v on v.id = j.id
"""
_DEADLY = "select id::text from windlass.jobs where payload ->> 'do' = 'die'"
_ERRORS = "select id::text, fence, error from windlass.failures"
_OF_WHAT_IS_UNDER_WAY = ("queue_depth", "inflight_leases", "worker_jobs_in_flight")
_WORKERS = """
select id, pid, substring(pool from '[0-9]+$')::integer, extract(epoch from heartbeat_at)::float8 from windlass.workers
"""
_LEFT = "select (select count(*) from windlass.ready) + (select count(*) from windlass.running)"


@dataclass
class Plan:
    """What a storm is made of."""

    seed: int
    seconds: float
    kinds: Mapping[str, Fault] = field(default_factory=lambda: FAULTS)
    clients: int = 3
    pause: float = 0.05
    at_once: int = 3
    gap: float = 0.3
    pools: int = 2
    holders: int = 3
    defect: str = ""
    settings: str = ""
    drain_seconds: float = 60.0

    @property
    def command(self) -> str:
        """Makes it again, of all faults and without a defect: the same ones, as long and as far apart."""
        names = ("seed", "seconds", "clients", "pause", "at_once", "gap")
        options = " ".join(f"--{name.replace('_', '-')} {getattr(self, name)}" for name in names)
        return f"python -m bench.faults --storms 1 {options}"


@dataclass
class Outcome:
    """What came of it. `text` is the report for people."""

    plan: Plan
    verdict: Verdict
    injected: Sequence[Injected]
    overlapping: int
    seconds: float

    @property
    def kinds(self) -> Counter[str]:
        """How many faults of each kind."""
        return Counter(each.name for each in self.injected)

    @property
    def text(self) -> str:
        """The figures, what repeated effects and why, and what is wrong, then with what was injected when."""
        lines = [
            f"seed {self.plan.seed}: {len(self.injected)} faults of {len(self.kinds)} kinds, {self.overlapping} of"
        ]
        lines[0] += f" them overlapping, in {self.seconds:.0f} s"
        lines += [f"  {name}: {value:g}" for name, value in self.verdict.figures.items()]
        lines += [
            f"  an effect repeated, {cause}, by {' or '.join(sorted(faults))}: {count}"
            for (cause, faults), count in self.verdict.duplicates.items()
        ]
        lines += [f"  PROBLEM {problem}" for problem in self.verdict.problems]
        if self.verdict.problems:
            lines += [f"  again: {self.plan.command}"] if not self.plan.defect else []
            lines += [
                f"  {each.began:7.2f} s to {each.ended:7.2f} s: {each.name}, {each.whom}" for each in self.injected
            ]
        return "\n".join(lines)


def storm(plan: Plan, look: Callable[[str], object] = lambda _: None) -> Outcome:
    """Runs it. `look` is called with the server's URL while it still is quiet."""
    with in_reachable_folder() as folder, Sink() as sink:
        cast = Cast(folder, sink, pools=plan.pools, holders=plan.holders, defect=plan.defect, settings=plan.settings)
        try:
            look(cast.ready().url)
            return _rage(plan, cast, sink, folder)
        finally:
            cast.end()


def _rage(plan: Plan, cast: Cast, sink: Sink, folder: Path) -> Outcome:
    began = time.monotonic()
    ledger = Ledger(folder / "ledger")
    terms = (ledger, f"http://127.0.0.1:{cast.port}", cast.url, sink.address, plan.pause)
    clients = [Client(f"client-{n}", f"{plan.seed}-{n}", *terms) for n in range(plan.clients)]
    nemesis = Nemesis(cast, str(plan.seed), kinds=plan.kinds, at_once=plan.at_once, gap=plan.gap)
    for client in clients:
        client.start()
    try:
        nemesis.rage(plan.seconds)
    finally:
        for client in clients:
            client.leave.set()
        for client in clients:
            client.join(60)
            assert not client.is_alive(), f"{client.name} hangs"
    verdict = Verdict()
    _or_a_problem("healed", cast.heal, verdict)
    healed_at = time.time()
    # While much is left to do: of an idle pool nothing could be stranded.
    for name in cast.pool_names:
        _or_a_problem("left", partial(_leave, cast, name, verdict), verdict)
    _drain(cast, plan.drain_seconds, verdict)
    _look_from_outside(cast, verdict)
    _or_a_problem("left", cast.leave, verdict)
    leaving = Injected("drain_pool", "all", healed_at, time.time())
    evidence = _evidence(cast, ledger, sink, healed_at, [*nemesis.spans(), leaving])
    found = check(evidence)
    found.problems += verdict.problems
    found.problems += nemesis.errors + [problem for client in clients for problem in client.problems]
    found.problems += cast.ended_by_themselves
    found.figures |= verdict.figures
    _look_inside(cast, found)
    _was_there(plan, found)
    found.figures["longest drain after TERM, s"] = max(cast.leaving_seconds, default=-1.0)
    if codes := [code for code in cast.exit_codes if code]:
        found.problems.append(f"exit codes after TERM: {codes}")
    return Outcome(plan, found, nemesis.injected, nemesis.overlapping(), time.monotonic() - began)


def _was_there(plan: Plan, verdict: Verdict) -> None:
    """Of nothing nothing can be lost."""
    wanted = ["accepted", *(["settles over HTTP"] if plan.holders else [])]
    verdict.problems += [f"the storm was none: {name} 0" for name in wanted if not verdict.figures[name]]


def _leave(cast: Cast, name: str, verdict: Verdict) -> None:
    """14: whoever is told TERM holds nothing when it has left; then another comes."""
    stranded = cast.drain(name)
    verdict.figures["stranded after TERM"] = verdict.figures.get("stranded after TERM", 0) + stranded
    if stranded:
        verdict.problems.append(f"stranded by pool {name} after TERM: {stranded}")


def _or_a_problem(what: str, do: Callable[[], object], verdict: Verdict) -> None:
    try:
        do()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        verdict.problems.append(f"not {what}: {error}")


def _drain(cast: Cast, seconds: float, verdict: Verdict) -> None:
    conn = open_connection(cast.url)
    try:
        until(lambda: conn.fetch_one(_LEFT) == (0,), seconds, "all jobs ended")
    except AssertionError as error:
        # Which of them are left the checker says.
        verdict.problems.append(f"not drained: {error}")
    finally:
        conn.close()


def _look_from_outside(cast: Cast, verdict: Verdict) -> None:
    """13, 15 and 16: pages answer, their counts are the tables', and nothing that is secret stands on them."""
    http = urllib3.PoolManager(headers={"Authorization": f"Bearer {CANARIES['admin']}"}, retries=False)
    url = f"http://127.0.0.1:{cast.port}"
    pages = [
        "/jobs?limit=200",
        "/v1/admin/queues/default/depth",
        "/v1/admin/queues/default/dead",
        "/health",
        "/metrics",
    ]
    pages += [f"/jobs?status={status}" for status in ("succeeded", "failed_permanent", "cancelled", "queued")]
    for path in pages:
        answer = http.request("GET", url + path)
        if answer.status != 200:
            verdict.problems.append(f"GET {path} is answered {answer.status}")
    readers = {"the web's metrics": lambda: http.request("GET", f"{url}/metrics").data.decode()}
    readers |= {f"metrics of pool {name}": cast.pool(name).page for name in cast.pool_names}
    for whose, read in readers.items():
        _no_canary(whose, read(), verdict)
        # A count may be as old as the processes' ration of counting allows.
        _or_a_problem("told", lambda read=read: until(lambda: not _under_way(read()), 10, "0 under way"), verdict)


def _under_way(page: str) -> dict[str, float]:
    """13: what metrics say waits or runs, of which there is nothing."""
    families = text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples if sample.name in _OF_WHAT_IS_UNDER_WAY]
    assert samples, "no such metric"
    return {f"{sample.name}{sample.labels}": sample.value for sample in samples if sample.value}


def _look_inside(cast: Cast, verdict: Verdict) -> None:
    """The tables agree; no deadlock, no defect of ours, no secret is in a log."""
    conn = open_connection(cast.url)
    verdict.problems += checks.states(conn)
    conn.close()
    # Not the server's own count, which a crash of it forgets.
    deadlocks = cast.server_log().count("deadlock detected")
    verdict.figures["deadlocks"] = deadlocks
    if deadlocks:
        verdict.problems.append(f"deadlocks: {deadlocks}")
    logs = cast.logs()
    _no_canary("a log", logs, verdict)
    tracebacks = logs.count("Traceback (most recent call last)")
    verdict.figures["tracebacks in logs"] = tracebacks
    if tracebacks:
        verdict.problems.append(f"tracebacks in logs: {tracebacks}")


def _no_canary(where: str, text: str, verdict: Verdict) -> None:
    verdict.problems += [
        f"the canary of {name} stands in {where}" for name, canary in CANARIES.items() if canary in text
    ]


def _evidence(cast: Cast, ledger: Ledger, sink: Sink, healed_at: float, faults: Sequence[Injected]) -> Evidence:
    conn = open_connection(cast.url)
    try:
        entries, notes = ledger.read()
        return Evidence(
            ledger=entries,
            redriven=notes.get("redrive", []),
            events=events.of_each_job(conn),
            effects=sink.effects(),
            said=holder.said(cast.holder_log),
            rows=conn.fetch_all(_ROWS),  # type: ignore[arg-type]
            errors={(job, fence): error for job, fence, error in conn.fetch_all(_ERRORS)},
            workers={
                identity: Worker(pid, cast.supervisors[supervisor], heard_at)
                for identity, pid, supervisor, heard_at in conn.fetch_all(_WORKERS)
            },
            faults=faults,
            deadly={job for (job,) in conn.fetch_all(_DEADLY)},
            pauses=events.pauses(conn, "default", cast.paused_at),
            healed_at=healed_at,
            lease_seconds=holder.LEASE_MS / 1000,
        )
    finally:
        conn.close()
