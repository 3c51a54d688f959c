"""What may go wrong in the pool itself (a job's failure is an outcome, not an error)."""

# A child that leaves with this code before it was ready cannot boot, and starting it again cannot help.
BOOT_FAILURE = 3


class PoolError(Exception):
    """Base of the pool's own errors."""


class BootFailure(PoolError):
    """Raised by a child's target that cannot boot; its text is the reason people will read."""
