"""Small disks of a test's own: one that can lose its power, one that can be full. Both take root."""

import array
import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from support.waiting import until

_SHUTDOWN = 0x8004587D
_WITHOUT_ITS_LOG = 2
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class Disk:
    """A file system mounted at `path`, unmounted at the end of the block whatever happened in it."""

    def __init__(self, path: Path, *source: str) -> None:
        self.path = path
        self._source = source

    def mount(self) -> None:
        """Again, after a cut with what reached the disk."""
        self.path.mkdir(exist_ok=True)
        _command("mount", *self._source, str(self.path))

    def sync(self) -> None:
        """Everything in it is on the disk."""
        _command("sync", "--file-system", str(self.path))

    def unmount(self) -> None:
        """Waits for those that were killed: it takes them a moment to let go of their files."""
        until(lambda: _works("umount", str(self.path)), 10, f"nobody has a file open in {self.path}")

    def __enter__(self) -> "Disk":
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.path.ismount(self.path):
            # Lazily: a process that still has a file there must not keep the mount for ever.
            _command("umount", "--lazy", str(self.path))
        self.path.rmdir()


class LoopDisk(Disk):
    """An ext4 of `megabytes` in a file beside `path`, which `cut` takes the power from."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self._image = path.with_suffix(".img")
        with open(self._image, "wb") as image:
            image.truncate(megabytes * 2**20)
        _command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image))
        super().__init__(path, "-o", "loop", str(self._image))

    def cut(self) -> None:
        """What was not on the disk at this moment never gets there, the file system's own log included."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, array.array("I", [_WITHOUT_ITS_LOG]))
        finally:
            os.close(handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._image.unlink()


class MemoryDisk(Disk):
    """Of `megabytes`, part of which a ballast may take until it is dropped."""

    def __init__(self, path: Path, megabytes: int) -> None:
        super().__init__(path, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs")

    def load(self, megabytes: float) -> None:
        """Puts the ballast there."""
        (self.path / "ballast").write_bytes(bytes(int(megabytes * 2**20)))

    def drop(self) -> None:
        """Somebody makes room."""
        (self.path / "ballast").unlink()

    @property
    def free(self) -> int:
        """Bytes."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


def available() -> bool:
    """Whether file systems may be mounted here, out of a file and out of memory."""
    try:
        with tempfile.TemporaryDirectory() as folder, MemoryDisk(Path(folder) / "memory", 1):
            return os.access("/dev/loop-control", os.W_OK) and shutil.which("mkfs.ext4", path=_PATH) is not None
    except (OSError, subprocess.SubprocessError):
        return False


def _works(*words: str) -> bool:
    return subprocess.run(words, check=False, capture_output=True, timeout=60, env={"PATH": _PATH}).returncode == 0


def _command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60, env={"PATH": _PATH})
