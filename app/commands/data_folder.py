"""The folder where `windlass up` keeps its data, and what it tells `demo` and `check` through it.

up.lock      held by the running `up`
roles.lock   held by `up` and its roles, so also by those that still drain after `up` was killed
up.json      where things are, for commands in another shell; kept, so that the next `up` takes the same ports
webhook.secret, media/, postgresql/
"""

import base64
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import app
from app.commands.console import Failure

_LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Recorded:
    """What a running `up` records of itself. `url` is empty until it is ready.

    The rest is None where the user set it: then it is not for `demo` to use, nor ours to tell. `smtp_port` and
    `webhook_port` are loopback ports that nobody listens on: they are for `demo`.
    """

    pid: int
    url: str
    media_root: str
    smtp_port: int | None
    webhook_port: int | None
    webhook_secret: str | None
    database_url: str | None


def database_url() -> str | None:
    """DATABASE_URL, else that of the `windlass up` that runs here; None without either. Raises Failure."""
    given = os.environ.get("DATABASE_URL")
    if given:
        return given
    running = DataFolder().running()
    return running.database_url if running else None


class DataFolder:
    """`path` need not exist until `make`."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """WINDLASS_DATA, or `.windlass` in the checkout this code runs from, or in the working directory."""
        given = environ.get("WINDLASS_DATA")
        beside = Path(app.__file__).resolve().parents[1]
        fallback = beside if (beside / "setup.cfg").is_file() else Path.cwd()
        self.path = Path(os.path.abspath(given)) if given else fallback / ".windlass"

    def make(self) -> None:
        """Raises Failure when there can be no such folder."""
        # PostgreSQL started by root runs as another account, which must pass through; what is secret here has a mode
        # of its own.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.path.mkdir(mode=mode, parents=True, exist_ok=True)
            self.media.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Failure(f"no data folder at {self.path}: {error.strerror}; set WINDLASS_DATA to another") from error

    @property
    def media(self) -> Path:
        """MEDIA_ROOT, where none is set."""
        return self.path / "media"

    @property
    def postgresql(self) -> Path:
        """Where the embedded PostgreSQL is wanted."""
        return self.path / "postgresql"

    def webhook_secret(self) -> str:
        """The secret webhooks are signed with, made once and kept."""
        path = self.path / "webhook.secret"
        if not path.exists():
            _write(path, "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        return path.read_text().strip()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Inside, this process is the one `up` of the folder. Raises Failure when another one is."""
        handle = self._lock("up.lock")
        if handle is None:
            # Another shell's `running` may be looking.
            time.sleep(_LOOK_SECONDS)
            handle = self._lock("up.lock")
        if handle is None:
            found = self.last_record()
            process = f" (process {found.pid}, {found.url})" if found else ""
            raise Failure(f"a windlass up runs already on {self.path}{process}")
        try:
            yield
        finally:
            os.close(handle)

    def lock_roles(self) -> int | None:
        """A file descriptor for the roles to inherit, or None while roles of an earlier `up` still hold it."""
        return self._lock("roles.lock")

    def record(self, found: Recorded) -> None:
        """Leaves word for commands in another shell."""
        _write(self.path / "up.json", json.dumps(asdict(found), indent=2) + "\n")

    def last_record(self) -> Recorded | None:
        """What the latest `up` recorded, running or not. Raises Failure when this user may not read it."""
        try:
            return Recorded(**json.loads((self.path / "up.json").read_text()))
        except PermissionError as error:
            raise Failure(f"{error.filename} belongs to another user: run this as the user of windlass up") from error
        except (OSError, ValueError, TypeError):
            return None

    def running(self) -> Recorded | None:
        """What the running `up` recorded; None when none runs. Raises Failure when this user may not know."""
        found = self.last_record()
        if found is None:
            return None
        handle = self._lock("up.lock")
        if handle is not None:
            os.close(handle)
            return None
        return found

    def _lock(self, name: str) -> int | None:
        # By file descriptor, so that no death of any process leaves a lock behind.
        try:
            handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failure(
                f"{self.path / name}: {error.strerror}; run as its owner, or set WINDLASS_DATA to another folder"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for this user only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
