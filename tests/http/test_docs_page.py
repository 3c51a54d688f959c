"""Swagger UI, every byte of it from us."""

import re

import pytest
from flask.testing import FlaskClient
from support.http import check_error


@pytest.mark.parametrize("path", ["/docs", "/swagger-ui"])
def test_the_page_and_all_it_loads_come_from_here(refused: FlaskClient, path: str) -> None:
    page = refused.get(path)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 5
    for asset in loaded:
        assert asset.startswith("/docs/assets/")
        with refused.get(asset) as response:
            assert response.status_code == 200
            assert len(response.data) > 100
            assert response.headers["Cache-Control"]
            if asset.endswith("/docs.js"):
                assert '"/api-docs/openapi.json"' in response.text
                assert not re.search(r"https?://", response.text)


def test_the_page_forbids_what_does_not_come_from_here(refused: FlaskClient) -> None:
    page = refused.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert not re.search(r"<script(?![^>]*src=)", page.text)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "index.html",
        "swagger-ui.js",
        "oauth2-redirect.html",
        "../docs.js",
        "..%2f..%2fsettings.py",
        "docs.js/",
        "%00",
    ],
)
def test_no_other_file_is_given_away(refused: FlaskClient, name: str) -> None:
    check_error(refused.get(f"/docs/assets/{name}"), "not_found")
