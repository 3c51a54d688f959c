"""What every subcommand shares: how it fails, and which service it talks to."""

from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar

import click


class Failure(click.ClickException):
    """The command cannot do what was asked: its text goes to standard error and the exit code is 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the text as it is: callers of S2 look for `enqueue failed: …` at the start of the line."""
        click.echo(self.message, file=file, err=file is None)


@dataclass(frozen=True)
class Target:
    """What was said before the subcommand. `server_url` is None when nothing was said."""

    DEFAULT_URL: ClassVar[str] = "http://127.0.0.1:8080"

    server_url: str | None
    api_token: str | None
    token_name: str = "--api-token"
    """Where the token comes from, for whoever has to mend it."""
    admin_token: str | None = None
    """ADMIN_TOKEN, unless a token was said with --api-token: what is said counts more than what is set."""

    def as_admin(self) -> "Target":
        """The same service, asked for what only ADMIN_TOKEN may do where tokens are set."""
        if self.admin_token is None:
            return self
        return replace(self, api_token=self.admin_token, token_name="ADMIN_TOKEN")
