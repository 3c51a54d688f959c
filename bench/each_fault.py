"""Does each fault alone leave nothing lost? `python -m bench.each_fault --scale 1 --seed 1`

One fault at a time, as often as its row says, under load that keeps a ledger of its own; what happened in the database
is read from a table that triggers write. *Wrong* counts what may never be, whatever the fault: jobs settled twice or
under a stale fence, over-attempted, made twice, phantom, unfinished, without effect, processes that ended, and so on;
*looked at* says how many such figures there were, *lost* among them. One that is not what it must be, or is not there,
ends the bench with an error, and so does one that *misses* what it is held to. Asynchronous failover loses by design,
and so do servers that are not safe; they are held to lose, or the fault was none. The other figures are named as the
functions in `tests/faults/harness` name them.
`--scale` multiplies the rounds, `--only` names some of the faults. `--seed` decides what is left to chance: when, and
whom.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from bench import cases, database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness import (
    clients,
    clocks,
    cuts,
    deafness,
    failover,
    held,
    history,
    holders,
    kills,
    leaving,
    links,
    never,
    outside,
    pooler,
    power,
    restarts,
    small_server,
    zombies,
)
from faults.harness.arena import Arena
from faults.harness.service import Service, on_a_server
from support.database import Databases
from support.server import in_reachable_folder

Figures = Mapping[str, Any]


class Fault(NamedTuple):
    """`rounds` are those at scale 1; `run` gets them and a seed. `never` names the figures that must be there, and 0 or
    as expected; each of `held_to` bounds one, and says so if the fault did not happen: `killed > 0`.
    """

    rounds: int
    run: Callable[[Databases, int, int], Figures]
    never: Collection[str]
    held_to: tuple[str, ...] = ()

    def to(self, *bounds: str) -> "Fault":
        """Itself, held to these."""
        return self._replace(held_to=bounds)


_SERVICE = frozenset({*clients.NEVER, *history.NEVER})
_ARENA = frozenset(history.NEVER)
# Handlers that leave no effect where the tests look for it, or none at all; and of those, jobs that nobody is to end.
_NO_EFFECTS = _ARENA.difference(history.OF_EFFECTS)
_NO_ENDS = _NO_EFFECTS - {"unfinished"}
_KEYS = frozenset({"failed", "keys_with_two_jobs", "keys_with_two_answers", "jobs_nobody_asked_for"})


@contextmanager
def _arena(databases: Databases) -> Iterator[Arena]:
    with in_reachable_folder() as folder, databases.migrated() as url, Arena(url, folder) as arena:
        yield arena


def _in_arena(
    rounds: int, fault: Callable[[Arena, int, int], Figures], *own: str, never: Collection[str] = _ARENA
) -> Fault:
    def run(databases: Databases, rounds: int, seed: int) -> Figures:
        with _arena(databases) as arena:
            return fault(arena, rounds, seed)

    return Fault(rounds, run, {*never, *own})


def _on_a_server(rounds: int, fault: Callable[[Service, int, int], Figures]) -> Fault:
    def run(_: Databases, rounds: int, seed: int) -> Figures:
        with in_reachable_folder() as folder, on_a_server(folder) as service:
            return fault(service, rounds, seed)

    return Fault(rounds, run, _SERVICE)


def _on_a_pair(
    rounds: int,
    fault: Callable[[Service, failover.Pair, int, int], Figures],
    *own: str,
    without: Collection[str] = (),
) -> Fault:
    def run(_: Databases, rounds: int, seed: int) -> Figures:
        with in_reachable_folder() as folder, failover.on_a_pair(folder) as (service, pair):
            return fault(service, pair, rounds, seed)

    return Fault(rounds, run, {*_SERVICE, *own}.difference(without))


def _on_small_disks(rounds: int, fault: Callable[[Service, small_server.Disks, int], Figures]) -> Fault:
    def run(_: Databases, rounds: int, __: int) -> Figures:
        with in_reachable_folder() as folder, small_server.on_a_small_server(folder, rounds) as (service, disks):
            return fault(service, disks, rounds)

    return Fault(rounds, run, _SERVICE)


def _pooler(_: Databases, rounds: int, seed: int) -> Figures:
    with in_reachable_folder() as folder, pooler.behind_a_pooler(folder) as (service, bouncer):
        return pooler.ill(service, bouncer, rounds, seed)


def _power(_: Databases, rounds: int, seed: int) -> Figures:
    with in_reachable_folder() as folder:
        return power.power_cuts(folder, rounds, seed)


def _unsafe(setting: str) -> Fault:
    """A server with this setting off loses; what is left is no matter here."""

    def run(_: Databases, __: int, ___: int) -> Figures:
        with in_reachable_folder() as folder:
            return power.unsafe(folder, **{setting: "off"})

    return Fault(1, run, ())


def _every_call(kind: str) -> Fault:
    own = ("not_both_or_neither",)
    return _in_arena(1, lambda arena, _, seed: cuts.worker(arena, kind, None, seed), *own).to("percent_killed >= 85")


FAULTS: dict[str, Fault] = {
    "a worker killed at random": _in_arena(
        1000, kills.run, "uncounted_without_reason", "attempts_beyond_one_a_kill", "ended_otherwise"
    ).to("again_seconds_p99 <= 2", "held_when_killed > 0"),
    **{f"a worker killed at every system call, {kind}": _every_call(kind) for kind in cuts.JOBS},
    "a steward killed at every system call": _in_arena(
        1, lambda arena, _, seed: cuts.steward(arena, None, seed), "leases_lost", "attempts_of_its_job"
    ).to("percent_killed >= 85"),
    "a web process killed at every system call": _in_arena(
        1, lambda arena, _, seed: cuts.web(arena, None, seed), "jobs_and_keys", never=_NO_ENDS
    ).to("percent_killed >= 85", "unanswered > 0"),
    "zombies": _in_arena(300, zombies.run, "told_of_a_settle_that_is_not_there").to(
        "stale_settles_refused > 0", "refused_over_http > 0"
    ),
    "TERM to everybody, twice": _in_arena(
        50, leaving.term_storm, "exits_past_their_time", "stranded", "attempts_spent_on_give_backs"
    ),
    "the supervisor killed": _in_arena(30, leaving.supervisor_kills).to("slowest_gone_seconds <= 1"),
    "everything replaced under load": _in_arena(10, leaving.rolling_replacement, "attempts_spent", *_KEYS).to(
        "accepted > 0", "unanswered <= 0", "unavailable <= 0"
    ),
    "web processes killed in the middle of requests": _in_arena(50, leaving.web_kills, never={"lost", *_KEYS}).to(
        "unanswered > 0"
    ),
    "PostgreSQL dies and starts again": _on_a_server(30, restarts.restarts).to(
        "claimed_again_seconds_most <= 2", "accepted_again_seconds_most <= 2"
    ),
    "every session ended ten times a second": _on_a_server(
        3, lambda service, rounds, seed: restarts.storm(service, rounds, 20.0, seed=seed)
    ).to("percent_of_calm >= 95", "terminated > 0"),
    "a snapshot held open": _on_a_server(1, lambda service, rounds, _: held.snapshot(service, rounds, 120.0)).to(
        "percent_of_free >= 80"
    ),
    "a table locked": _on_a_server(4, lambda service, rounds, _: held.table_lock(service, rounds)).to(
        "ran_again_seconds_most <= 2"
    ),
    "NOTIFY fails": _on_a_server(1, lambda service, *_: deafness.notifications(service)).to("ran_after_seconds <= 5"),
    "the listener is stuck": _on_a_server(1, lambda service, *_: deafness.stuck_listener(service)).to(
        "slowest_start_seconds <= 2"
    ),
    "all connections are taken": _on_small_disks(
        3, lambda service, _, rounds: small_server.connections(service, rounds)
    ).to("connections_taken >= 300", "unavailable > 0", "accepted_again_seconds_most <= 2"),
    "PgBouncer killed, paused and reloaded": Fault(5, _pooler, _SERVICE).to(
        "unavailable > 0", "accepted_again_seconds_most <= 2"
    ),
    "the disk is full": _on_small_disks(3, small_server.data).to("unavailable > 0"),
    "the disk under the WAL is full": _on_small_disks(3, small_server.wal).to("unavailable > 0"),
    "the power goes": Fault(30, _power, _SERVICE).to("unavailable > 0"),
    "the power goes, with fsync off (it loses)": _unsafe("fsync").to("lost > 0"),
    "the power goes, with synchronous_commit off (it loses)": _unsafe("synchronous_commit").to("lost > 0"),
    "a synchronous standby takes over": _on_a_pair(20, failover.failovers, "settled_on_the_old_primary").to(
        "unavailable > 0", "accepted_after_promotion_seconds_most <= 2"
    ),
    "a commit whose standby is not there": _on_a_pair(
        5, lambda service, pair, rounds, seed: failover.silent_acknowledgements(service, pair, rounds, seed=seed)
    ).to("careless_lost > 0"),
    "a standby that is away for a while": _on_a_pair(
        1, lambda service, pair, *_: failover.absent_standby(service, pair, 15.0), without=("exits",)
    ).to("unavailable > 0", "ran_again_seconds <= 2"),
    "an asynchronous standby takes over (it loses)": _on_a_pair(
        3,
        lambda service, pair, rounds, _: failover.asynchronous_failovers(service, pair, rounds),
        without=failover.LOST_WITH_THE_PRIMARY,
    ).to("lost > 0"),
    "a dead link": _in_arena(5, links.dead, "one_job_a_key", "processes_that_exited", "attempts_spent").to(
        "slowest_notice_seconds <= 10"
    ),
    "a link that flaps": _in_arena(10, links.flapping, "attempts_spent"),
    "clocks ten minutes apart, and jumping": _in_arena(
        3, clocks.apart, "started_before_run_at", "workers_taken_for_lost", "attempts_spent"
    ),
    "words of HTTP holders lost, doubled, late": _in_arena(
        1, lambda arena, *_: holders.matrix(arena), "held", never=_NO_ENDS
    ),
    "webhook receivers that fail": _in_arena(
        100,
        outside.webhooks,
        *("not_delivered", "repeated_without_a_reason", "ids_or_bodies_that_changed"),
        never=_NO_EFFECTS,
    ).to("repeated > 0"),
    "mail servers that fail": _in_arena(
        50,
        outside.mails,
        *("not_sent", "received_twice_without_a_reason", "message_ids_that_changed"),
        never=_NO_EFFECTS,
    ).to("received_twice > 0"),
}


# What counts the jobs of a fault; the first that it has.
_JOBS = ("jobs", "accepted", "jobs_meanwhile", "mails", "deliveries", "cases")
# They say what was put in, or again what stands in another column.
_LEFT_OUT = {*_JOBS, *_SERVICE, "lost", "seed", "rounds", "starts", "unknown", "started"}


def _in_words(figures: Figures) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:g}"
        for name, value in figures.items()
        if name not in _LEFT_OUT and isinstance(value, int | float)
    )


def _words(bounds: Collection[str]) -> str:
    return ", ".join(bounds).replace("_", " ")


def _row(name: str, fault: Fault, rounds: int, seed: int, databases: Databases, found: report.Report) -> list[str]:
    figures = fault.run(databases, rounds, seed)
    wrong = never.wrong(figures, fault.never)
    missed = [bound for bound in fault.held_to if not never.holds(figures, bound)]
    case = {"fault": name, "rounds": rounds, "what it came to": _in_words(figures), "held to": _words(fault.held_to)}
    numbers = {
        "jobs": next((figures[each] for each in _JOBS if figures.get(each)), 0),
        "lost": figures["lost"],
        # Of a figure that has another right value than 0 there is no number of wrongs.
        "wrong": sum(1 if each in never.AS_EXPECTED else wrong[each] or 0 for each in wrong if each != "lost"),
        "looked at": len(never.looked_at(figures, fault.never)),
        "missed": len(missed),
    }
    found.add(case, numbers)
    return [f"{name}: {wrong}, missed {missed} in {figures}"] if wrong or missed else []


def main() -> None:
    """Prints a line per figure; a fault that left something wrong is named at the end."""
    asked = report.asked(
        __doc__, (1, 1), seed=(1, 1), scale=(1.0, 0.05), only=("", "words of HTTP holders lost, doubled, late")
    )
    found = report.Report("each_fault", asked)
    names = [name for name in FAULTS if not asked.only or name in asked.only.split(";")]
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        databases = Databases(server.url)

        def row(name: str) -> list[str]:
            rounds = max(1, int(FAULTS[name].rounds * asked.scale))
            return _row(name, FAULTS[name], rounds, asked.seed, databases, found)

        wrong = cases.carry_out(names, row)
        databases.close()
    cases.finish(found, wrong)


if __name__ == "__main__":
    main()
