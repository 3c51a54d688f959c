"""README's commands as a reader would type them, but for the port."""

import subprocess
from typing import Any

import urllib3

from support.documents import Document
from support.service import Surroundings

README = Document("README.md")


def run(surroundings: Surroundings, commands: str) -> subprocess.CompletedProcess[str]:
    """Shell commands as README has them; standard error ends up as the status code of each curl, in order.

    A curlrc leads README's address to the port of the test and adds the status, so that not a letter of them changes.
    """
    curlrc = surroundings.folder / ".curlrc"
    curlrc.write_text(
        f'connect-to = "127.0.0.1:8080:127.0.0.1:{surroundings.port}"\nwrite-out = "%{{stderr}}%{{http_code}}\\n"\n'
    )
    return subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=surroundings.folder,
        env=surroundings.environ | {"CURL_HOME": str(surroundings.folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def get(surroundings: Surroundings, path: str) -> Any:
    """What the service answers."""
    return urllib3.request("GET", surroundings.url + path, retries=False).json()
