"""The folder of one gunicorn's counter files: made at start, removed at the end, swept up after one that was killed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "windlass-web-"


class MetricsFolder:
    """Belongs to the process that made it, and is locked as long as that process or a child of it lives."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._owner = os.getpid()

    @classmethod
    def create(cls, parent: Path | None = None) -> "MetricsFolder":
        """A fresh folder in `parent` (the system's temporary folder if None), after removing abandoned ones there.

        A folder of our own even where the user names one: the pool, or a second web, may have been given the same.
        """
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        where = parent or Path(tempfile.gettempdir())
        for abandoned in where.glob(f"{_PREFIX}*"):
            _remove_if_abandoned(abandoned)
        # It gets its name when it is locked: until then another web that starts would take it for abandoned.
        unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=where))
        lock = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(unlocked.rename(where / unlocked.name.removeprefix(".")), lock)

    def remove(self) -> None:
        """Removes the folder; does nothing in a child."""
        if os.getpid() == self._owner:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)


def _remove_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        # Somebody else's folder may be waiting for us to follow it.
        if os.fstat(descriptor).st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
