"""Cases carried out one after the other, each of which may fail: the others, and what was found, are not lost by it."""

import traceback
from collections.abc import Callable, Iterable, Sequence

from bench import report


def carry_out(names: Iterable[str], case: Callable[[str], Sequence[str]]) -> list[str]:
    """What is wrong by all of them, the error of one that raised among it."""
    wrong: list[str] = []
    for name in names:
        try:
            wrong += case(name)
        except Exception as error:
            traceback.print_exc()
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    return wrong


def finish(found: report.Report, wrong: Sequence[str]) -> None:
    """Prints and keeps what was found; ends with an error if anything is wrong."""
    found.finish()
    if wrong:
        raise SystemExit("\n".join(wrong))
