"""For those who look for a file: `gunicorn -c deploy/gunicorn.conf.py app.wsgi:app`. All of it is in `app.server`."""

from app.server import *  # noqa: F403
