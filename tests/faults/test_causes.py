"""A repeated effect is laid to the faults that can have repeated it, and to no others."""

import pytest
from faults.harness.causes import DEADLY, brought_by
from faults.harness.events import Event
from faults.harness.evidence import Evidence, Injected, Worker

DIED, LOST, RELEASED = "its worker died", "its worker was lost", "released by one told to leave"
ERRORS = {
    DIED: "worker 7 (pid 4711) killed by signal 9 while running this job",
    LOST: "worker lost",
}


def faults_of(cause: str, *faults: Injected, deadly: bool = False, ended_at: float = 102.0) -> set[str]:
    """Of an effect that began at 100 in process 4711 of pool 1, last heard of at 99.5, under a lease that ended at
    `ended_at`.
    """
    steps = ((True, 99.9), (False, ended_at))
    events = [Event("job", "running", entered, 1, 1, 7, None, at, at, 0.0, "s") for entered, at in steps]
    evidence = Evidence(
        ledger={},
        redriven=[],
        events={"job": events},
        effects=[],
        said=[],
        rows=[],
        errors={("job", 1): ERRORS[cause]} if cause in ERRORS else {},
        workers={7: Worker(4711, "1", 99.5)},
        faults=faults,
        deadly={"job"} if deadly else set(),
        pauses=[],
        healed_at=0.0,
        lease_seconds=0.5,
    )
    return set(brought_by(evidence, "job", 1, 100.0, cause))


def fault(name: str, began: float, ended: float, whom: str = "somebody") -> Injected:
    return Injected(name, whom, began, ended)


def test_the_one_whose_pid_the_record_names_is_alone() -> None:
    others = fault("kill_supervisor", 100.5, 101.0), fault("kill_worker", 101.5, 101.5, "pid 4712 of pool 1")
    assert faults_of(DIED, *others, fault("kill_worker", 101.0, 101.0, "pid 4711 of pool 1")) == {"kill_worker"}
    assert faults_of(DIED, *others) == {"kill_supervisor"}


def test_what_was_done_to_another_pool_or_another_worker_explains_nothing() -> None:
    for cause in (DIED, LOST, RELEASED):
        assert faults_of(cause, fault("drain_pool", 100.5, 101.0, "pool 0")) == set()
        assert faults_of(cause, fault("drain_pool", 100.5, 101.0, "pool 1")) == {"drain_pool"}
    assert faults_of(LOST, fault("freeze_links", 99.6, 103.0, "2 connections, pool 0")) == set()
    assert faults_of(LOST, fault("stop_worker", 100.1, 104.0, "pid 4712 of pool 1 for 3.9 s")) == set()
    assert faults_of(LOST, fault("stop_worker", 100.1, 104.0, "pid 4711 of pool 1 for 3.9 s")) == {"stop_worker"}


def test_what_hit_the_pool_itself_goes_before_what_hit_everybody() -> None:
    everybody = fault("restart_server", 99.6, 103.0, "server"), fault("busy_cores", 99.0, 104.0, "2 cores for 5 s")
    assert faults_of(LOST, *everybody, fault("stop_whole_pool", 100.1, 104.0, "pool 1 for 3.9 s")) == {
        "stop_whole_pool"
    }
    # A steward that is killed is followed by another at once.
    assert faults_of(LOST, *everybody, fault("kill_steward", 99.7, 99.7, "pool 1")) == {
        "restart_server",
        "busy_cores",
        "kill_steward",
    }


def test_of_those_that_hit_everybody_the_ones_that_kept_the_first_beat_go_before_later_ones() -> None:
    first, later = fault("lock_table", 99.0, 100.4, "workers"), fault("restart_server", 101.6, 102.0, "server")
    assert faults_of(LOST, first, later) == {"lock_table"}
    assert faults_of(LOST, later) == {"restart_server"}


def test_so_of_those_that_hit_the_pool() -> None:
    first, later = fault("kill_whole_pool", 99.8, 99.9, "pool 1"), fault("drain_pool", 101.8, 101.9, "pool 1")
    assert faults_of(LOST, first, later) == {"kill_whole_pool"}
    assert faults_of(LOST, later) == {"drain_pool"}


def test_all_that_can_have_done_it_are_named_where_nobody_can_tell() -> None:
    assert faults_of(LOST, fault("lock_table", 100.2, 103.0), fault("restart_server", 100.1, 104.0)) == {
        "lock_table",
        "restart_server",
    }


@pytest.mark.parametrize("cause", [DIED, LOST, RELEASED])
@pytest.mark.parametrize("name", ["pause_queue", "hold_snapshot", "stop_holder", "kill_web_worker"])
def test_what_cannot_have_done_it_explains_nothing(cause: str, name: str) -> None:
    assert faults_of(cause, fault(name, 100.5, 101.5)) == set()


@pytest.mark.parametrize(("began", "ended"), [(50.0, 60.0), (103.0, 104.0)])
def test_what_went_on_at_another_time_explains_nothing(began: float, ended: float) -> None:
    assert faults_of(LOST, fault("stop_worker", began, ended)) == set()
    assert faults_of(DIED, fault("kill_supervisor", began, ended)) == set()


def test_a_fault_long_over_when_the_lease_ended_explains_nothing() -> None:
    assert faults_of(LOST, fault("stop_worker", 99.0, 100.1), ended_at=140.0) == set()


def test_a_job_that_kills_its_worker_explains_that_it_died_and_nothing_else() -> None:
    assert faults_of(DIED, deadly=True) == {DEADLY}
    assert faults_of(LOST, deadly=True) == set()
    assert faults_of("unknown", fault("kill_worker", 100.5, 101.5), deadly=True) == set()
