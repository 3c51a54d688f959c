"""What gunicorn runs: `gunicorn -c python:app.server app.wsgi:app`."""

from app import create_app
from app.settings import AppSettings

app = create_app(AppSettings.from_env())
