"""What can go wrong before there is a database to speak to."""


class EmbeddedFailure(Exception):
    """The embedded PostgreSQL cannot be started. The text says why, what to do, and how the server's log ends."""
