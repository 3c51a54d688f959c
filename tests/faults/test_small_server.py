"""The disk is full or the connections are taken: 503, nothing lost, and all goes on as soon as there is room again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.harness import small_server
from faults.harness.clients import sound
from faults.harness.service import Service
from faults.harness.small_server import Disks

pytestmark = pytest.mark.needs_mounts


@pytest.fixture(scope="module")
def service_and_disks(module_folder: Path) -> Iterator[tuple[Service, Disks]]:
    """One for all: each test leaves it as it was, and the verdict is over all that was ever enqueued."""
    with small_server.on_a_small_server(module_folder, rounds=1) as made:
        yield made


def test_a_full_disk_under_the_data_is_waited_out(service_and_disks: tuple[Service, Disks]) -> None:
    figures = sound(small_server.data(*service_and_disks, rounds=1))
    print(figures)
    assert figures["unavailable"] > 0
    assert figures["accepted_again_seconds_most"] < 5


def test_a_full_disk_under_the_wal_is_waited_out(service_and_disks: tuple[Service, Disks]) -> None:
    figures = sound(small_server.wal(*service_and_disks, rounds=1))
    print(figures)
    assert figures["panics"] > 0
    assert figures["unavailable"] > 0
    assert figures["accepted_again_seconds_most"] < 5


def test_taken_connections_are_503_and_recovery_is_a_matter_of_seconds(
    service_and_disks: tuple[Service, Disks],
) -> None:
    figures = sound(small_server.connections(service_and_disks[0], rounds=1))
    print(figures)
    assert figures["unavailable"] > 0
    assert figures["accepted_again_seconds_most"] < 5
