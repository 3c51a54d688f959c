"""Where the peers are installed: a Python environment, Node inside it, and Node's packages."""

import os
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
ADAPTERS = _HERE / "adapters"
_REQUIREMENTS = _HERE / "requirements.txt"
_PACKAGES = _HERE / "package.json"


class Tools:
    """The programs that run adapters, in `folder`; by default in the user's cache, since they are some 350 MB."""

    def __init__(self, folder: str = "") -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.folder = Path(folder) if folder else cache / "windlass-bench"
        self._environment = self.folder / "python"
        self._packages = self.folder / "node"
        self.bin_dir = self._environment / "bin"
        self.python = str(self.bin_dir / "python")
        self.node = str(self.bin_dir / "node")
        self.node_modules = self._packages / "node_modules"

    @property
    def installed(self) -> bool:
        """Whether everything is there, in the versions asked for."""
        return _is_made_from(_REQUIREMENTS, self._environment) and _is_made_from(_PACKAGES, self._packages)

    def install(self) -> None:
        """Makes what is missing; from nothing that takes a minute. Raises CalledProcessError."""
        if not _is_made_from(_REQUIREMENTS, self._environment):
            subprocess.run([sys.executable, "-m", "venv", "--clear", self._environment], check=True)
            pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--requirement", _REQUIREMENTS], check=True)
            _note_made_from(_REQUIREMENTS, self._environment)
        if not _is_made_from(_PACKAGES, self._packages):
            self._packages.mkdir(parents=True, exist_ok=True)
            (self._packages / _PACKAGES.name).write_text(_PACKAGES.read_text())
            path = f"{self.bin_dir}{os.pathsep}{os.environ['PATH']}"
            npm = [self.bin_dir / "npm", "install", "--silent", "--no-audit", "--no-fund"]
            subprocess.run(npm, cwd=self._packages, env={**os.environ, "PATH": path}, check=True)
            _note_made_from(_PACKAGES, self._packages)


def _is_made_from(source: Path, folder: Path) -> bool:
    made = folder / f"made-from-{source.name}"
    return made.exists() and made.read_text() == source.read_text()


def _note_made_from(source: Path, folder: Path) -> None:
    # Last, so that an installation cut short is made anew.
    (folder / f"made-from-{source.name}").write_text(source.read_text())
