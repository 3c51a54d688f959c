"""Files under one folder, reached so that no name leads out of it.

Every component of a path is opened by itself, relative to the folder before it and refusing symbolic links, so
nothing between the check and the use can be exchanged for something that leads elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

_LONGEST_PATH: Final = 1_000
_LONGEST_NAME: Final = 255
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PathRefused(Exception):
    """A name that leads, or might lead, out of the folder or to something that is no plain file."""


def components(path: str) -> list[str]:
    """The names `path` is made of. Raises PathRefused for anything but a plain relative path."""
    if not path or len(path) > _LONGEST_PATH or "\x00" in path:
        raise PathRefused(f"must be a relative path of 1 to {_LONGEST_PATH} characters")
    names = path.split("/")
    for name in names:
        if name in ("", ".", ".."):
            raise PathRefused("must be relative to MEDIA_ROOT, without '..', '.' or empty parts")
        try:
            too_long = len(os.fsencode(name)) > _LONGEST_NAME
        except UnicodeEncodeError:
            raise PathRefused("holds characters no file name can hold") from None
        if too_long:
            raise PathRefused(f"has a part longer than {_LONGEST_NAME} bytes")
    return names


@contextmanager
def opened(root: Path, path: str) -> Iterator[BinaryIO]:
    """The plain file `path` under `root`, for reading.

    Raises PathRefused for a symbolic link anywhere on the way and for a device, pipe or folder; FileNotFoundError and
    other OSErrors as they come.
    """
    *folders, name = components(path)
    with _folder(root, folders) as folder:
        _insist_on_plain(name, folder)
        with _refusing(path):
            # O_NONBLOCK: a pipe put there after the look above must not hold us; on plain files it means nothing.
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PathRefused("is not a plain file")
            yield file


@contextmanager
def replaced(root: Path, path: str, temporary: str, source: os.stat_result) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` under `root` in one step when the block ends well, and vanishes otherwise.

    `temporary` is its name until then, in the same folder and to be used by this run only. Missing folders are made,
    a plain file of that path is replaced. Raises PathRefused as `opened` does, and when `path` is the very file that
    `source` describes.
    """
    *folders, name = components(path)
    with _folder(root, folders, create=True) as folder:
        with suppress(FileNotFoundError):
            there = _insist_on_plain(name, folder)
            if (there.st_dev, there.st_ino) == (source.st_dev, source.st_ino):
                raise PathRefused("is the source itself; a repeated attempt would resize what is already resized")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(temporary, flags, 0o644, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise


@contextmanager
def _folder(root: Path, folders: list[str], *, create: bool = False) -> Iterator[int]:
    """A descriptor of the folder `folders` lead to. The root itself is the administrator's and may be a link."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in folders:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=handle)
            with _refusing(name):
                inner = os.open(name, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _insist_on_plain(name: str, folder: int) -> os.stat_result:
    # Asked before opening, because opening a device can already do something.
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused("is not a plain file (a link, a folder, a device or a pipe)")
    return found


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    """What the kernel says to O_NOFOLLOW and O_DIRECTORY, in words."""
    try:
        yield
    except NotADirectoryError:
        raise PathRefused(f"{path!r} is not a folder, or is a symbolic link") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise PathRefused(f"{path!r} is a symbolic link or a device") from None
        raise
