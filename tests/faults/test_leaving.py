"""Pools and services that end, however often they are told and whenever: nothing is stranded and nobody is refused."""

import random

import pytest
from faults.harness import leaving
from faults.harness.arena import Arena
from faults.harness.history import faultless
from faults.harness.proxy import Cut
from faults.harness.stage import stage
from faults.harness.wire import CLIENT
from support.database import Databases
from support.waiting import until

from workerpool.session import Abandoned

POOLS, SUPERVISORS, REPLACEMENTS, WEB_PROCESSES = 4, 2, 1, 6


def test_term_to_everybody_twice_at_any_instant_strands_nothing_and_spends_no_attempt(arena: Arena) -> None:
    figures = faultless(leaving.term_storm(arena, POOLS, random.getrandbits(32)))
    print(figures)
    assert figures["exits_past_their_time"] == 0
    assert figures["stranded"] == 0
    assert figures["attempts_spent_on_give_backs"] == 0


def test_a_claim_that_a_worker_leaves_in_the_middle_counts_as_under_way(databases: Databases) -> None:
    with stage(databases) as made:
        worker = made.worker()
        (job_id,) = made.add()
        worker.worker._draining = True
        # It looks for streams, claims from them, and connects again.
        made.proxy.watch(Cut(CLIENT, 2, after=True), Cut(CLIENT, 3))
        with pytest.raises(Abandoned):
            worker.claim()
        until(lambda: made.job(job_id).status == "running", message="the server carries it out")
        assert worker.cell.claiming


def test_a_killed_supervisor_leaves_no_orphan_after_a_second_and_loses_no_job(arena: Arena) -> None:
    figures = faultless(leaving.supervisor_kills(arena, SUPERVISORS, random.getrandbits(32)))
    print(figures)
    assert figures["slowest_gone_seconds"] < 1


@pytest.mark.timeout(180)
def test_the_new_beside_the_old_and_then_without_it_answers_every_request(arena: Arena) -> None:
    figures = faultless(leaving.rolling_replacement(arena, REPLACEMENTS, random.getrandbits(32)))
    print(figures)
    assert figures["failed"] == figures["unanswered"] == figures["unavailable"] == 0
    assert figures["keys_with_two_jobs"] == figures["keys_with_two_answers"] == figures["jobs_nobody_asked_for"] == 0
    assert figures["attempts_spent"] == 0


def test_what_a_killed_web_process_did_not_answer_is_the_same_job_when_asked_again_by_its_key(arena: Arena) -> None:
    figures = leaving.web_kills(arena, WEB_PROCESSES, random.getrandbits(32))
    print(figures)
    assert figures["lost"] == figures["failed"] == figures["jobs_nobody_asked_for"] == 0
    assert figures["keys_with_two_jobs"] == figures["keys_with_two_answers"] == 0
    assert figures["unanswered"] > 0, "no kill met a request: this proves little"
