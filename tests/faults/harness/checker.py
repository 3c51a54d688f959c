"""Holds ledger, events, effects and tables against each other: the invariants of a storm, and its figures.

Every problem is a sentence that names what broke, the first few of each sort. What the database says of a job is taken
only where the server itself wrote it: the event table.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from faults.harness.causes import CAUSES, brought_by, end_of
from faults.harness.evidence import Evidence, Verdict
from faults.harness.leases_checked import fences, http, sessions, takeovers
from faults.harness.ledger import Entry

_ENDS = ("succeeded", "failed_permanent", "cancelled")
# Each transition of a job is one statement that takes a row from one state's table and puts one into another's.
_LEGAL = {
    ("+ready",),
    ("-ready", "+running"),
    ("-running", "+ready"),
    ("-running", "+done"),
    ("-ready", "+done"),
    ("-done", "+ready"),
}
_ROUNDING_SECONDS = 1e-5


def check(evidence: Evidence) -> Verdict:
    """Every invariant that can be seen from outside the processes."""
    verdict = Verdict()
    for look in (_ledger_and_rows, _paths, fences, _attempts, _pauses, _effects, takeovers, sessions, http, _recovery):
        look(evidence, verdict)
    return verdict


def _ledger_and_rows(evidence: Evidence, verdict: Verdict) -> None:
    """1, 2 and 8: what was accepted is there, once, and nothing else is."""
    entries = evidence.ledger.values()
    there = {row[0] for row in evidence.rows}
    of_number = Counter(n for _, n, *_ in evidence.rows)
    accepted = {job for entry in entries for job in entry.answers}
    unanswered = [each for each in entries if not each.answers and not each.refused]
    lost = verdict.note("accepted, and not there", sorted(accepted - there))
    phantoms = verdict.note(
        "a row nobody asked for", (str(job) for job, n, *_ in evidence.rows if n is None or n not in evidence.ledger)
    )
    phantoms += verdict.note(
        "refused, and there", (str(e.n) for e in entries if of_number[e.n] and _refused_for_good(e))
    )
    doubled = verdict.note("asked for once, there twice", (str(n) for n, count in of_number.items() if count > 1))
    doubled += verdict.note("one key, two answers", (str(e.key) for e in entries if len(e.answers) > 1))
    verdict.figures |= {
        "attempted": len(evidence.ledger),
        "accepted": len(accepted),
        "unknown": len(unanswered),
        "unknown and there": sum(of_number[each.n] > 0 for each in unanswered),
        "lost": lost,
        "phantom": phantoms,
        "jobs too many for a key": doubled,
    }


def _refused_for_good(entry: Entry) -> bool:
    return bool(entry.refused) and not entry.answers and not entry.unknown


def _paths(evidence: Evidence, verdict: Verdict) -> None:
    """3 and 10: every job took legal steps, and came to one end that only a redrive undoes."""
    redriven = Counter(evidence.redriven)
    illegal, resurrected, stuck, twice, undone = [], [], [], [], []
    kinds = _kinds(evidence)
    for job, events in evidence.events.items():
        steps = [event.step for event in events]
        if not _is_legal(steps):
            illegal.append(f"{job}: {' '.join(steps[-8:])}")
        undone += [job for event in events if event.step == "-done" and event.status == "succeeded"]
        again = steps.count("-done")
        if again > redriven[job]:
            resurrected.append(f"{job}: began anew {again} times, redriven {redriven[job]} times")
        if steps.count("+done") - again > 1:
            twice.append(job)
        if steps[-1] != "+done":
            stuck.append(f"{job}, {kinds.get(job)}: last {events[-1].step}, attempt {events[-1].attempts}")
    known = evidence.events.keys()
    stuck += [
        f"{job}: {status}" for job, _, _, _, status, _ in evidence.rows if status not in _ENDS or job not in known
    ]
    verdict.figures |= {
        "ended twice or illegally": verdict.note("an illegal path", illegal) + verdict.note("two ends", twice),
        "resurrected": verdict.note("an end undone by nobody", resurrected) + verdict.note("a success undone", undone),
        "stuck": verdict.note("not ended", dict.fromkeys(stuck)),
    }


def _kinds(evidence: Evidence) -> dict[str, str]:
    return {job: evidence.ledger[n].kind for job, n, *_ in evidence.rows if n in evidence.ledger}


def _is_legal(steps: Sequence[str]) -> bool:
    """Whether they are transitions one after the other, each from where the last one led."""
    place = ""
    index = 0
    while index < len(steps):
        size = 1 if not place and index == 0 else 2
        step = tuple(steps[index : index + size])
        if step not in _LEGAL or (place and step[0][1:] != place):
            return False
        place = step[-1][1:]
        index += size
    return True


def _attempts(evidence: Evidence, verdict: Verdict) -> None:
    """6 and 9: every claim counts, what is given back does not, and nothing is claimed before its time."""
    most = {job: most for job, _, _, most, *_ in evidence.rows}
    due = {job: entry.due for entry in evidence.ledger.values() for job in entry.answers if entry.due}
    over, miscounted, early = [], [], []
    for job, events in evidence.events.items():
        attempts, before = 0, None
        for event in events:
            if event.attempts > most.get(job, 0):
                over.append(f"{job}: {event.attempts} of {most.get(job, 0)}")
            if event.step == "+ready" and before is not None:
                # What failed, crashed or expired left a failure behind; the rest was given back.
                failed = (job, event.fence) in evidence.errors
                if event.attempts != before.attempts - (not failed) and before.state == "running":
                    miscounted.append(
                        f"{job}: {before.attempts} when {'taken' if failed else 'given'} back, {event.attempts} after"
                    )
            if event.step == "+running":
                if event.attempts != attempts + 1:
                    miscounted.append(f"{job}: {attempts} before the claim, {event.attempts} after")
                if event.began < event.run_at:
                    early.append(f"{job}: {event.run_at - event.began:.6f} s too soon")
            attempts, before = event.attempts, event
        if job in due and abs(events[0].run_at - due[job]) > _ROUNDING_SECONDS:
            early.append(f"{job}: asked for {due[job]:.6f}, due {events[0].run_at:.6f}")
    verdict.figures["over-attempted"] = verdict.note("more attempts than it may have", over)
    verdict.note("an attempt miscounted", miscounted)
    verdict.figures["started before run_at"] = verdict.note("claimed before its time", dict.fromkeys(early))


def _pauses(evidence: Evidence, verdict: Verdict) -> None:
    """10: while its queue is paused nothing is claimed."""
    claims = [(job, event) for job, events in evidence.events.items() for event in events if event.step == "+running"]
    claimed = [
        f"{job} under {event.fence}, {event.began - since:.3f} s after"
        for job, event in claims
        for since, until in evidence.pauses
        if since < event.began and event.at < until
    ]
    verdict.figures["pauses"] = len(evidence.pauses)
    verdict.figures["claimed while paused"] = verdict.note("claimed from a paused queue", claimed)


def _effects(evidence: Evidence, verdict: Verdict) -> None:
    """7: a success had its effect, none happened outside a lease or twice in one, and every repetition has a cause."""
    of_claim = Counter((each.job, each.fence) for each in evidence.effects if each.fence)
    of_job = Counter(each.job for each in evidence.effects)
    kinds = _kinds(evidence)
    claims: defaultdict[str, dict[int, str]] = defaultdict(dict)
    silent = []
    for job, events in evidence.events.items():
        running = [event for event in events if event.step == "+running"]
        after = {event.fence: events[i + 1] for i, event in enumerate(events[:-1]) if event.step == "-running"}
        claims[job] = {event.fence: end_of(evidence, job, event.fence, after.get(event.fence)) for event in running}
        told = kinds.get(job) in ("effect", "webhook_delivery", "send_email")
        if told and events[-1].status == "succeeded" and not of_job[job]:
            silent.append(job)
    verdict.note("succeeded without its effect", silent)
    verdict.note("one claim ran twice", (str(key) for key, count in of_claim.items() if count > 1))
    verdict.note("ran without a claim", (str(key) for key in of_claim if key[1] not in claims[key[0]]))
    too_many = (job for job, count in of_job.items() if count > len(claims[job]))
    verdict.note("more effects than claims", too_many)
    began = {(each.job, each.fence): each.at for each in evidence.effects if each.fence}
    unexplained = []
    for (job, fence), count in of_claim.items():
        if (ended := claims[job].get(fence)) not in (None, "settled by its holder"):
            faults = brought_by(evidence, job, fence, began[job, fence], str(ended))
            verdict.duplicates[str(ended), faults] += count
            if not faults:
                unexplained.append(f"{job} under {fence}: {ended}")
    verdict.figures["duplicate effects"] = sum(verdict.duplicates.values())
    verdict.figures["without a cause"] = verdict.note("an effect whose repetition nothing explains", unexplained)


def _recovery(evidence: Evidence, verdict: Verdict) -> None:
    """How long after its start a job was taken back from a worker that died under it, and how soon all had ended."""
    began = {(each.job, each.fence): each.at for each in evidence.effects if each.fence}
    waits = []
    for job, events in evidence.events.items():
        for event in events:
            error = evidence.errors.get((job, event.fence), "")
            if event.step == "-running" and CAUSES["its worker died"](error) and (job, event.fence) in began:
                waits.append(event.at - began[job, event.fence])
    waits.sort()
    last = max((events[-1].at for events in evidence.events.values()), default=evidence.healed_at)
    verdict.figures |= {
        "taken back from the dead, p50 s": waits[len(waits) // 2] if waits else 0.0,
        "taken back from the dead, p99 s": waits[int(len(waits) * 0.99)] if waits else 0.0,
        "slowest recovery, s": waits[-1] if waits else 0.0,
        "drained after healing, s": max(0.0, last - evidence.healed_at),
    }
