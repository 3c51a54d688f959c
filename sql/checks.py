"""What can be wrong with a database, as sentences: `windlass check` prints them and every test ends with them."""

from sql.connection import Connection
from sql.rows import SnapshotHolder
from sql.statements import load

_SQL = load("checks")
_OLDEST_SERVER = 150000
_DURABLE = {
    "fsync": "a power cut can destroy the database",
    "full_page_writes": "a power cut can destroy the database",
}
# As long as that nobody's statement takes, but a backup may, or a transaction somebody forgot.
_LONG_SECONDS = 60.0
_LONG_TRANSACTIONS = 100_000
_CURES = {
    "session": "end it, with pg_terminate_backend if need be",
    "standby": "end the long query there",
    "prepared transaction": "commit it or roll it back",
    "replication slot": "drop it if nobody will come back for it",
}


def states(conn: Connection) -> list[str]:
    """Every job that is not in exactly one state table, up to 100; empty when all is well."""
    return [row[0] for row in conn.fetch_all(_SQL["states"])]


def server(conn: Connection) -> list[str]:
    """What is unsafe about the server's version and settings."""
    settings = dict(conn.fetch_all(_SQL["server"]))
    problems = []
    if int(settings["server_version_num"]) < _OLDEST_SERVER:
        problems.append(f"PostgreSQL {settings['server_version_num']} is too old: 15 or newer is needed")
    if settings["server_encoding"] != "UTF8":
        problems.append(
            f"the database's encoding is {settings['server_encoding']}: text beyond it is refused; "
            "create the database with encoding UTF8"
        )
    for name, harm in _DURABLE.items():
        if settings[name] != "on":
            problems.append(f"{name} is {settings[name]}: {harm}; set it to on")
    if settings["synchronous_commit"] == "off":
        problems.append("synchronous_commit is off: a crash loses jobs that were accepted; set it to on")
    if settings["synchronous_commit"] == "local" and settings["synchronous_standby_names"]:
        problems.append(
            "synchronous_commit is local: commits do not wait for the standbys of synchronous_standby_names, and a"
            " failover loses jobs that were accepted; set it to on"
        )
    if settings["transaction_read_only"] == "on":
        problems.append("the server is read-only (a standby?): point DATABASE_URL at the primary")
    return problems


def snapshot_holders(conn: Connection) -> list[SnapshotHolder]:
    """Who keeps dead rows from being removed, whoever has done so longest first; ordinary short statements too."""
    return [SnapshotHolder(*row) for row in conn.fetch_all(_SQL["snapshots"])]


def snapshots(conn: Connection, *, seconds: float = _LONG_SECONDS, transactions: int = _LONG_TRANSACTIONS) -> list[str]:
    """Those of them who have done so for `seconds`, or where nobody may tell us since when, for `transactions`."""
    return [
        _sentence(holder)
        for holder in snapshot_holders(conn)
        if (holder.transactions >= transactions if holder.seconds is None else holder.seconds >= seconds)
    ]


def _sentence(holder: SnapshotHolder) -> str:
    age = f"{holder.transactions} transactions" if holder.seconds is None else f"{holder.seconds:.0f} s"
    # Names are other people's text: written so that they cannot pass for more of the sentence.
    who = {
        "session": f"session {holder.name} (application {holder.application!r}, user {holder.owner})",
        "standby": f"standby {holder.application!r} (session {holder.name})",
    }.get(holder.what, f"{holder.what} {holder.name!r}")
    return f"{who} has held a snapshot for {age}: dead rows cannot be removed; {_CURES[holder.what]}"
