"""Files under one folder: no name leads out of it, whatever lies on the way."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workerpool.kinds.media_folder import PathRefused, components, opened, replaced

NOWHERE = os.stat("/")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one file in it, beside a secret."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    root = tmp_path / "media"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "a.jpg").write_bytes(b"picture")
    return root


def read(root: Path, path: str) -> bytes:
    with opened(root, path) as file:
        return file.read()


def write(root: Path, path: str, content: bytes = b"new", source: os.stat_result = NOWHERE) -> None:
    with replaced(root, path, ".unfinished", source) as file:
        file.write(content)


def test_a_plain_file_is_read_and_written(root: Path) -> None:
    assert read(root, "inner/a.jpg") == b"picture"
    write(root, "inner/b.jpg")
    write(root, "new/folder/c.jpg")
    assert (root / "inner/b.jpg").read_bytes() == (root / "new/folder/c.jpg").read_bytes() == b"new"
    assert sorted(path.name for path in (root / "inner").iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    "path", ["../secret.jpg", "inner/../../secret.jpg", "..", ".", "", "/", "inner//a.jpg", "a\x00b"]
)
def test_a_path_that_is_not_plainly_relative_is_refused(root: Path, path: str) -> None:
    for attempt in (lambda: components(path), lambda: read(root, path), lambda: write(root, path)):
        with pytest.raises(PathRefused):
            attempt()


def test_an_absolute_path_is_refused(root: Path) -> None:
    for path in (str(root / "inner/a.jpg"), "/etc/passwd", "/proc/self/environ"):
        with pytest.raises(PathRefused):
            read(root, path)
        with pytest.raises(PathRefused):
            write(root, path)


def test_a_link_is_refused_as_file_and_as_folder_even_when_it_stays_inside(root: Path) -> None:
    (root / "out.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "within.jpg").symlink_to(root / "inner/a.jpg")
    (root / "up").symlink_to(root.parent)
    (root / "same").symlink_to(root / "inner")
    (root / "dangling.jpg").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    for path in ("out.jpg", "within.jpg", "up/secret.jpg", "same/a.jpg", "dangling.jpg", "loop", "loop/x.jpg"):
        with pytest.raises(PathRefused):
            read(root, path)
        with pytest.raises(PathRefused):
            write(root, path)
    assert (root.parent / "secret.jpg").read_bytes() == b"secret"
    assert not (root / "nowhere").exists()


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert read(tmp_path / "link", "inner/a.jpg") == b"picture"


def test_what_is_no_plain_file_is_refused_at_once(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.jpg"))
        for path in ("pipe.jpg", "socket.jpg", "inner"):
            with pytest.raises(PathRefused):
                read(root, path)
            with pytest.raises(PathRefused):
                write(root, path)


def test_a_device_is_refused() -> None:
    for path in ("null", "full", "tty"):
        with pytest.raises(PathRefused), opened(Path("/dev"), path):
            pass


def test_a_file_of_the_kernels_is_no_picture_to_us(root: Path) -> None:
    (root / "proc").symlink_to("/proc/self")
    with pytest.raises(PathRefused):
        read(root, "proc/environ")


def test_what_is_not_there_is_not_there(root: Path) -> None:
    for path in ("nothing.jpg", "nothing/a.jpg"):
        with pytest.raises(FileNotFoundError):
            read(root, path)


def test_a_plain_file_cannot_be_a_folder(root: Path) -> None:
    with pytest.raises(PathRefused):
        read(root, "inner/a.jpg/b.jpg")


EXCHANGE = """
import os, sys
os.chdir(sys.argv[1])
print("ready", flush=True)
while os.getppid() == int(sys.argv[2]):
    os.link("plain.jpg", "next"); os.replace("next", "turn.jpg")
    os.symlink("../secret.jpg", "next"); os.replace("next", "turn.jpg")
"""


def test_a_file_exchanged_for_a_link_between_look_and_open_is_not_followed(root: Path) -> None:
    """The race itself: another process never stops exchanging a plain file for a link that leads out."""
    (root / "plain.jpg").write_bytes(b"picture")
    exchanging = subprocess.Popen([sys.executable, "-c", EXCHANGE, str(root), str(os.getpid())], stdout=subprocess.PIPE)
    seen: dict[object, int] = {}
    try:
        assert exchanging.stdout is not None
        exchanging.stdout.readline()
        over = time.monotonic() + 1.5
        while time.monotonic() < over:
            try:
                found: object = read(root, "turn.jpg")
            except (PathRefused, FileNotFoundError) as error:
                found = type(error)
            seen[found] = seen.get(found, 0) + 1
    finally:
        exchanging.kill()
        exchanging.communicate()
    assert b"secret" not in seen
    assert seen[b"picture"] > 10
    assert seen[PathRefused] > 10


def test_a_target_is_replaced_in_one_step_and_only_when_all_is_written(root: Path) -> None:
    with replaced(root, "inner/a.jpg", ".unfinished", NOWHERE) as file:
        file.write(b"half")
        file.flush()
        assert (root / "inner/a.jpg").read_bytes() == b"picture"
    assert (root / "inner/a.jpg").read_bytes() == b"half"


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_nothing_behind(root: Path, kind: type[BaseException]) -> None:
    def fail() -> None:
        with replaced(root, "inner/a.jpg", ".unfinished", NOWHERE) as file:
            file.write(b"half")
            raise kind

    with pytest.raises(kind):
        fail()
    assert [path.name for path in (root / "inner").iterdir()] == ["a.jpg"]
    assert (root / "inner/a.jpg").read_bytes() == b"picture"


def test_the_source_cannot_be_the_target_under_any_name(root: Path) -> None:
    os.link(root / "inner/a.jpg", root / "other-name.jpg")
    source = os.stat(root / "inner/a.jpg")
    for path in ("inner/a.jpg", "other-name.jpg"):
        with pytest.raises(PathRefused, match="source itself"):
            write(root, path, source=source)
    assert (root / "inner/a.jpg").read_bytes() == b"picture"


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read(root, "inner/a.jpg")
        write(root, "x/y/z.jpg")
        for path in ("../x", "inner", "x/nothing/z", "inner/a.jpg/b"):
            with pytest.raises((PathRefused, FileNotFoundError)):
                read(root, path)
    assert len(os.listdir("/proc/self/fd")) == before
