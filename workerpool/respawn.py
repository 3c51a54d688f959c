"""The respawn brake, pure: the clock is an argument."""


class Brake:
    """Delays the next start after children that died before they were ready; all other deaths cost nothing.

    The delay doubles with each generation of such deaths, from `first` to `cap` seconds, and is forgotten as
    soon as one child gets ready. Children started together and dying together count once, so that a large
    pool is not punished for its size.
    """

    def __init__(self, first: float = 0.25, cap: float = 30.0) -> None:
        self._first, self._cap = first, cap
        self._generations = 0
        self._newest_failure = float("-inf")
        self.open_at = float("-inf")

    def failed(self, *, started_at: float, now: float) -> None:
        """A child started at `started_at` died before it was ready."""
        if started_at < self._newest_failure:
            return
        self._newest_failure = now
        self._generations += 1
        self.open_at = now + min(self._cap, self._first * 2.0 ** min(self._generations - 1, 32))

    def ready(self) -> None:
        """A child reported ready."""
        self._generations = 0
        self.open_at = float("-inf")

    def holds(self, now: float) -> bool:
        """No start yet."""
        return now < self.open_at
