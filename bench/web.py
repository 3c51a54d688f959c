"""The real web service as a program."""

import http.client
import signal
import socket
import subprocess
import sys
from types import TracebackType

from bench import processes


class Web:
    """What `windlass web` becomes, gunicorn with `processes` workers, on a free loopback port."""

    def __init__(self, database_url: str, workers: int = 2, **settings: str) -> None:
        self.host = "127.0.0.1"
        with socket.socket() as taken:
            taken.bind((self.host, 0))
            self.port = int(taken.getsockname()[1])
        self.url = f"http://{self.host}:{self.port}"
        self._workers = workers
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.commands.serve", "-c", "python:app.server", "app.wsgi:app"],
            cwd=processes.ROOT,
            env=processes.environment(
                **{
                    "DATABASE_URL": database_url,
                    "API_BIND_ADDR": f"{self.host}:{self.port}",
                    "WEB_CONCURRENCY": str(workers),
                    **settings,
                }
            ),
        )

    def __enter__(self) -> "Web":
        self.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code and error is None:
            raise SystemExit(f"the web service ended with {code}")

    def wait_until_ready(self) -> None:
        """Until it answers with all its workers."""
        processes.wait_for(self._answers, 30, "the web service answers")
        processes.wait_for(lambda: len(self.pids()) > self._workers, 30, "all web workers run")

    def connect(self) -> http.client.HTTPConnection:
        """A keep-alive connection that sends at once."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def pids(self) -> list[int]:
        """gunicorn's master and its workers."""
        return processes.tree(self.process.pid)

    def cpu_seconds(self) -> float:
        """Seconds of a core that all its living processes have used."""
        return processes.cpu_seconds(self.pids())

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"the web service ended by itself, with {self.process.returncode}")
        try:
            connection = self.connect()
        except OSError:
            return False
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
