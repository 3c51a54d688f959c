"""Pools for the tests of this folder, and arenas for its faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.harness.arena import Arena
from support.pool_fixtures import effects, shared, start_pool

__all__ = ["arena", "effects", "shared", "start_pool"]


@pytest.fixture
def arena(database_url: str, tmp_path: Path) -> Iterator[Arena]:
    """The test's database, and all that the fault starts on it."""
    with Arena(database_url, tmp_path) as arena:
        yield arena
