"""A control is found by its own figure, and by nothing else that went wrong."""

import pytest
from faults.harness.controls import by_figures
from faults.harness.power import damage_in


@pytest.mark.parametrize("figures", [{"lost": 0, "exits": 1}, {"lost": 0, "refusals": ["lost"]}])
def test_a_control_is_not_found_by_another_figure_or_a_word(figures: dict[str, object]) -> None:
    assert not by_figures("a server that loses", "lost", figures).caught


def test_a_control_is_found_by_its_own_figure() -> None:
    assert by_figures("a server that loses", "lost", {"lost": 3, "exits": 0}).caught


def test_a_control_without_its_figure_is_an_error() -> None:
    with pytest.raises(KeyError):
        by_figures("a server that loses", "lost", {"exits": 1})


@pytest.mark.parametrize(
    "line",
    [
        "PANIC:  could not locate a valid checkpoint record at 0/1A2B3C8",
        'FATAL:  could not open file "global/pg_filenode.map": No such file or directory',
        'ERROR:  invalid page in block 3 of relation "base/5/16400"',
    ],
)
def test_a_server_whose_log_names_damage_has_lost_its_data(line: str) -> None:
    assert damage_in(f"LOG:  starting PostgreSQL\n{line}\n") == line


@pytest.mark.parametrize(
    "line",
    [
        "LOG:  invalid record length at 0/1A2B3C8: expected at least 24, got 0",
        'FATAL:  lock file "postmaster.pid" already exists',
        "FATAL:  could not map anonymous shared memory: Cannot allocate memory",
        'PANIC:  could not write to file "pg_wal/xlogtemp.31": No space left on device',
    ],
)
def test_a_server_that_does_not_start_for_another_reason_has_lost_nothing(line: str) -> None:
    assert not damage_in(f"LOG:  starting PostgreSQL\n{line}\n")
