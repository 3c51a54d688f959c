"""What the steward does besides waiting, each duty in a file: it says how often, and is run with a connection."""

from typing import Protocol

from sql.connection import Connection


class Duty(Protocol):
    """Run when `every` seconds have passed since the last run, and at once when the steward is woken if `at_once`."""

    every: float
    at_once: bool

    def run(self, conn: Connection) -> None:
        """One pass, short: other duties wait for it. Raises Unavailable."""
