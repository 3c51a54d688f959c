"""A small HTTP client of the API, for the subcommands."""

import json
import re
from dataclasses import dataclass
from typing import Any

import click
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError

from app.commands.console import Failure, Target


@dataclass(frozen=True)
class Answer:
    """A response: its status, its body as text, and its headers."""

    status: int
    text: str
    headers: urllib3.HTTPHeaderDict

    def json(self) -> Any:
        """The body, parsed. Raises Failure when it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise Failure(f"the answer is not JSON, so this is no Windlass: {self.text[:200]!r}") from error


class Api:
    """The API at one address. Every call is one request, never repeated: repeating is the caller's decision."""

    def __init__(self, target: Target, default_url: str = Target.DEFAULT_URL) -> None:
        """Raises click.UsageError for an address or a token that no request can carry."""
        self.url = (target.server_url or default_url).rstrip("/")
        self._headers = {}
        try:
            parts = urllib3.util.parse_url(self.url)
        except LocationParseError:
            parts = urllib3.util.Url()
        if parts.scheme not in ("http", "https") or not parts.host:
            raise click.UsageError(f"--server-url must be like {Target.DEFAULT_URL}, not {self.url!r}")
        if target.api_token:
            # Never repeated in the message: a token in the wrong shape is mostly a right one with a line break.
            if not re.fullmatch(r"[\x21-\x7e]+", target.api_token):
                raise click.UsageError("--api-token must be visible ASCII without spaces or line breaks")
            self._headers["Authorization"] = f"Bearer {target.api_token}"
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=30), retries=False, headers=self._headers
        )

    def get(self, path: str) -> Answer:
        """Raises Failure when there is no answer."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Any) -> Answer:
        """Sends `body` as JSON. Raises Failure when there is no answer."""
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Any) -> Answer:
        try:
            response = self._pool.request(method, self.url + path, json=body)
        except HTTPError as error:
            raise Failure(
                f"no answer from {self.url}: {_reason(error)}; is it running? (`windlass up` starts one)"
            ) from error
        return Answer(response.status, response.data.decode("utf-8", "replace"), response.headers)


def _reason(error: HTTPError) -> str:
    # urllib3 puts the object's repr in front of what happened.
    return str(error).rpartition("object at 0x")[2].partition(": ")[2] or str(error)
