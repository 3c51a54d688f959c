"""A PostgreSQL made by hand, for what a kept server is there to prevent: settings, deaths, standbys, the disk below."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.embedded import answers, ask
from support.processes import kill_all_at_once, working_in
from support.waiting import until

from sql.embedded.binaries import runnable_bin_dir
from sql.embedded.places import find_home
from sql.migrate import migrate

_SUPERUSER = "postgres"
_START_SECONDS = 30.0


class DidNotStart(Exception):
    """The server ended instead; the end of its log is the text."""


class Cluster:
    """`folder` gets its socket and its log, `data` (by default below it) its data. `settings` hold at every start.

    Anybody who reaches the socket may be anybody: only this user and the server's account do. The server ends with the
    thread that started it.
    """

    def __init__(
        self, folder: Path, *, data: Path | None = None, bin_dir: Path | None = None, **settings: str | int
    ) -> None:
        home = find_home(folder)
        self.account = home.account
        self.data = data or home.path / "data"
        self._home = home.path
        self._run = home.path / "run"
        self._run.mkdir(exist_ok=True)
        self.give(self._run)
        self.log_path = home.path / "server.log"
        self._bin_dir = runnable_bin_dir(bin_dir, self.account)
        self._settings = settings
        self._server: subprocess.Popen[bytes] | None = None

    # -- making --------------------------------------------------------------------------------------------------------

    def make(self, wal: Path | None = None) -> "Cluster":
        """An empty database cluster, its WAL elsewhere if `wal` says so."""
        words = ["--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-instructions"]
        # Small segments: what a test fills or copies is small.
        words += ["--data-checksums", "--no-sync", "--wal-segsize", "4", *(["--waldir", str(wal)] if wal else [])]
        self.run("initdb", "--pgdata", str(self.data), *words)
        return self

    def copy_of(self, primary: "Cluster") -> "Cluster":
        """A standby of `primary`, not started."""
        words = ["--pgdata", str(self.data), "--checkpoint", "fast", "--no-sync", "--write-recovery-conf"]
        self.run("pg_basebackup", "--dbname", primary._as_source(), *words)
        return self

    def rewound_to(self, primary: "Cluster") -> "Cluster":
        """The same of one that was a primary or a standby before, however it ended."""
        # Until then the source does not know itself that its time line is a new one.
        primary.ask("checkpoint")
        words = ["--target-pgdata", str(self.data), "--no-sync", "--write-recovery-conf"]
        self.run("pg_rewind", "--source-server", primary._as_source(), *words)
        return self

    def migrated(self) -> "Cluster":
        """With the schema; it must run."""
        migrate(self.url, log=lambda _: None)
        return self

    # -- running -------------------------------------------------------------------------------------------------------

    def start(self, **settings: str | int) -> "Cluster":
        """Until it answers; `settings` hold for this start. Raises DidNotStart."""
        self.launch(**settings)
        until(lambda: self._ended() or answers(self.url), _START_SECONDS, "the server answers")
        if self._ended():
            raise DidNotStart(self.log()[-2000:])
        return self

    def launch(self, **settings: str | int) -> None:
        """Starts it and does not wait."""
        asked: dict[str, str | int] = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._run),
            "log_min_messages": "warning",
            **self._settings,
            **settings,
        }
        words = ["--pdeathsig", "QUIT", *self._identity()]
        words += [str(self._bin_dir / "postgres"), "-D", str(self.data), *(f"--{k}={v}" for k, v in asked.items())]
        with open(self.log_path, "ab") as log:
            self._server = subprocess.Popen(
                ["setpriv", *words],
                cwd=self._home,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """In order, ending every session; does nothing when it does not run."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(_START_SECONDS)
            self._server = None

    def crash(self) -> None:
        """kill -QUIT: every session is dropped, nothing is written any more."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(_START_SECONDS)
        self._server = None

    def kill(self) -> None:
        """kill -9 of all its processes at once."""
        kill_all_at_once(self.processes())
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
        until(self._all_are_killed, 10, "nobody works in the data folder")

    def _all_are_killed(self) -> bool:
        # A process that was forked while the others were being found outlives them.
        left = self.processes()
        kill_all_at_once(left)
        return not left

    def remove(self) -> None:
        """Ends it, however it stands, and removes what it left."""
        self.kill()
        shutil.rmtree(self._home)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # -- asking --------------------------------------------------------------------------------------------------------

    @property
    def socket_folder(self) -> Path:
        """What `host` of a libpq address says."""
        return self._run

    @property
    def url(self) -> str:
        """Its address, of the superuser."""
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = _SUPERUSER) -> str:
        """The address of another database or user."""
        return f"postgresql://{user}@/{database}?host={quote(str(self._run))}&port=5432"

    def ask(self, statement: str) -> Any:
        """One statement on a connection of its own; its first value."""
        return ask(self.url, statement)

    def set(self, name: str, value: str) -> None:
        """One setting from now on; most processes know it a moment later."""
        self.ask(f"alter system set {name} = '{value}'")
        self.ask("select pg_reload_conf()")
        until(lambda: self.ask(f"show {name}") == value, message=f"{name} is {value!r}")

    def processes(self) -> list[int]:
        """All that work in its data folder."""
        return working_in(self.data)

    def process_named(self, title: str) -> int:
        """The process of the server whose title holds `title`."""

        def found() -> list[int]:
            return [pid for pid in self.processes() if title in _title(pid)]

        return until(found, 10, f"a {title}")[0]

    @property
    def runs(self) -> bool:
        """Its first process lives."""
        return self._server is not None and not self._ended()

    def log(self) -> str:
        """All it has written."""
        return self.log_path.read_text(errors="replace")

    def give(self, path: Path) -> None:
        """To the server's account."""
        os.chown(path, self.account.uid, self.account.gid)
        if path.is_dir():
            path.chmod(0o700)

    def run(self, program: str, *arguments: str) -> None:
        """One of its programs, as its account, to its end."""
        command = ["setpriv", *self._identity(), str(self._bin_dir / program), *arguments]
        ended = subprocess.run(command, cwd=self._home, check=False, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, f"{program}: {ended.stderr[-2000:]}"

    def _as_source(self) -> str:
        return f"host={self._run} port=5432 user={_SUPERUSER} dbname=postgres application_name=standby"

    def _ended(self) -> bool:
        return self._server is None or self._server.poll() is not None

    def _identity(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["--reuid", str(self.account.uid), "--regid", str(self.account.gid), "--clear-groups"]


def _title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
