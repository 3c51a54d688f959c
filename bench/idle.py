"""What does an idle pool cost? `python -m bench.idle --workers 8 --seconds 60`

Statements of all its processes as the server counts them (`pg_stat_statements`; on a server that has none, of
DATABASE_URL, transactions of the database), and the processor time of all its processes, supervisor and steward too.
"""

import os
import time

import psycopg2

from bench import database, processes, report
from bench.pool import Pool

_EXTENSION = "pg_stat_statements"
_STATEMENTS = """
select regexp_replace(left(query, 70), '\\s+', ' ', 'g'), calls from pg_stat_statements
where dbid = (select oid from pg_database where datname = %s)
"""
_TRANSACTIONS = "select 'transactions', xact_commit + xact_rollback from pg_stat_database where datname = %s"


class Statements:
    """Counts what is said in another database; itself it speaks in the maintenance database."""

    def __init__(self, server: database.Server, url: str) -> None:
        self._conn = psycopg2.connect(server.url)
        self._conn.autocommit = True
        self._database = psycopg2.extensions.parse_dsn(url)["dbname"]
        self._cursor = self._conn.cursor()
        self._cursor.execute("show shared_preload_libraries")
        preloaded = str((self._cursor.fetchone() or ("",))[0])
        self.source = _EXTENSION if _EXTENSION in preloaded else "pg_stat_database"
        if self.source == _EXTENSION:
            self._cursor.execute(f"create extension if not exists {_EXTENSION}")

    def counts(self) -> dict[str, int]:
        """So far, by what was said."""
        self._cursor.execute(_STATEMENTS if self.source == _EXTENSION else _TRANSACTIONS, (self._database,))
        found: dict[str, int] = {}
        for text, calls in self._cursor.fetchall():
            found[text] = found.get(text, 0) + calls
        return found

    def close(self) -> None:
        """Ends its session."""
        self._conn.close()


def measure(server: database.Server, workers: int, settle: float, seconds: float, found: report.Report) -> None:
    """One round."""
    with server.fresh() as url, Pool(url, workers) as pool:
        pool.wait_until_ready()
        statements = Statements(server, url)
        processes.rest(settle)
        said, used, began = statements.counts(), pool.cpu_seconds(), time.monotonic()
        processes.rest(seconds)
        now, used, lasted = statements.counts(), pool.cpu_seconds() - used, time.monotonic() - began
        statements.close()
    grown = {text: count - said.get(text, 0) for text, count in now.items() if count > said.get(text, 0)}
    numbers = {"statements/s": sum(grown.values()) / lasted, "% of a core": 100 * used / lasted}
    found.add({"workers": workers, "counted by": statements.source}, numbers)
    for text, count in sorted(grown.items(), key=lambda item: -item[1]):
        found.add({"statement": f"`{text.replace('|', ' ')}`"}, {"a second": count / lasted}, "which")


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, rounds=(1, 1), workers=(8, 2), settle=(5.0, 0.2), seconds=(60.0, 1.0))
    found = report.Report("idle", asked)
    preload = "" if os.environ.get("DATABASE_URL") else _EXTENSION
    with database.server(asked.bin_dir, preload=preload) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            measure(server, asked.workers, asked.settle, asked.seconds, found)
    found.finish()


if __name__ == "__main__":
    main()
