"""Folders of migrations for tests: the shipped ones and some more."""

import shutil
import subprocess
import sys
from pathlib import Path

from sql.migrate import CURRENT, MIGRATIONS

ROOT = Path(__file__).parents[2]
_RUN = """
import sys
from pathlib import Path
from sql.migrate import migrate
migrate(sys.argv[1], folder=Path(sys.argv[2]))
"""


class Folder:
    """A copy of the shipped migrations, to which a test adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(MIGRATIONS, path)

    def add(self, name: str, text: str, *, oldest_code: int = 1, number: int | None = None) -> Path:
        """Writes the next file, or that of `number`."""
        number = number or len(list(self.path.glob("*.sql"))) + 1
        file = self.path / f"{number:04d}_{name}.sql"
        file.write_text(f"-- oldest code: {oldest_code}\n{text}\n")
        return file

    def process(self, url: str) -> subprocess.Popen[str]:
        """A process that applies the folder to `url` and prints what it did. The caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-c", _RUN, url, str(self.path)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


SHIPPED = [path.stem for path in sorted(MIGRATIONS.glob("*.sql"))]
NEXT = CURRENT + 1
