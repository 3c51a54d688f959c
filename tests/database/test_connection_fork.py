"""A connection belongs to the process that opened it: a child can neither use it nor harm it."""

import subprocess
import sys

from support.migrations import ROOT

_BEGIN = """
import os
import sys
from sql.connection import connect
from sql.errors import ConnectionOfAnotherProcess

def exit_code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

conn = connect(sys.argv[1], application_name="parent")
backend = conn.fetch_one("select pg_backend_pid()")
"""

_END = """
assert conn.usable
assert conn.fetch_one("select pg_backend_pid()") == backend
conn.close()
print("unharmed")
"""

_USES_IT = """
uses = [
    lambda: conn.fetch_one("select 1"),
    lambda: conn.fetch_all("select 1"),
    lambda: conn.execute("select 1"),
    lambda: conn.transaction().__enter__(),
    lambda: conn.usable,
    conn.notifications,
]
child = os.fork()
if child == 0:
    refused = 0
    for use in uses:
        try:
            use()
        except ConnectionOfAnotherProcess:
            refused += 1
    sys.exit(refused)
assert exit_code(child) == len(uses)
"""

_CLOSES_IT = """
child = os.fork()
if child == 0:
    conn.close()
    sys.exit(0)
assert exit_code(child) == 0
"""

_LEAVES_ITS_TRANSACTION = """
try:
    with conn.transaction():
        conn.execute("insert into windlass.queues (name) values ('of the parent')")
        child = os.fork()
        if child == 0 and {raises}:
            sys.exit(7)
        if child:
            assert exit_code(child) == 7
except ConnectionOfAnotherProcess:
    assert child == 0
    sys.exit(7)
assert conn.fetch_all("select name from windlass.queues") == [("of the parent",)]
"""


def family(url: str, what: str) -> str:
    """What a process prints that opens a connection, lets a child do `what`, and goes on."""
    code = _BEGIN + what + _END
    ran = subprocess.run([sys.executable, "-c", code, url], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_child_is_refused_every_use_and_the_parent_goes_on(database_url: str) -> None:
    assert family(database_url, _USES_IT) == "unharmed\n"


def test_a_child_that_closes_it_or_ends_like_any_program_does_no_harm(database_url: str) -> None:
    assert family(database_url, _CLOSES_IT) == "unharmed\n"
    assert family(database_url, _CLOSES_IT.replace("conn.close()", "pass")) == "unharmed\n"


def test_a_child_that_reaches_the_end_of_its_parents_transaction_does_not_commit_it(database_url: str) -> None:
    assert family(database_url, _LEAVES_ITS_TRANSACTION.format(raises=False)) == "unharmed\n"


def test_a_child_that_leaves_its_parents_transaction_by_an_exception_does_not_roll_it_back(database_url: str) -> None:
    assert family(database_url, _LEAVES_ITS_TRANSACTION.format(raises=True)) == "unharmed\n"
