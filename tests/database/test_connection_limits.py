"""A connection among very many descriptors, and one that hears more than anybody reads."""

import os
import resource
from collections.abc import Iterator

import pytest
from support.database import open_connection
from support.waiting import until

from sql import hints
from sql.connection import Connection

_SELECT_KNOWS = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As in a web process with a thousand clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * _SELECT_KNOWS)), hard))
    null = os.open(os.devnull, os.O_RDONLY)
    opened = [null]
    while opened[-1] < _SELECT_KNOWS:
        opened.append(os.dup(null))
    yield
    for descriptor in opened:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_connection_is_usable_beyond_the_descriptors_that_select_knows(
    database_url: str, connection: Connection
) -> None:
    late = open_connection(database_url)
    try:
        assert late.fileno() >= _SELECT_KNOWS
        assert late.usable
        row = late.fetch_one("select pg_backend_pid()")
        assert row is not None
        connection.execute("select pg_terminate_backend(%(pid)s)", pid=row[0])
        until(lambda: not late.usable, message="it sees that it was hung up")
    finally:
        late.close()


def test_what_nobody_reads_is_not_kept_for_ever(connection: Connection) -> None:
    hints.listen(connection)
    for _ in range(3):
        connection.execute("select pg_notify('windlass_ready', n::text) from generate_series(1, 700) as n")
    heard = connection.notifications()
    assert len(heard) == 1000
    assert heard[-1] == "700"
