"""Reading the metrics of other processes while they come and go."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import app.metrics
import workerpool.metrics


@pytest.mark.parametrize("files", [app.metrics._Files, workerpool.metrics._Files])
def test_a_file_that_is_just_being_created_fails_no_scrape(
    files: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    registry = CollectorRegistry()
    files(registry)
    # Opened, then given its size, then its first eight bytes.
    (tmp_path / "counter_web1.db").touch()
    (tmp_path / "counter_web2.db").write_bytes(bytes(4096))
    assert generate_latest(registry) == b""
