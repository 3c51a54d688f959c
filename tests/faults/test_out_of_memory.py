"""A handler that outgrows the memory there is."""

from collections.abc import Iterator

import pytest
from support.effects import Effects
from support.memory_group import MemoryGroup
from support.pool_fixtures import StartPool
from support.tables import ended, put_one

from sql.connection import Connection

pytestmark = pytest.mark.needs_memory_group


@pytest.fixture
def small_memory() -> Iterator[MemoryGroup]:
    """100 MB."""
    group = MemoryGroup(100 * 2**20)
    yield group
    group.remove()


def test_a_job_killed_for_its_memory_runs_again_and_the_exit_says_so(
    small_memory: MemoryGroup, start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool().ready()
    for pid in pool.workers():
        small_memory.put(pid)
    job_id = put_one(connection, "die", {"how": "out of memory", "times": 1})
    job = ended(connection, job_id)
    first, second = effects.all("began", [job_id])
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert f"(pid {first.pid}) killed by signal 9 (SIGKILL; possibly out of memory)" in (job.last_error or "")
    assert second.pid != first.pid
    pool.ready()
    assert pool.metric("worker_restarts_total", cause="crashed") == 1


def test_a_job_that_never_fits_is_dead_after_max_attempts(
    small_memory: MemoryGroup, start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool().ready()
    # The workers it starts from now on are in the group as well.
    for pid in pool.everyone():
        small_memory.put(pid)
    job_id = put_one(connection, "die", {"how": "out of memory"}, max_attempts=3)
    neighbour = put_one(connection, "note")
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("failed_permanent", 3)
    assert len(effects.all("began", [job_id])) == 3
    assert ended(connection, neighbour).attempts == 1
    pool.ready()
