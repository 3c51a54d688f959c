"""`windlass migrate`, run again when it fails, as a platform's release phase is."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from faults.harness.stage import Stage
from support.migrations import NEXT, SHIPPED, Folder

from sql.errors import Unavailable
from sql.migrate import MIGRATIONS, check_supported, migrate, status

_TRIES = 4
_MADE = "select to_regclass('windlass.made') is not null, to_regclass('windlass.made_n') is not null"


def _migrate(stage: Stage, folder: Path) -> None:
    for _ in range(_TRIES):
        try:
            migrate(stage.url, lambda _: None, folder)
            return
        except Unavailable:
            continue
    raise AssertionError(f"{_TRIES} runs failed")


def _check(stage: Stage, folder: Path, count: int) -> None:
    found = status(stage.admin, folder)
    assert (found.pending, found.problems) == ([], [])
    assert [row.version for row in found.applied] == list(range(1, count + 1))
    check_supported(stage.admin)


def migrate_one_step(stage: Stage) -> Iterator[None]:
    """Two files more than are applied: one in a transaction, one outside."""
    _undo(stage)
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place) / "migrations")
        folder.add("made", "create table windlass.made (n integer);\ninsert into windlass.made values (1);")
        folder.add(
            "indexed",
            "-- outside a transaction\ndrop index concurrently if exists windlass.made_n;\n"
            "-- next\ncreate index concurrently made_n on windlass.made (n);",
        )
        yield
        _migrate(stage, folder.path)
        yield
        _check(stage, folder.path, NEXT + 1)
    assert stage.admin.fetch_one(_MADE) == (True, True)
    assert stage.admin.fetch_all("select n from windlass.made") == [(1,)]
    valid = "select indisvalid from pg_index where indexrelid = 'windlass.made_n'::regclass"
    assert stage.admin.fetch_one(valid) == (True,)
    _undo(stage)


def _undo(stage: Stage) -> None:
    stage.admin.execute("drop table if exists windlass.made")
    stage.admin.execute("delete from windlass.schema_migrations where version >= %(next)s", next=NEXT)


def migrate_from_nothing(stage: Stage) -> Iterator[None]:
    """All that ships, on an empty database."""
    stage.admin.execute("drop schema if exists windlass cascade")
    yield
    _migrate(stage, MIGRATIONS)
    yield
    _check(stage, MIGRATIONS, len(SHIPPED))
    (job_id,) = stage.add()
    assert stage.facts(job_id) == [("queued", 0, None)]


OPERATIONS = {
    "migrate": migrate_one_step,
    "migrate from nothing": migrate_from_nothing,
}
