"""A commit whose wait for the standby was cancelled is neither success nor failure, and is said to be so.

The server is told of a synchronous standby that does not exist, so every commit that wrote waits for ever.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.database import Databases, open_connection
from support.server import Server
from support.waiting import until
from support.work import Meanwhile, add, claim, claim_one, count, new_job

from app.services import bulk
from app.services.jobs import Rules
from sql import jobs, leases, stats
from sql.connection import Connection
from sql.errors import Unavailable, UnknownCommit
from workerpool.kinds import registry


@pytest.fixture
def url(own_server: Server) -> Iterator[str]:
    databases = Databases(own_server.url)
    with databases.migrated() as url:
        yield url
    databases.close()


@pytest.fixture
def admin(url: str) -> Iterator[Connection]:
    opened = open_connection(url)
    yield opened
    set_standby(opened, "")
    opened.close()


@pytest.fixture
def writer(url: str) -> Iterator[Connection]:
    opened = open_connection(url)
    yield opened
    opened.close()


def set_standby(admin: Connection, name: str) -> None:
    """Commits wait for a standby of that name from now on; for none when it is empty."""
    admin.execute(f"alter system set synchronous_standby_names = '{name}'")
    admin.execute("select pg_reload_conf()")
    until(lambda: admin.fetch_one("show synchronous_standby_names") == (name,), message="the setting is read")


def waiting_write(admin: Connection, writer: Connection, write: Callable[[], Any]) -> Meanwhile:
    """The write, once it waits for the standby."""
    until(lambda: commits_wait(admin, writer), 20, "commits wait")
    writing = Meanwhile(writer, write)
    until(lambda: waits(admin, writing), 20, "the commit waits")
    return writing


def commits_wait(admin: Connection, writer: Connection) -> bool:
    """Whether the server's processes have all heard of the standby: a setting reaches one after the other."""
    probe = Meanwhile(writer, lambda: writer.execute("select pg_logical_emit_message(true, 'probe', '')"))
    until(lambda: probe.is_over() or waits(admin, probe), 20, "the probe waits or is over")
    if waits(admin, probe):
        cancel(admin, probe)
        with pytest.raises(UnknownCommit):
            probe.answer()
        return True
    probe.answer()
    return False


def waits(admin: Connection, writing: Meanwhile) -> bool:
    """Whether it waits for the standby now."""
    event = admin.fetch_one("select wait_event from pg_stat_activity where pid = %(pid)s", pid=writing.backend)
    return event == ("SyncRep",)


def cancel(admin: Connection, writing: Meanwhile) -> None:
    admin.execute("select pg_cancel_backend(%(pid)s)", pid=writing.backend)


def test_a_commit_whose_wait_was_cancelled_is_unknown_though_it_is_there(admin: Connection, writer: Connection) -> None:
    set_standby(admin, "nobody")
    writing = waiting_write(admin, writer, lambda: add(writer))
    cancel(admin, writing)
    with pytest.raises(UnknownCommit):
        writing.answer()
    assert count(admin, "jobs") == 1
    assert writer.usable


def test_a_bulk_whose_commit_is_unknown_is_not_stored_again(writer: Connection, admin: Connection) -> None:
    items = [{"kind": "external", "payload": 1, "idempotency_key": "k"}, {"kind": "external", "payload": 2}]
    set_standby(admin, "nobody")
    writing = waiting_write(admin, writer, lambda: bulk.enqueue(writer, Rules(registry.load(), 60), items))
    cancel(admin, writing)
    with pytest.raises(UnknownCommit):
        writing.answer()
    assert count(admin, "jobs") == 2


def test_so_is_the_commit_of_a_transaction(admin: Connection, writer: Connection) -> None:
    def enqueue_two() -> None:
        with writer.transaction():
            add(writer)
            add(writer)

    set_standby(admin, "nobody")
    writing = waiting_write(admin, writer, enqueue_two)
    cancel(admin, writing)
    with pytest.raises(UnknownCommit):
        writing.answer()
    assert count(admin, "jobs") == 2
    assert writer.usable


def test_the_replay_of_a_key_waits_like_the_first_request(admin: Connection, writer: Connection) -> None:
    keyed = [new_job(idempotency_key="k", request_hash="r")]
    (first,) = jobs.enqueue(writer, keyed)
    set_standby(admin, "nobody")
    replay = waiting_write(admin, writer, lambda: jobs.enqueue(writer, keyed))
    set_standby(admin, "")
    assert replay.answer() == [(first.id, False, True)]


def test_a_settle_sent_again_is_known_only_when_the_standby_has_the_first(
    admin: Connection, writer: Connection
) -> None:
    add(writer)
    lease = claim_one(writer)
    set_standby(admin, "nobody")
    settling = waiting_write(admin, writer, lambda: leases.ack(writer, None, [(lease, None)]))
    cancel(admin, settling)
    with pytest.raises(UnknownCommit):
        settling.answer()
    again = waiting_write(admin, writer, lambda: leases.settled_before(writer, [lease]))
    set_standby(admin, "")
    assert again.answer()[lease.id].state == "succeeded"


def test_what_writes_nothing_waits_for_nobody(admin: Connection, writer: Connection) -> None:
    set_standby(admin, "nobody")
    stats.ping(writer)
    assert claim(writer) == []
    assert stats.depths(writer) == []


def test_a_session_ended_in_its_wait_is_unavailable(admin: Connection, writer: Connection) -> None:
    set_standby(admin, "nobody")
    writing = waiting_write(admin, writer, lambda: add(writer))
    admin.execute("select pg_terminate_backend(%(pid)s)", pid=writing.backend)
    with pytest.raises(Unavailable):
        writing.answer()
    assert not writer.usable


def test_an_unknown_commit_does_not_spoil_the_next_answer(admin: Connection, writer: Connection) -> None:
    set_standby(admin, "nobody")
    writing = waiting_write(admin, writer, lambda: add(writer))
    cancel(admin, writing)
    with pytest.raises(UnknownCommit):
        writing.answer()
    set_standby(admin, "")
    add(writer)
    assert count(writer, "jobs") == 2
