"""Databases for tests: a template migrated once, cloned per test, so that every test begins with an empty schema."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql as names

from sql.connection import Connection, connect
from sql.migrate import migrate
from support import least_privilege

_URL = re.compile(r"(postgres(?:ql)?://[^/?]*)(?:/[^?]*)?(\?.*)?")


# What connections behind a pooler cannot ask for at their start, as sql/roles.sql has it for a role.
_LIMITS = """
alter database {0} set statement_timeout = '5s';
alter database {0} set lock_timeout = '5s';
alter database {0} set idle_in_transaction_session_timeout = '20s';
alter database {0} set jit = off
"""


class Databases:
    """Makes and drops databases on the server at `url`, whose user may create databases.

    `through` is the URL by which those with a schema are to be reached, of a pooler or of another role; `owner` that of
    the role to which the schema belongs, where others have but the rights that `sql/roles.sql` gives them.
    """

    def __init__(self, url: str, through: str | None = None, owner: str | None = None) -> None:
        assert _URL.fullmatch(url), "the server must be given as a postgresql:// URL"
        self._url, self._through, self._owner = url, through, owner
        self._admin = psycopg2.connect(url)
        self._admin.autocommit = True
        self._template = ""

    @property
    def version(self) -> str:
        """As the server says it."""
        return str(self._admin.get_parameter_status("server_version"))

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a fresh database with the schema of this code."""
        if not self._template:
            self._template = self._create()
            self._migrate(self._template)
        name = self._create(self._template)
        try:
            if self._through and not self._owner:
                self._run(_LIMITS, name)
            yield self.url_of(name, self._through)
        finally:
            self._drop(name)

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a fresh database with nothing in it."""
        name = self._create()
        try:
            yield self.url_of(name)
        finally:
            self._drop(name)

    def url_of(self, name: str, through: str | None = None) -> str:
        """The server's URL, or a pooler's, with another database."""
        parts = _URL.fullmatch(through or self._url)
        assert parts is not None
        return f"{parts[1]}/{name}{parts[2] or ''}"

    def own(self, url: str) -> str:
        """The same database, with the rights that a test itself may need there."""
        return url if self._owner is None else self.url_of(urlsplit(url).path[1:])

    def close(self) -> None:
        """Drops the template and the connection."""
        if self._template:
            self._drop(self._template)
        self._admin.close()

    def _migrate(self, name: str) -> None:
        if self._owner is not None:
            least_privilege.grant(self._url, self.url_of(name))
        migrate(self.url_of(name, self._owner), log=lambda _: None)
        if self._owner is not None:
            least_privilege.grant(self._url, self.url_of(name))

    def _create(self, template: str = "template0") -> str:
        name = f"windlass_test_{secrets.token_hex(6)}"
        # Page by page through the WAL, as is the default, takes twice as long.
        self._run("create database {} template {} strategy file_copy", name, template)
        return name

    def _drop(self, name: str) -> None:
        self._run("drop database {} with (force)", name)

    def _run(self, command: str, *identifiers: str) -> None:
        with self._admin.cursor() as cursor:
            cursor.execute(names.SQL(command).format(*map(names.Identifier, identifiers)))


def open_connection(url: str) -> Connection:
    """A connection as the services open theirs. The caller closes it."""
    return connect(url, application_name="windlass tests")
