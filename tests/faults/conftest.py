"""Pools for the tests of this folder, arenas for its faults, and places for servers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.harness.arena import Arena
from support.pool_fixtures import effects, shared, start_pool
from support.server import reachable_folder

__all__ = ["arena", "effects", "folder", "module_folder", "shared", "start_pool"]


@pytest.fixture
def arena(database_url: str, own_url: str, tmp_path: Path) -> Iterator[Arena]:
    """The test's database, and all that the fault starts on it."""
    with Arena(database_url, tmp_path, own_url) as arena:
        yield arena


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One that a server's account can go through; the ends of the logs in it are shown."""
    with _made(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As `folder`, for all tests of a module."""
    with _made(tmp_path_factory.mktemp("shared")) as folder:
        yield folder


@contextmanager
def _made(kept: Path) -> Iterator[Path]:
    made = reachable_folder()
    yield made
    for log in sorted([*made.glob("*/server.log"), *made.glob("web*/web.log")]):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        print(f"--- end of {log.parent.name}/{log.name} ---\n{tail}")
    # It goes with pytest's folders, which keep what a failed test left.
    shutil.move(made, kept)
