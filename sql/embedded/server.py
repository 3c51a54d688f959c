"""The owner's side: starts a keeper for a folder, and knows the server's address."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from sql.embedded.errors import EmbeddedFailure

_IMPORT_ROOT = Path(__file__).resolve().parents[2]


class EmbeddedServer:
    """A PostgreSQL on `data_dir`, running from `start()` until `stop()` or the end of this process, however it ends.

    Started by root it runs as another account, and the data may lie elsewhere: see `home`. Only this user and the
    server's own account can connect. `tcp_port` opens a loopback port too, behind a password. `durable=False` is for
    data nobody will miss. When the owner dies, clients have `smart_seconds` to leave before their sessions are ended.
    A second owner of the same folder, in this process or another, shares the server; it stops with the last one.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        *,
        bin_dir: str | os.PathLike[str] | None = None,
        tcp_port: int | None = None,
        durable: bool = True,
        smart_seconds: float = 35.0,
        start_seconds: float = 120.0,
    ) -> None:
        self._arguments = ["--data", os.path.abspath(data_dir)]
        if bin_dir is not None:
            self._arguments += ["--bin-dir", os.path.abspath(bin_dir)]
        if tcp_port is not None:
            self._arguments += ["--tcp-port", str(tcp_port)]
        if not durable:
            self._arguments += ["--not-durable"]
        self._arguments += ["--smart-seconds", str(smart_seconds), "--start-seconds", str(start_seconds)]
        self._keeper: subprocess.Popen[bytes] | None = None
        self._said: dict[str, Any] = {}

    def start(self) -> str:
        """Starts the server, or joins the one that runs on the folder, and returns its URL once it answers.

        Raises EmbeddedFailure.
        """
        if self.running:
            return self.url
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "sql.embedded", *self._arguments, "--owner", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=_IMPORT_ROOT,
            start_new_session=True,
        )
        said = self._hear()
        if "error" in said:
            self._forget()
            raise EmbeddedFailure(said["error"])
        self._said = said
        return self.url

    def stop(self) -> None:
        """Stops the server at once, ending every session; if others share it, leaves it to them."""
        if self._keeper is None:
            return
        # Never true in a forked child, whose child the keeper is not.
        if self._keeper.poll() is None:
            self._keeper.send_signal(signal.SIGINT)
            if "shared" in self._hear():
                # It goes on for the others: not ours to wait for.
                self._keeper.returncode = 0
        self._forget()

    @property
    def running(self) -> bool:
        """Whether the keeper lives. It starts a server that died again, so a running one may be down for a moment."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def url(self) -> str:
        """The address over the unix socket. It carries no secret and stays the same over restarts."""
        return str(self._said["url"])

    @property
    def tcp_url(self) -> str:
        """The address over TCP, with its password. Only with `tcp_port`."""
        if self._said["tcp_url"] is None:
            raise EmbeddedFailure("the server does not listen on TCP: it was started without tcp_port")
        return str(self._said["tcp_url"])

    @property
    def home(self) -> Path:
        """The folder that really holds the data."""
        return Path(self._said["home"])

    @property
    def log(self) -> Path:
        """The server's log."""
        return Path(self._said["log"])

    @property
    def pid(self) -> int:
        """The process id of the server now. Raises EmbeddedFailure while it is down."""
        try:
            return int((self.home / "data" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError) as error:
            raise EmbeddedFailure("the server is down") from error

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _hear(self) -> dict[str, Any]:
        """What the keeper says next; an error when it ends instead."""
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line:
            return {"error": f"the keeper of PostgreSQL ended with code {self._keeper.wait()}"}
        return dict(json.loads(line))

    def _forget(self) -> None:
        keeper, self._keeper = self._keeper, None
        assert keeper is not None
        assert keeper.stdout is not None
        keeper.stdout.close()
        keeper.wait()
