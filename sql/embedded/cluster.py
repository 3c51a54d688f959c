"""One data folder and the server on it: made, started, found running, addressed. Runs as the server's account."""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sql.embedded.binaries import major_version
from sql.embedded.errors import EmbeddedFailure
from sql.embedded.places import PGDATA, private_folder

_SUPERUSER = "postgres"
_PORT = 5432
_SOCKET_PATH_BYTES = 107
_LOG_BYTES = 8 * 1024 * 1024
_PR_SET_PDEATHSIG = 1

_HBA = """\
# Written at every start. Over the socket the kernel says who asks; over TCP, where asked for, a password does.
local all all peer map=windlass
host all all 127.0.0.1/32 scram-sha-256
"""


class Running(NamedTuple):
    """What postmaster.pid says: of which process, where it listens, whether it answers yet."""

    pid: int
    port: int
    socket_dir: Path
    tcp: bool
    ready: bool


class Cluster:
    """The data folder `home`/data with its socket, log and password beside it."""

    def __init__(self, home: Path, bin_dir: Path, *, client_uid: int, tcp_port: int | None, durable: bool) -> None:
        self.home = home
        self.pgdata = home / PGDATA
        self.log = home / "postgresql.log"
        self._bin_dir = bin_dir
        self._client_uid = client_uid
        self._tcp_port = tcp_port
        self._durable = durable
        self._log_start = 0

    # -- locks: held by file descriptor, so that no death of any process leaves one behind

    def take_server_lock(self) -> int | None:
        """The right to run the server, or None when another keeper or any process of its server still has it."""
        return self._lock("server.lock", fcntl.LOCK_EX)

    def take_user_lock(self, *, alone: bool) -> int | None:
        """A share in the running server, or with `alone` the proof that nobody else has one."""
        return self._lock("users.lock", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)

    def _lock(self, name: str, kind: int) -> int | None:
        handle = os.open(self.home / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    # -- making and starting; only with the server lock

    def prepare(self, lock: int) -> None:
        """Makes the data folder if there is none. Raises EmbeddedFailure when it is of another version."""
        if (self.pgdata / "PG_VERSION").exists():
            found, ours = (self.pgdata / "PG_VERSION").read_text(encoding="utf-8").strip(), major_version(self._bin_dir)
            if found != str(ours):
                raise EmbeddedFailure(
                    f"the data in {self.pgdata} are of PostgreSQL {found}, the programs in {self._bin_dir} of {ours}: "
                    f"start it with programs of {found}, save it with pg_dump and load that into an empty folder; "
                    f"or move {self.home} away to begin anew"
                )
        elif self.pgdata.exists():
            raise EmbeddedFailure(f"{self.pgdata} holds other things: the database needs a folder of its own")
        else:
            self._initialise(lock)
        self._remove_stale_locks()

    def launch(self, lock: int) -> subprocess.Popen[bytes]:
        """Starts the server. It and all its processes share `lock`, and end when the calling process does."""
        accounts = {os.geteuid(), self._client_uid}
        names = [pwd.getpwuid(uid).pw_name for uid in sorted(accounts)]
        (self.home / "pg_hba.conf").write_text(_HBA, encoding="utf-8")
        ident = "".join(f'windlass "{name}" {_SUPERUSER}\n' for name in names)
        (self.home / "pg_ident.conf").write_text(ident, encoding="utf-8")
        settings = {
            "port": self._tcp_port or _PORT,
            "listen_addresses": "127.0.0.1" if self._tcp_port else "",
            "unix_socket_directories": f'"{self._socket_dir()}"',
            "hba_file": self.home / "pg_hba.conf",
            "ident_file": self.home / "pg_ident.conf",
            # Statements and DETAIL lines carry payloads, and those do not belong in a log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.rename(self.log.with_suffix(".log.old"))
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            return self._spawn(
                [self._bin_dir / "postgres", "-D", self.pgdata, *(f"--{k}={v}" for k, v in settings.items())],
                lock,
                signal.SIGINT,
                log.fileno(),
            )

    def _initialise(self, lock: int) -> None:
        draft = self.home / f"{PGDATA}.new"
        shutil.rmtree(draft, ignore_errors=True)
        password = self.home / "password"
        password.unlink(missing_ok=True)
        with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(24))
        command = [
            self._bin_dir / "initdb",
            f"--pgdata={draft}",
            f"--username={_SUPERUSER}",
            f"--pwfile={password}",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
            "--data-checksums",
            *([] if self._durable else ["--no-sync"]),
        ]
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            if self._spawn(command, lock, signal.SIGKILL, log.fileno()).wait() != 0:
                raise EmbeddedFailure(f"initdb failed\n{self.log_tail()}")
        draft.rename(self.pgdata)
        if self._durable:
            handle = os.open(self.home, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

    def _spawn(
        self, command: list[object], lock: int, at_our_death: signal.Signals, log: int
    ) -> subprocess.Popen[bytes]:
        keeper = os.getpid()
        libc = ctypes.CDLL(None, use_errno=True)

        def before_exec() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, int(at_our_death))
            # The keeper may have died before the kernel was told.
            if os.getppid() != keeper:
                os._exit(1)

        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.home,
            # The owner's environment holds tokens, and PG* variables would change what is started.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home)},
            pass_fds=[lock],
            preexec_fn=before_exec,
        )

    def _remove_stale_locks(self) -> None:
        """After a power cut another process may have the dead server's pid, and PostgreSQL then refuses for ever."""
        pid = self._recorded_pid()
        if pid is not None and _works_in(pid, self.pgdata):
            return
        if pid is not None and Path(f"/proc/{pid}").exists():
            (self.pgdata / "postmaster.pid").unlink(missing_ok=True)
        for leftover in self._socket_dir().glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)

    def _recorded_pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.pgdata / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        return None

    def _socket_dir(self) -> Path:
        inside = self.home / "run"
        if len(os.fsencode(inside / f".s.PGSQL.{self._tcp_port or _PORT}")) <= _SOCKET_PATH_BYTES:
            return private_folder(inside)
        # The kernel takes no longer path for a socket.
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return private_folder(Path("/tmp") / f"windlass-{os.geteuid()}-{name}")

    # -- looking at it

    def running(self) -> Running | None:
        """What a living server says of itself, or None."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            pid, port, socket_dir, address, status = (lines[0], *lines[3:6], lines[7])
            said = Running(int(pid), int(port), Path(socket_dir), bool(address.strip()), status.strip() == "ready")
        except (OSError, ValueError, IndexError):
            return None
        return said if _works_in(said.pid, self.pgdata) else None

    def urls(self, running: Running) -> dict[str, str | None]:
        """The address over the socket, and the one over TCP if it listens there; that one carries the password."""
        url = f"postgresql://{_SUPERUSER}@/postgres?host={quote(str(running.socket_dir))}&port={running.port}"
        tcp_url = None
        if running.tcp:
            password = (self.home / "password").read_text(encoding="utf-8")
            tcp_url = f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{running.port}/postgres"
        return {"url": url, "tcp_url": tcp_url}

    def log_tail(self) -> str:
        """The last lines the latest start wrote."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([f"the last lines of {self.log}:", *(f"  {line}" for line in lines[-12:])])


def _works_in(pid: int, folder: Path) -> bool:
    # Every process of a server works in its data folder.
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False
