"""Wrong wall clocks: a process and its children are told another time, which may jump while they run.

Only the wall clock: what a step of the clock leaves alone, CLOCK_MONOTONIC above all, is left alone here too.
"""

import struct
import subprocess
from pathlib import Path

from support.programs import path_of

_SOURCE = Path(__file__).with_suffix(".c")


class WrongClock:
    """In `folder`, which may hold several. `environ` is for the process that is to look at it."""

    def __init__(self, folder: Path, name: str, seconds: float = 0.0) -> None:
        library = folder / "wrong_clock.so"
        if not library.exists():
            compiler = path_of("needs_c_compiler")
            subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", library, _SOURCE], check=True)
        self._file = folder / name
        self._file.write_bytes(bytes(8))
        self.set(seconds)
        self.environ = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(self._file)}

    def set(self, seconds: float) -> None:
        """From now on the clock is so far ahead of the right time."""
        # In place: the processes have the file in their memory.
        with open(self._file, "r+b", buffering=0) as file:
            file.write(struct.pack("q", round(seconds * 1e9)))
