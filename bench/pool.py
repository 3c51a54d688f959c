"""The real pool as a program."""

import signal
import subprocess
import sys
from types import TracebackType

from bench import processes
from bench.database import open_connection
from sql import stats

_LOOK_SECONDS = 0.1
_BEGUN = "select case when is_called then last_value else 0 end from windlass.fence"
_LEFT = """
select exists (select from windlass.running)
    or exists (select from windlass.ready where starts_with(kind, 'bench_') and run_at <= now())
"""


class Pool:
    """`python -m workerpool` on the database at `url`, with the kinds of bench.kinds. `settings` are variables; of a
    `silent` one nobody wants to read what goes wrong.
    """

    def __init__(self, url: str, workers: int = 2, *, silent: bool = False, **settings: str) -> None:
        self._conn = open_connection(url)
        self._workers = workers
        self._begun_before = self.begun()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workerpool"],
            cwd=processes.ROOT,
            stderr=subprocess.DEVNULL if silent else None,
            env=processes.environment(
                **{
                    "DATABASE_URL": url,
                    "WORKER_PROCESSES": str(workers),
                    "WORKER_METRICS_BIND_ADDR": "127.0.0.1:0",
                    **settings,
                }
            ),
        )

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._conn.close()
        if code and error is None:
            raise SystemExit(f"the pool ended with {code}")

    def wait_until_ready(self) -> None:
        """Until every worker has registered."""
        processes.wait_for(lambda: self.lives() and len(self.worker_pids()) == self._workers, 60, "all workers work")

    def wait_until_drained(self, seconds: float = 3600) -> None:
        """Until no job waits or runs. Jobs that nobody will run would keep it waiting: see `wait_until_done`."""
        processes.wait_for(lambda: self.lives() and not stats.depths(self._conn), seconds, "drained", _LOOK_SECONDS)

    def wait_until_done(self, count: int, seconds: float = 3600) -> None:
        """Until this pool has run `count` jobs and none is left for it; other kinds and later jobs may be."""
        processes.wait_for(lambda: self.lives() and self._has_done(count), seconds, f"{count} jobs done", _LOOK_SECONDS)

    def begun(self) -> int:
        """How many claims there were so far. A sequence's last number costs nothing, where a count reads the table."""
        row = self._conn.fetch_one(_BEGUN)
        assert row is not None
        return int(row[0])

    def worker_pids(self) -> list[int]:
        """Of the workers that run now."""
        living = processes.tree(self.process.pid)
        rows = self._conn.fetch_all("select pid from windlass.workers where lost_at is null")
        return [pid for (pid,) in rows if pid in living]

    def private_mib(self) -> list[float]:
        """Of each worker, MiB."""
        return [processes.private_mib(pid) for pid in self.worker_pids()]

    def cpu_seconds(self) -> float:
        """Seconds of a core that all its living processes have used."""
        return processes.cpu_seconds(processes.tree(self.process.pid))

    def _has_done(self, count: int) -> bool:
        # The look at the tables is dear where a million others wait, so it comes last.
        if self.begun() - self._begun_before < count:
            return False
        row = self._conn.fetch_one(_LEFT)
        return not (row and row[0])

    def lives(self) -> bool:
        """True. Raises SystemExit when it has ended by itself."""
        if self.process.poll() is not None:
            raise SystemExit(f"the pool ended by itself, with {self.process.returncode}")
        return True
