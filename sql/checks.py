"""What can be wrong with a database, as sentences: `windlass check` prints them and every test ends with them."""

from sql.connection import Connection
from sql.statements import load

_SQL = load("checks")
_OLDEST_SERVER = 150000
_DURABLE = {
    "fsync": "a power cut can destroy the database",
    "full_page_writes": "a power cut can destroy the database",
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
    if settings["transaction_read_only"] == "on":
        problems.append("the server is read-only (a standby?): point DATABASE_URL at the primary")
    return problems
