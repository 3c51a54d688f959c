"""A real pool, `python -m workerpool` as a program of its own on a real database, seen from the test."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sql.connection import Connection
from support.database import open_connection
from support.effects import VARIABLE, Effects
from support.processes import ROOT, alive
from support.waiting import until


class Pool:
    """Started with the given settings (variables in lower case), by default with the kinds of `fault_kinds`. With a
    `program`, a file that calls `workerpool.run`, it is that which is started; `within` is a command that becomes it.

    `folder` gets its log and its metric files; `effects` is where its handlers write.
    """

    def __init__(
        self,
        database_url: str,
        folder: Path,
        effects: Effects,
        /,
        *,
        program: Path | None = None,
        within: Sequence[str] = (),
        **settings: object,
    ) -> None:
        self.folder, self.effects = folder, effects
        folder.mkdir(exist_ok=True)
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(folder)]),
            # A kind rewritten within one second must not be taken from the cache of its former self.
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATABASE_URL": database_url,
            "KIND_MODULES": "support.fault_kinds",
            "WORKER_PROCESSES": "2",
            "WORKER_METRICS_BIND_ADDR": "127.0.0.1:0",
            "SHUTDOWN_GRACE_SECONDS": "5",
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            VARIABLE: str(effects.folder),
            **{name.upper(): str(value) for name, value in settings.items()},
        }
        self.workers_wanted = int(environ["WORKER_PROCESSES"])
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*within, sys.executable, *(["-m", "workerpool"] if program is None else [program])],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own, so that a test can signal all of it and nothing else.
                start_new_session=True,
            )
        self._database_url = database_url
        self._over = False

    @cached_property
    def _connection(self) -> Connection:
        # Not before it is asked for: a pool may be started that cannot reach its database either.
        return open_connection(self._database_url)

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """All it has written so far."""
        return (self.folder / "log").read_text(errors="replace")

    def said(self, text: str) -> int:
        """How many of its log messages hold `text`."""
        return sum(text in message for message in self.messages())

    def messages(self) -> list[str]:
        """Of its log, one a record."""
        messages = []
        for line in self.log.splitlines():
            try:
                messages.append(json.loads(line)["message"])
            except (ValueError, KeyError, TypeError):
                messages.append(line)
        return messages

    def has_begun(self) -> bool:
        """Its supervisor hears signals: it does from just before it starts its children."""
        return self.said("in slot 1 started") > 0

    def page(self) -> str:
        """Its /metrics, as text."""
        with urllib.request.urlopen(self._metrics_url(), timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, sample: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels; 0 without one."""
        return sum(value for name, has, value in self._samples() if name == sample and labels.items() <= has.items())

    def counters(self) -> dict[tuple[str, ...], float]:
        """Everything that must never fall, by name and labels."""
        return {
            (name, *(f"{label}={value}" for label, value in sorted(has.items()))): value
            for name, has, value in self._samples()
            if name.endswith(("_total", "_count", "_sum", "_bucket"))
        }

    def _samples(self) -> list[tuple[str, dict[str, str], float]]:
        families = text_string_to_metric_families(self.page())
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def address(self) -> str:
        """Host and port of its metrics."""
        return self._metrics_url().split("/")[2]

    def _metrics_url(self) -> str:
        return until(lambda: re.findall(r"http://[\d.:]+/metrics", self.log), 10, "it says where its metrics are")[0]

    def stewards(self) -> int:
        """How many times a steward has begun its work."""
        return self.said("hears the hints") + self.said("polling only")

    # -- who is there -------------------------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """Pids of the worker processes, ready or not."""
        return self.called("windlass-w")

    def steward(self) -> int:
        """Pid of the steward, once there is one."""
        return until(lambda: self.called("windlass-s"), 5, "a steward")[0]

    def registered(self) -> dict[int, int]:
        """Pid → identity of the workers that have one."""
        rows = self._connection.fetch_all("select pid, id from windlass.workers where lost_at is null order by id")
        living = set(self.workers())
        return {pid: identity for pid, identity in rows if pid in living}

    def ready(self, workers: int | None = None, seconds: float = 20.0) -> "Pool":
        """Itself, once all its workers, or so many, are registered and its steward knows whether it hears hints."""
        count = workers or self.workers_wanted
        until(lambda: self.ended or len(self.registered()) == count == len(self.workers()), seconds, f"{count} workers")
        until(lambda: self.ended or self.stewards(), seconds, "the steward knows whether it hears hints")
        assert not self.ended, "the pool has ended"
        return self

    @property
    def ended(self) -> bool:
        """The supervisor is gone."""
        return self.process.poll() is not None

    def everyone(self) -> list[int]:
        """All living processes of its session."""
        return [pid for pid in _pids() if _session(pid) == self.process.pid and alive(pid)]

    def called(self, prefix: str) -> list[int]:
        return [pid for pid in self.everyone() if _name(pid).startswith(prefix)]

    # -- what is done to it -------------------------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        """To the supervisor."""
        self.process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """To the supervisor and all its children, as a terminal or a platform does."""
        os.killpg(self.process.pid, number)

    def ends(self, seconds: float) -> int:
        """Its exit code; it must be gone, with everyone, in so many seconds."""
        code = self.process.wait(seconds)
        assert not self.everyone(), "the supervisor left processes behind"
        return code

    def stop(self) -> int:
        """TERM, and its exit code."""
        self.send(signal.SIGTERM)
        return self.ends(15)

    def end(self, *, show_log: bool = True) -> None:
        """Whatever the test did: nothing of the pool runs on, and pytest has its log to show. Once is enough."""
        if self._over:
            return
        self._over = True
        for pid in self.everyone():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        until(lambda: not self.everyone(), 5, "nobody is left")
        if "_connection" in vars(self):
            self._connection.close()
        if show_log:
            print(f"--- log of {self.folder.name} ---\n{self.log}")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _session(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return None


def start_pools(database_url: str, folder: Path, effects: Effects) -> Any:
    """A function that starts one pool more, and one that ends them all."""
    started: list[Pool] = []

    def start(**settings: object) -> Pool:
        started.append(Pool(database_url, folder / f"pool{len(started) + 1}", effects, **settings))
        return started[-1]

    def end() -> None:
        for pool in started:
            pool.end()

    return start, end
