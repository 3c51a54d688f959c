"""`python -P -m app.commands.serve -c python:app.server app.wsgi:app`: gunicorn, with our packages already found.

gunicorn puts the working directory first on the import path, and a folder named `app` is in many of them.
"""

import sys

from gunicorn.app.wsgiapp import run

import sql
import workerpool.kinds

__all__ = ["sql", "workerpool"]

if __name__ == "__main__":
    sys.exit(run())
