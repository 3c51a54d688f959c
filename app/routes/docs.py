"""The OpenAPI document and Swagger UI, every byte of it from this machine."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import flask

from app.auth import for_everyone

_OWN = Path(__file__).parent.parent / "static"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSET_SECONDS = 3600


def create_blueprint(document: dict[str, Any]) -> flask.Blueprint:
    """Routes that serve `document` and the page that shows it."""
    blueprint = flask.Blueprint("docs", __name__, template_folder="../templates")
    text = json.dumps(document, indent=1)
    distributed = _swagger_ui()
    folders = {
        "swagger-ui.css": distributed,
        "swagger-ui-bundle.js": distributed,
        "swagger-ui-standalone-preset.js": distributed,
        "favicon-32x32.png": distributed,
        "docs.js": _OWN,
    }

    @blueprint.get("/api-docs/openapi.json")
    @for_everyone
    def openapi() -> flask.Response:
        return flask.Response(text, mimetype="application/json")

    @blueprint.get("/docs")
    @blueprint.get("/swagger-ui")
    @for_everyone
    def page() -> flask.Response:
        response = flask.make_response(flask.render_template("docs.html"))
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    @blueprint.get("/docs/assets/<name>")
    @for_everyone
    def asset(name: str) -> flask.Response:
        folder = folders.get(name)
        if folder is None:
            flask.abort(404)
        return flask.send_from_directory(folder, name, max_age=_ASSET_SECONDS)

    return blueprint


def _swagger_ui() -> Path:
    # Located, not imported: the package is only a carrier of files.
    spec = importlib.util.find_spec("flask_swagger_ui")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "dist"
