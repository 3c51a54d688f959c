"""What can go wrong between us and the database, in our words.

The text of an error never carries the driver's DETAIL lines: those hold row values. The driver's error is kept as
`__cause__` for a debugger.
"""


class StorageError(Exception):
    """The database answered with an error that is a defect of ours or of its set-up."""


class Unavailable(StorageError):
    """The database cannot serve now: unreachable, shutting down, full, read-only or too slow. Try again later.

    For a statement that writes it does not say whether the write happened.
    """


class UnknownCommit(Unavailable):
    """The commit was made here but its replication was not confirmed: neither success nor failure."""


class SchemaMissing(Unavailable):
    """The tables are not there. Run `windlass migrate`."""


class SchemaUnsupported(StorageError):
    """The tables are of a version this code cannot work with."""


class Rejected(StorageError):
    """The database refuses a value: out of range, unstorable text, a constraint.

    `constraint` names the constraint, where it was one.
    """

    def __init__(self, message: str, constraint: str | None = None) -> None:
        super().__init__(message)
        self.constraint = constraint


class ConnectionOfAnotherProcess(StorageError):
    """A connection was used in a process that did not open it: two processes would speak into one stream."""
