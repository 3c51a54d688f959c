"""What the processes of one program counted, each in files of its own, summed when somebody scrapes."""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric, multiprocess


class MetricFiles(multiprocess.MultiProcessCollector):
    """The library's, without files that another process is just creating: they are empty for a moment, and one of them
    would fail the whole scrape.
    """

    def collect(self) -> Iterable[Metric]:
        """Every metric of every process."""
        files = [str(path) for path in Path(self._path).glob("*.db") if _size(path)]
        return self.merge(files)  # type: ignore[no-any-return, no-untyped-call]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # Of a worker that has just died.
        return 0
