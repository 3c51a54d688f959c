"""What a claim leaves alone: rows in other hands, paused queues, and every number it has given out before."""

from collections.abc import Callable, Sequence

import pytest
from support.database import open_connection
from support.work import (
    KIND,
    add,
    add_many,
    at_once,
    claim,
    claim_one,
    everything,
    from_start,
    inside,
    lease_of,
    lose,
    register,
)

from sql import leases
from sql.connection import Connection
from sql.errors import Rejected
from sql.leases import Failure
from sql.rows import Claimed

Opener = Callable[[], Connection]


def take(conn: Connection, limit: int, *streams: tuple[str, int]) -> list[Claimed]:
    """A claim of an HTTP lease from the start of these streams."""
    return leases.claim(
        conn, queue="default", picks=from_start(*(streams or [(KIND, 0)])), limit=limit, lease_ms=60_000
    )


def pause(conn: Connection, queue: str = "default") -> None:
    conn.execute("insert into windlass.queues (name, paused_at) values (%(queue)s, now())", queue=queue)


def test_two_workers_at_the_same_time_get_different_jobs(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    for _ in range(20):
        given = set(add_many(connection, 2))
        one, two = at_once(lambda: claim(connection), lambda: claim(other))
        assert {one[0].id, two[0].id} == given


def test_many_claimers_share_a_queue_without_a_job_in_two_hands(connection: Connection, open_another: Opener) -> None:
    given = add_many(connection, 2000)
    claimers = [open_another() for _ in range(6)]

    def drain(conn: Connection) -> list[Claimed]:
        mine: list[Claimed] = []
        while claimed := take(conn, 17):
            mine += claimed
        return mine

    claimed = [job for share in at_once(*[lambda conn=conn: drain(conn) for conn in claimers]) for job in share]
    # A claimer that met only locked rows left early, but what was locked was somebody's.
    assert sorted(job.id for job in claimed) == sorted(given)
    assert len({job.fence for job in claimed}) == len(claimed)


def test_a_row_in_other_hands_is_passed_over_at_once(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    first, second, third = sorted(add_many(connection, 3))
    with connection.transaction():
        assert [job.id for job in take(connection, 1)] == [first]
        assert [job.id for job in take(other, 1)] == [second]
        assert [job.id for job in take(other, 5)] == [third]
        assert take(other, 1) == []


def test_a_claim_that_was_rolled_back_leaves_its_jobs_to_others(connection: Connection, open_another: Opener) -> None:
    other, job_id = open_another(), add(connection)

    def claim_and_fail() -> None:
        with connection.transaction():
            fences.append(int(take(connection, 1)[0].fence))
            raise ZeroDivisionError

    fences: list[int] = []
    with pytest.raises(ZeroDivisionError):
        claim_and_fail()
    (claimed,) = take(other, 1)
    assert (claimed.id, claimed.attempt) == (job_id, 1)
    assert claimed.fence > fences[0]


def test_a_claim_locks_only_what_it_returns(any_connection: Connection, any_url: str) -> None:
    conn = any_connection
    for priority in (3, 2, 1):
        add_many(conn, 40, priority=priority)
    streams = [(KIND, 3), (KIND, 2), (KIND, 1)]
    with conn.transaction():
        assert len(take(conn, 50, *streams)) == 50
        left = "select count(*) from (select from windlass.ready for update skip locked) as free"
        with_other = open_connection(any_url)
        try:
            assert with_other.fetch_one(left) == (70,)
            assert len(take(with_other, 100, *streams)) == 70
        finally:
            with_other.close()


def test_a_paused_queue_hands_out_nothing_and_others_go_on(connection: Connection) -> None:
    pause(connection)
    job_id, other_id = add(connection), add(connection, queue="other")
    assert leases.streams(connection, "default", [KIND]) == []
    assert take(connection, 1) == []
    assert claim_one(connection, queue="other").id == other_id
    connection.execute("update windlass.queues set paused_at = null")
    assert claim_one(connection).id == job_id


def test_a_queue_paused_after_its_streams_were_learnt_hands_out_nothing(connection: Connection) -> None:
    add(connection)
    assert leases.streams(connection, "default", [KIND]) != []
    pause(connection)
    assert take(connection, 1) == []


def test_pausing_leaves_running_jobs_to_be_settled(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection)
    pause(connection)
    assert leases.ack(connection, None, [(lease, None)]) == {lease.id}


def test_a_claim_is_for_a_worker_or_an_http_holder_and_never_both_or_neither(connection: Connection) -> None:
    worker = register(connection)
    add(connection)
    before = everything(connection)
    for terms in ({}, {"worker_id": worker, "lease_ms": 1000}):
        with pytest.raises(Rejected) as refused:
            leases.claim(connection, queue="default", picks=from_start((KIND, 0)), limit=1, **terms)
        assert refused.value.constraint == "one_kind_of_lease"
    assert everything(connection) == before


def test_a_workers_lease_has_no_end_of_its_own_and_an_http_lease_has(connection: Connection) -> None:
    worker = register(connection)
    add_many(connection, 2)
    pool, http = claim_one(connection, worker), claim_one(connection, lease_ms=90_000)
    assert inside(connection, pool.id)[1:] == (worker, None)
    assert inside(connection, http.id).worker_id is None
    left = "select extract(epoch from lease_expires_at - started_at) from windlass.running where id = %(id)s"
    assert connection.fetch_one(left, id=http.id) == (90,)


def test_fences_only_grow_and_never_repeat(connection: Connection, open_another: Opener) -> None:
    other, worker = open_another(), register(connection)
    (job_id,) = add_many(connection, 1)
    fences = [claim_one(connection, worker).fence]
    leases.release(connection, worker, [leases.Lease(job_id, fences[-1])])
    fences.append(claim_one(other).fence)
    leases.fail(other, None, [Failure(leases.Lease(job_id, fences[-1]), "boom")])
    fences.append(claim_one(connection, worker).fence)
    lose(connection, worker)
    assert leases.rescue(connection, workers_too=True) == {job_id: "retrying"}
    add_many(connection, 10)
    fences += [claimed.fence for conn in (connection, other) * 5 for claimed in claim(conn)]
    assert fences == sorted(set(fences))
    assert len(fences) == 13


def test_no_session_keeps_fences_in_store(connection: Connection) -> None:
    # With a cache a later claim could get the smaller number.
    cached = "select seqcache, seqincrement, seqcycle from pg_sequence where seqrelid = 'windlass.fence'::regclass"
    assert connection.fetch_one(cached) == (1, 1, False)


def whole_tables_read(conn: Connection) -> int:
    """How often this transaction has read a table from end to end so far."""
    row = conn.fetch_one(
        "select sum(pg_stat_get_xact_numscans(c.oid))::int from pg_class as c"
        " where c.oid = any(array['windlass.ready', 'windlass.running', 'windlass.jobs']::regclass[])"
    )
    assert row is not None
    return int(row[0] or 0)


def turn(conn: Connection, worker: int, held: Sequence[Claimed], limit: int) -> list[Claimed]:
    """Acks what is held and claims the next."""
    settles = [(lease_of(job), None) for job in held]
    picks = from_start((KIND, 0))
    acked, claimed = leases.ack_and_claim(conn, settles, queue="default", picks=picks, limit=limit, worker_id=worker)
    assert acked == len(held)
    return claimed


def test_a_claim_and_a_settle_read_no_more_of_their_tables_than_they_take(connection: Connection) -> None:
    worker = register(connection)
    add_many(connection, 8000)
    for _ in range(8):
        claim(connection, worker, limit=500)
    connection.execute("analyze windlass.ready, windlass.jobs, windlass.running")
    with connection.transaction():
        before = whole_tables_read(connection)
        held = claim(connection, worker, limit=100)
        turn(connection, worker, held, 100)
        assert whole_tables_read(connection) == before


def entries_read(conn: Connection) -> list[int]:
    """Entries of the indexes that this transaction has read so far."""
    rows = conn.fetch_all(
        "select pg_stat_get_xact_tuples_returned(indexrelid) from pg_index"
        " where indrelid = any(array['windlass.ready', 'windlass.running', 'windlass.jobs']::regclass[])"
        " order by indexrelid"
    )
    return [int(row[0]) for row in rows]


@pytest.mark.parametrize("met", [0, 10, 300, 6000])
def test_what_a_session_first_met_does_not_decide_how_much_it_reads_later(
    connection: Connection, open_another: Opener, met: int
) -> None:
    worker, other = register(connection), open_another()
    add_many(other, met)
    connection.execute("vacuum (analyze) windlass.ready, windlass.jobs, windlass.running")
    # What is planned now is kept.
    leases.ack(connection, worker, [(lease_of(job), None) for job in turn(connection, worker, [], 1)])
    add_many(other, 6000)
    held = claim(other, worker, limit=500)
    with connection.transaction():
        before, entries = whole_tables_read(connection), entries_read(connection)
        turn(connection, worker, held[:100], 100)
        leases.ack(connection, worker, [(lease_of(job), None) for job in held[100:]])
        assert whole_tables_read(connection) == before
        # 500 settled; 100 claimed and read, and before them all that were claimed, as no cursor was given.
        assert sum(entries_read(connection)) - sum(entries) <= 500 + 2 * 100 + 501
