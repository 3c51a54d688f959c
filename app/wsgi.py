"""What gunicorn runs: `gunicorn -c python:app.server app.wsgi:app`."""

from app import create_app
from app.settings import AppSettings, SettingsError
from workerpool.kinds.registry import KindError

try:
    app = create_app(AppSettings.from_env())
except (SettingsError, KindError) as error:
    # A sentence for whoever starts it, not a traceback of ours.
    raise SystemExit(f"Error: {error}") from None
