"""The attacks that are published are those of the suite."""

import pytest
from support.processes import ROOT

from bench.attacks import ATTACKS


@pytest.mark.parametrize("subject", ATTACKS)
def test_every_file_of_a_subject_is_there(subject: str) -> None:
    assert all((ROOT / "tests" / file).is_file() for file in ATTACKS[subject])


def test_whatever_publishes_a_figure_belongs_to_a_subject() -> None:
    publishes = {
        path.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if "publish(" in path.read_text(encoding="utf-8") and path.name != "test_attacks.py"
    }
    assert publishes <= {file for files in ATTACKS.values() for file in files}
    assert len(publishes) > 10
