"""What the checker asks of leases: who had them, who ended them, and who took them back."""

from collections import Counter, defaultdict
from itertools import pairwise

from faults.harness.causes import CAUSES, was_taken_back
from faults.harness.evidence import Evidence, Verdict


def fences(evidence: Evidence, verdict: Verdict) -> None:
    """4 and 5: fences grow, none comes twice, and each lease ends once."""
    seen: Counter[int] = Counter()
    shrunk, doubled = [], []
    for job, events in evidence.events.items():
        fences = [event.fence for event in events if event.step == "+running"]
        seen.update(fences)
        if any(later <= earlier for earlier, later in pairwise(fences)):
            shrunk.append(job)
        ends = Counter(event.fence for event in events if event.step == "-running")
        doubled += [f"{job} under {fence}" for fence, count in ends.items() if count > 1]
    verdict.note("fences did not grow", shrunk)
    verdict.figures["double-settled"] = verdict.note("a lease settled twice", doubled)
    verdict.note("a fence given out twice", (str(fence) for fence, count in seen.items() if count > 1))


def sessions(evidence: Evidence, verdict: Verdict) -> None:
    """4, as the server saw it: no lease was ended in the session of a holder that never had it."""
    claimed: defaultdict[str, set[int | None]] = defaultdict(set)
    strangers = []
    for event in sorted((event for events in evidence.events.values() for event in events), key=lambda each: each.at):
        if event.step == "+running":
            claimed[event.session].add(event.worker_id)
        # Stewards, and whoever has just connected again, have claimed nothing; nor as whom they will be known next.
        holders = claimed[event.session]
        lost = was_taken_back(evidence.errors.get((event.job, event.fence), ""))
        if event.step == "-running" and holders and event.worker_id not in holders and not lost:
            strangers.append(f"{event.job} under {event.fence} of worker {event.worker_id}, by one of {holders}")
    verdict.figures["ended by a stranger"] = verdict.note("a lease ended by somebody else", strangers)


def http(evidence: Evidence, verdict: Verdict) -> None:
    """4 for holders over HTTP: what they were told was done is what the server did, and no lease was settled twice."""
    accepted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for each in evidence.said:
        if each.status == 204 and each.verb != "heartbeat":
            accepted[each.job, each.token].add(each.verb)
    verdict.note("one lease, two settles accepted", (str(key) for key, verbs in accepted.items() if len(verbs) > 1))
    untrue = []
    for (job, token), verbs in accepted.items():
        fence = int(token.split("-")[0])
        events = evidence.events.get(job, ())
        after = [events[i + 1] for i, e in enumerate(events[:-1]) if e.step == "-running" and e.fence == fence]
        wanted = {"ack": ("+done",), "fail": ("+ready", "+done"), "release": ("+ready", "+done")}[next(iter(verbs))]
        # What is written under a fence that has failed says who ended it: the holder in its words, or a rescue.
        error = evidence.errors.get((job, fence))
        failed = error is not None and not was_taken_back(error)
        if not after or after[0].step not in wanted or failed != (verbs == {"fail"}):
            untrue.append(f"{job} under {token}: {verbs}, then {after[0].step if after else 'nothing'}, {error}")
    verdict.figures["settles over HTTP"] = len(accepted)
    verdict.figures["stale settles accepted"] = verdict.note("accepted, and not done", untrue)


def takeovers(evidence: Evidence, verdict: Verdict) -> None:
    """5 and 11: a lease is taken back only when it is over, whoever lost it starts nothing more under it, and the death
    of a worker costs one job an attempt, however many it held.
    """
    early = []
    late: Counter[int] = Counter()
    began = {(each.job, each.fence): each.at for each in evidence.effects if each.fence}
    for job, events in evidence.events.items():
        for claim, end in pairwise(events):
            if claim.step != "+running" or end.step != "-running":
                continue
            if (
                evidence.errors.get((job, claim.fence)) == "lease expired"
                and end.at - claim.began < evidence.lease_seconds
            ):
                early.append(f"{job} under {claim.fence}: after {end.at - claim.began:.3f} s")
            if began.get((job, claim.fence), 0.0) > end.at and claim.worker_id is not None:
                late[claim.worker_id] += 1
    charged = Counter(error.split(" (pid")[0] for error in evidence.errors.values() if CAUSES["its worker died"](error))
    verdict.note("a lease taken back before it was over", early)
    # Stopped between its look at the lease and the handler's first line it starts that one; no look can prevent it.
    many = (f"worker {worker}: {count}" for worker, count in late.items() if count > 1)
    verdict.figures["started after the lease was lost"] = verdict.note("started under a lost lease", many)
    verdict.figures["caught between look and start"] = sum(count == 1 for count in late.values())
    verdict.note(
        "a death that cost several jobs an attempt", (worker for worker, count in charged.items() if count > 1)
    )
