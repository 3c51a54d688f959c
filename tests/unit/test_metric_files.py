"""Scrapes while processes come and go."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from workerpool.metric_files import MetricFiles


@pytest.fixture
def registry(tmp_path: Path) -> CollectorRegistry:
    collected = CollectorRegistry()
    MetricFiles(collected, str(tmp_path))  # type: ignore[no-untyped-call]
    return collected


def test_a_file_that_is_just_being_made_fails_no_scrape(registry: CollectorRegistry, tmp_path: Path) -> None:
    # Opened, then given its size, then its first eight bytes.
    (tmp_path / "counter_web1.db").touch()
    (tmp_path / "counter_web2.db").write_bytes(bytes(4096))
    assert generate_latest(registry) == b""


def test_a_file_that_is_just_being_removed_fails_no_scrape(registry: CollectorRegistry, tmp_path: Path) -> None:
    # Listed, and gone when it is looked at.
    (tmp_path / "gauge_livesum_w2.db").symlink_to(tmp_path / "removed")
    assert generate_latest(registry) == b""
