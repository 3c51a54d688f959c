"""The `windlass` command as a process of its own, with addresses and a data folder that nobody else uses."""

import codecs
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.ports import free_port
from support.processes import alive
from support.server import reachable_folder
from support.waiting import until

WINDLASS = Path(sys.executable).with_name("windlass")


class Surroundings:
    """An environment for one service. `environ` starts from nothing that a developer may have set."""

    def __init__(self, **variables: str) -> None:
        self.folder = reachable_folder()
        self.port, self.metrics_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            "PATH": os.pathsep.join([str(WINDLASS.parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(self.folder),
            "WINDLASS_DATA": str(self.folder / "data"),
            "WINDLASS_URL": self.url,
            "API_BIND_ADDR": f"127.0.0.1:{self.port}",
            "WORKER_METRICS_BIND_ADDR": f"127.0.0.1:{self.metrics_port}",
            "WORKER_PROCESSES": "2",
            "WEB_CONCURRENCY": "1",
            "SHUTDOWN_GRACE_SECONDS": "10",
            "LOG_FORMAT": "text",
            **variables,
        }
        self._started: list[Running] = []

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        return subprocess.run(
            [WINDLASS, *arguments],
            env=self.environ | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def start(self, *arguments: str, program: str = "windlass", **variables: str) -> "Running":
        """A command that goes on until it is ended, at the latest with these surroundings.

        `program` is the name of one beside `windlass`, or an absolute path.
        """
        command = [WINDLASS.parent / program, *arguments]
        self._started.append(Running(command, self.environ | variables, self.folder))
        return self._started[-1]

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator["Terminal"]:
        """A `windlass` command at a terminal of its own, which is closed in the end."""
        terminal = Terminal(arguments, self.environ, self.folder)
        try:
            yield terminal
        finally:
            terminal.close()

    def up(self, **variables: str) -> "Running":
        """A `windlass up` that is ready."""
        running = self.start("up", **variables)
        until(lambda: running.ended or "windlass is up" in running.output, 60, "windlass up is ready")
        assert not running.ended, running.output
        return running

    def everybody(self) -> list[int]:
        """All living processes with these surroundings, whoever their parent is."""
        mark = f"WINDLASS_DATA={self.environ['WINDLASS_DATA']}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                belongs = entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if belongs and alive(int(entry.name)):
                found.append(int(entry.name))
        return found + self.database()

    def end(self) -> None:
        """Ends what still runs."""
        for running in self._started:
            running.end()

    def roles(self, name: str) -> list[int]:
        """The processes that lead a role, each in a session of its own."""
        words = {"web": b"app.wsgi:app", "worker": b"workerpool", "keeper": b"sql.embedded"}[name]
        return [
            pid
            for pid in self.everybody()
            if words in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") and os.getsid(pid) == pid
        ]

    def clear(self) -> None:
        """Ends what still runs, and removes the folder."""
        self.end()
        for pid in self.everybody():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not self.everybody(), 10, "nobody is left")
        for running in self._started:
            running.hear_out()
        shutil.rmtree(self.folder)

    def database(self) -> list[int]:
        """The server of an embedded PostgreSQL, which has an environment of its own."""
        try:
            pid = int((self.folder / "data/postgresql/data/postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return []
        return [pid] if alive(pid) else []


class Running:
    """A command that goes on, and all it has said so far."""

    def __init__(self, command: Sequence[str | Path], environ: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._deaf = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """The process is gone; its output may still be coming."""
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """To the process itself."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9. What it started may go on, and may go on talking."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float) -> int:
        """Its exit code, once it is gone and all it said is in `output`."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def end(self) -> None:
        """TERM, and KILL if that is not enough."""
        if not self.ended:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def stop_reading(self) -> None:
        """Closes our end of its output after the next line, as `| head` would."""
        self._deaf = True

    def hear_out(self) -> None:
        """Waits for the last of its output: whoever could write it is gone."""
        self._reader.join(20)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            for line in said:
                self.output += line
                if self._deaf:
                    return


class Terminal:
    """A command at a pseudo-terminal that is its controlling one, as in somebody's window."""

    _LEAD = (
        "import fcntl, os, sys, termios\n"
        "os.setsid()\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )

    def __init__(self, arguments: Sequence[str], environ: dict[str, str], folder: Path) -> None:
        self._window, inside = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", self._LEAD, WINDLASS, *arguments],
            env=environ | {"TERM": "xterm", "COLUMNS": "100"},
            cwd=folder,
            stdin=inside,
            stdout=inside,
            stderr=inside,
        )
        os.close(inside)
        self.said = ""
        self._leave = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._closed = False

    def press(self, keys: bytes) -> None:
        """What the keyboard would send; b"\x03" is Ctrl-C."""
        os.write(self._window, keys)

    def wait(self, seconds: float) -> int:
        """The command's exit code, once it is gone and all it said is in `said`."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def close(self) -> None:
        """As closing the window: the kernel sends SIGHUP."""
        if not self._closed:
            self._closed = True
            # The reader must be gone before the descriptor is: another file could get its number.
            self._leave.set()
            self._reader.join(5)
            os.close(self._window)
        self.process.wait(60)

    def _read(self) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while not self._leave.is_set():
            if not select.select([self._window], [], [], 0.1)[0]:
                continue
            try:
                self.said += decode(os.read(self._window, 65536)).replace("\r\n", "\n")
            except OSError:
                # Nobody has the other side open any more.
                return


class HeldWebhooks:
    """A webhook receiver that keeps its callers waiting until `let_go`: jobs that run for as long as a test likes."""

    def __init__(self) -> None:
        self.arrived = 0
        self.let_go = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.arrived += 1
                receiver.let_go.wait(60)
                # A caller that was killed meanwhile hears nothing.
                with contextlib.suppress(OSError):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/held"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])

    def __enter__(self) -> "HeldWebhooks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
