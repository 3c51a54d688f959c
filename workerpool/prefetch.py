"""How many jobs to take at once: so many that they last nearly 100 ms at the recent pace."""

from collections.abc import Iterable

# Long enough to hide the round trip, short enough that what waits in one worker's hands is soon started or taken back:
# four workers with a handler of 1 ms come to 79 % of a bare loop with half as much, and to 88 % with this.
# A little shorter than successes are kept: else each batch would be settled twice, the second time for its last jobs.
BATCH_SECONDS = 0.095
_WEIGHT = 0.2


class Pace:
    """The recent mean time of a job of each kind, in this worker.

    slow  kinds of which a job takes longer than a whole batch should
    """

    def __init__(self, most: int) -> None:
        self.slow: set[str] = set()
        self._most = most
        self._seconds: dict[str, float] = {}
        self._latest: set[str] = set()

    def took(self, kinds: Iterable[str]) -> None:
        """A batch of these kinds was claimed: the next is sized for the slowest of them."""
        self._latest = set(kinds)

    def ran(self, kind: str, seconds: float) -> None:
        """A job of `kind` took `seconds`. A slow job counts at once, quick ones bring the mean back."""
        known = self._seconds.get(kind)
        mean = seconds if known is None or seconds > 4 * known else known + _WEIGHT * (seconds - known)
        self._seconds[kind] = mean
        if mean > BATCH_SECONDS:
            self.slow.add(kind)
        elif self.slow:
            self.slow.discard(kind)

    def batch(self) -> int:
        """How many to take next; 1 until something is known."""
        slowest = max((self._seconds.get(kind, BATCH_SECONDS) for kind in self._latest), default=BATCH_SECONDS)
        return max(1, min(self._most, int(BATCH_SECONDS / max(slowest, 1e-6))))
