"""Which account runs the server and where its data lies.

PostgreSQL refuses to run as root, so root hands it to another account. That account must be able to reach the data,
and no folder above it may be opened for that: data wanted below a private folder lie in a place of root's instead.
"""

import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sql.embedded.errors import EmbeddedFailure

PGDATA = "data"
_UNPRIVILEGED = ("postgres", "nobody")
_ROOTS_PLACES = (Path("/var/lib/windlass"), Path("/var/tmp/windlass"))


class Account(NamedTuple):
    """Who runs the server."""

    name: str
    uid: int
    gid: int


class Home(NamedTuple):
    """The folder that holds the data, the socket, the log and the password, and the account they belong to."""

    path: Path
    account: Account


def find_home(wanted: Path) -> Home:
    """Where the data wanted at `wanted` lie, made if absent. Raises EmbeddedFailure."""
    wanted = Path(os.path.realpath(wanted))
    if os.geteuid() != 0:
        return Home(_made(wanted, _account_of(os.geteuid())), _account_of(os.geteuid()))
    elsewhere = [place / f"data-{_fingerprint(wanted)}" for place in _ROOTS_PLACES]
    existing = [home for home in (wanted, *elsewhere) if os.path.lexists(home / PGDATA)]
    if len(existing) > 1:
        raise EmbeddedFailure(
            f"there are two databases for {wanted}: {' and '.join(map(str, existing))}; move one of them away"
        )
    if existing:
        return _adopted(existing[0])
    account = _unprivileged_account()
    if _belongs_to_root(wanted.parent) and _reaches(account, _nearest_existing(wanted.parent)):
        return Home(_made(wanted, account), account)
    return Home(_made(roots_place() / elsewhere[0].name, account), account)


def become(account: Account) -> None:
    """Gives up root for good. Does nothing for an ordinary user."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)


def roots_place() -> Path:
    """A folder of root's that every account may traverse and only root may write."""
    refusals = []
    for place in _ROOTS_PLACES:
        try:
            place.mkdir(mode=0o755, exist_ok=True)
            found = place.lstat()
        except OSError as error:
            refusals.append(str(error))
            continue
        traversable = found.st_mode & 0o777 == 0o755
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and traversable and os.access(place, os.W_OK):
            return place
        refusals.append(f"{place} is not a writable folder of root's with mode 0755")
    raise EmbeddedFailure("no place for the embedded PostgreSQL: " + "; ".join(refusals))


def private_folder(path: Path) -> Path:
    """`path`, made for the running account alone. Raises EmbeddedFailure when somebody else had it first."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedFailure(f"{path} belongs to {_name_of(found.st_uid)}: it must be a folder of our own")
    path.chmod(0o700)
    return path


@contextmanager
def seen_as(account: Account) -> Iterator[None]:
    """Inside, the kernel judges access as if `account` asked. Only for a process with one thread."""
    if os.geteuid() != 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups([])
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _adopted(home: Path) -> Home:
    found = (home / PGDATA).lstat()
    account = _account_of(found.st_uid)
    if not stat.S_ISDIR(found.st_mode) or home.stat().st_uid != account.uid:
        raise EmbeddedFailure(f"{home} and the folder {PGDATA} in it must be folders of one owner")
    if account.uid == 0:
        raise EmbeddedFailure(
            f"{home / PGDATA} belongs to root, and PostgreSQL refuses to run as root: "
            f"give it to another account (chown -R {_unprivileged_account().name} {home})"
        )
    if not _reaches(account, home):
        raise EmbeddedFailure(
            f"the database in {home} belongs to {account.name}, who cannot reach it any more: open the folders above "
            f"it again, or move it to {_ROOTS_PLACES[0] / f'data-{_fingerprint(home)}'}"
        )
    return Home(home, account)


def _made(home: Path, account: Account) -> Path:
    try:
        for folder in reversed([folder for folder in home.parents if not os.path.lexists(folder)]):
            folder.mkdir(mode=0o755, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise EmbeddedFailure(f"no folder for the data at {home}: {error.strerror}; choose another") from error
    try:
        # Looked at in this order, so that another keeper which takes the folder meanwhile is no stranger.
        content = os.listdir(handle)
        owner = os.fstat(handle).st_uid
        if owner == os.geteuid() == 0:
            if content:
                raise EmbeddedFailure(f"{home} holds other things: the database needs a folder of its own")
            os.fchown(handle, account.uid, account.gid)
        elif owner != account.uid:
            raise EmbeddedFailure(
                f"{home} belongs to {_name_of(owner)}, not to {account.name}: run as its owner or choose another"
            )
    finally:
        os.close(handle)
    return home


def _belongs_to_root(path: Path) -> bool:
    """No account but root can put something else in `path`'s place."""
    for folder in (path, *path.parents):
        if os.path.lexists(folder):
            found = folder.lstat()
            others_write = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
            if found.st_uid != 0 or others_write:
                return False
    return True


def _reaches(account: Account, folder: Path) -> bool:
    with seen_as(account):
        try:
            os.stat(f"{folder}/.")
        except PermissionError:
            return False
    return True


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _unprivileged_account() -> Account:
    for name in _UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return Account(name, found.pw_uid, found.pw_gid)
    raise EmbeddedFailure(
        f"PostgreSQL refuses to run as root, and there is no account {' or '.join(_UNPRIVILEGED)} to run it: "
        "run as an ordinary user, or set DATABASE_URL"
    )


def _account_of(uid: int) -> Account:
    try:
        found = pwd.getpwuid(uid)
        return Account(found.pw_name, uid, found.pw_gid)
    except KeyError:
        return Account(str(uid), uid, os.getegid() if uid == os.geteuid() else uid)


def _name_of(uid: int) -> str:
    return _account_of(uid).name


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
