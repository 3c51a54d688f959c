"""`TEST_LEAST_PRIVILEGE=1`: the programs under test, and all that `tests/database` calls, connect as the role that
`sql/roles.sql` makes for the service, over TLS whose certificate is verified. What tests of programs do to a database
themselves they do as its superuser. LEFT_OUT names what cannot be so; tests that start a server of their own are as
ever. Beyond the script the role may make tables in the schema public, as tests do for an application beside it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import trustme

from sql.embedded import EmbeddedServer
from sql.migrate import MIGRATIONS
from support.ports import free_port
from support.programs import path_of

SERVICE, OWNER = "windlass_service", "windlass_owner"
# Of test ids their beginnings, each with why.
_PROXY = "a proxy that reads what passes, or has no name that a certificate could be for"
_OWNER = "what only the owner writes"
_SOCKET = "a server of ours that listens on a socket"
LEFT_OUT = {
    **{
        f"contract/test_statements.py::test_every_statement_can_be_planned_on_the_migrated_schema[{name}]": _OWNER
        for name in ("tokens.add_token", "tokens.revoke_token", "migrate.record")
    },
    "database/test_constraints.py::test_what_": _OWNER,
    "database/test_overdue.py::": _PROXY,
    "faults/test_every_message.py::": _PROXY,
    "faults/test_leaving.py::test_a_claim_that_a_worker_leaves_in_the_middle": _PROXY,
    "faults/test_links.py::": _PROXY,
    "faults/test_model.py::test_a_defect_planted_in_a_statement": _OWNER,
    "faults/test_pool_behind_a_proxy.py::": _PROXY,
    "faults/test_proxy.py::": _PROXY,
    "http/test_long_poll.py::test_behind_a_pooler": _PROXY,
    "http/test_outage.py::test_a_database_that_freezes": _SOCKET,
    "processes/test_bench_smoke.py::test_a_bench_works_and_keeps_what_it_found[every_message]": _PROXY,
    "processes/test_bench_smoke.py::test_a_pool_that_ends_by_itself": _OWNER,
    "processes/test_pool_pgbouncer.py::test_behind": _PROXY,
    "processes/test_token_command.py::": _OWNER,
}
_PASSWORD = "of-these-tests"
_LOCK = 20_261_128


def asked_for() -> bool:
    """Whether the tests of this run are to do with so little."""
    return os.environ.get("TEST_LEAST_PRIVILEGE") == "1"


def as_role(url: str, role: str) -> str:
    """The same address for one of the roles."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{_PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


def tls_bin_dir() -> Path:
    """Debian's programs: those of the wheel were built without TLS."""
    return path_of("needs_postgres15").parent


@contextmanager
def verified_server(folder: Path, bin_dir: str | None) -> Iterator[str]:
    """The superuser's URL of a server that takes nobody in over TCP but with TLS; its roles are there.

    `bin_dir`: other programs than `tls_bin_dir`.
    """
    bin_dir = bin_dir or str(tls_bin_dir())
    server = EmbeddedServer(folder / "postgresql", bin_dir=bin_dir, tcp_port=free_port(), smart_seconds=2)
    server.start()
    try:
        authority = _certify(server, folder)
        url = f"{server.tcp_url}?sslmode=verify-full&sslrootcert={authority}"
        with _session(url) as cursor:
            cursor.execute(_roles())
            for role in (SERVICE, OWNER):
                cursor.execute(f"alter role {role} password '{_PASSWORD}'")
            # They are for the databases of the tests, not for this one.
            cursor.execute("drop schema windlass cascade")
        yield url
    finally:
        server.stop()
        shutil.rmtree(server.home)


def grant(admin_url: str, url: str) -> None:
    """Runs the script in the database at `url`, one at a time: it changes roles, which belong to all databases."""
    with _session(admin_url) as lock, _session(url) as cursor:
        lock.execute("select pg_advisory_lock(%s)", [_LOCK])
        cursor.execute(_roles())
        # Tests make tables that stand for those of an application in the same database.
        cursor.execute(f"grant create on schema public to {SERVICE}")
        cursor.execute(f"alter default privileges in schema public grant all on tables to {SERVICE}")


def _roles() -> str:
    # The first line is psql's.
    return (MIGRATIONS.parent / "roles.sql").read_text().replace("\\set ON_ERROR_STOP on\n", "")


@contextmanager
def _session(url: str) -> Iterator["psycopg2.extensions.cursor"]:
    conn = psycopg2.connect(url)
    conn.autocommit = True
    try:
        with conn.cursor() as cursor:
            yield cursor
    finally:
        conn.close()


def _certify(server: EmbeddedServer, folder: Path) -> Path:
    """Gives the server a certificate, and answers with the file of who vouches for it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    owner = server.home.stat()
    for name, blob in (("key", certificate.private_key_pem), ("crt", certificate.cert_chain_pems[0])):
        path = server.home / f"server.{name}"
        blob.write_to_path(str(path))
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
    hba = server.home / "pg_hba.conf"
    hba.write_text(hba.read_text().replace("\nhost ", "\nhostssl "))
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with _session(server.url) as cursor:
        cursor.execute(f"alter system set ssl_cert_file = '{server.home}/server.crt'")
        cursor.execute(f"alter system set ssl_key_file = '{server.home}/server.key'")
        cursor.execute("alter system set ssl = on")
        cursor.execute("select pg_reload_conf()")
    return trusted
