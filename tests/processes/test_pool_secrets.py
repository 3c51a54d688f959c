"""What a pool writes where people and scrapers read it: never a secret, a payload, a result or an error's text."""

import re

from support.database import open_connection
from support.pool_fixtures import StartPool
from support.tables import drained, look, put_one
from support.waiting import until

from sql.connection import Connection

CANARY = "canary-7f3b"
REFUSED = f"{CANARY} refused"

# The driver's error then quotes the row.
REFUSE = f"""
alter table windlass.done add constraint refuses check (result::text not like '%{REFUSED}%');
alter table windlass.failures add constraint refuses check (error not like '%{REFUSED}%');
"""
HANG_UP = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name ~ '^windlass (steward|worker)'
"""


def with_secrets(url: str) -> str:
    """The same URL with a password where the server asks for none, and with one for a client key it does not have."""
    if not re.match(r"\w+://[^/@]*:[^/@]*@", url):
        url = re.sub(r"^(\w+://[^/@]+)@", rf"\1:{CANARY}@", url)
    return f"{url}{'&' if '?' in url else '?'}sslpassword={CANARY}"


def test_no_secret_payload_result_or_error_text_reaches_log_or_metrics(
    start_pool: StartPool, connection: Connection, database_url: str
) -> None:
    url = with_secrets(database_url)
    open_connection(url).close()
    connection.execute(REFUSE)
    pool = start_pool(database_url=url, log_level="debug").ready()
    text = {"text": CANARY}
    refused = put_one(connection, "note", {"result": REFUSED})
    failed = put_one(connection, "throw", {"what": "ValueError", **text}, max_attempts=1)
    put_one(connection, "note", {"result": text})
    put_one(connection, "give", {"what": "a set", **text})
    put_one(connection, "throw", {"what": "ValueError", "text": REFUSED}, max_attempts=1)
    put_one(connection, "throw", {"what": "SystemExit", **text}, max_attempts=1)
    put_one(connection, "summarize_text", {"text": 5, CANARY: CANARY})
    put_one(connection, "touchy", text, max_attempts=1)
    put_one(connection, "die", {"how": "abort", **text}, max_attempts=1)
    put_one(connection, "stick", {"how": "swallows everything", **text}, max_attempts=1, timeout=1)
    drained(connection)
    assert CANARY in (look(connection, failed).last_error or ""), "people who may read the job see it there"
    assert look(connection, refused).last_error == "the result cannot be stored: the database refuses a value (23514)"
    connection.execute(HANG_UP)
    until(lambda: pool.stewards() > 1, message="the steward is back")
    page = pool.page()
    assert pool.stop() == 0
    assert "Traceback" in pool.log, "nothing of ours failed, so nothing was proved"
    assert CANARY not in pool.log
    assert CANARY not in page


def test_what_it_says_of_an_unreachable_database_holds_no_password(start_pool: StartPool, database_url: str) -> None:
    assert database_url
    pool = start_pool(database_url=with_secrets("postgresql://nobody@127.0.0.1:1/nothing"), log_level="debug")
    until(lambda: pool.said("waiting for the database"))
    assert pool.stop() == 0
    assert CANARY not in pool.log
