"""The documentation page, drawn by a real browser."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import path_of
from support.web import Web, running_web

pytestmark = pytest.mark.needs_chromium


@pytest.fixture
def web(tmp_path: Path, database_url: str) -> Iterator[Web]:
    with running_web(tmp_path, database_url) as web:
        yield web


def drawn(web: Web, path: str, folder: Path) -> str:
    """The page's document after its scripts have run; `page.png` in `folder` shows it."""
    run = subprocess.run(
        [path_of("needs_chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         # Nothing but this machine can be reached, so an asset from elsewhere would be missing.
         "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
         f"--user-data-dir={folder / 'browser'}", "--window-size=1200,1600", "--virtual-time-budget=15000",
         f"--screenshot={folder / 'page.png'}", "--dump-dom", web.url + path],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    return run.stdout


@pytest.mark.parametrize("path", ["/docs", "/swagger-ui"])
def test_swagger_ui_shows_every_route_with_assets_of_our_own(web: Web, tmp_path: Path, path: str) -> None:
    page = drawn(web, path, tmp_path)
    for route in ("/jobs", "/jobs/bulk", "/jobs/{job_id}", "/jobs/{job_id}/cancel", "/jobs/{job_id}/retry"):
        assert f'data-path="{route}"' in page
    assert "Windlass" in page
    assert "errors-wrapper" not in page
    assert (tmp_path / "page.png").stat().st_size > 10_000
