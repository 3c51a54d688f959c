"""What a child is from its first instruction on, and what it takes from its parent: nothing it should not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import forks
from support.small_pool import SmallPool


def _run(what: str) -> Any:
    """In a process of its own, since it forks; what it printed last."""
    return json.loads(_output(what).splitlines()[-1])


def _output(what: str) -> str:
    return subprocess.run(
        [sys.executable, forks.__file__, what],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_a_signal_right_after_the_fork_reaches_the_childs_own_inbox() -> None:
    *codes, in_parent = _run("told_at_birth")
    assert codes == [0] * 50
    assert in_parent == 0


def test_a_signal_before_the_fork_stays_the_parents() -> None:
    assert _run("told_before_birth") == [0, 1]


def test_a_childs_signals_do_not_wake_its_parent_nor_its_end_make_it_deaf() -> None:
    assert _run("inboxes_apart") == [1, 0, 1, 1]


def test_a_child_handles_only_the_pools_signals_and_blocks_none() -> None:
    seen = _run("handlers")
    pools = sorted(["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2"])
    assert seen == {role: {"caught": pools, "blocked": []} for role in ("worker", "steward")}


def test_no_child_is_forked_beside_a_thread() -> None:
    assert "no thread may run" in _run("beside_a_thread")


def test_a_child_whose_parent_is_already_gone_leaves_at_once() -> None:
    # Its own pid cannot be its parent's; the second child's parent is the one it expects.
    assert _run("parent_already_gone") == [0, 9]


def test_a_target_that_fails_says_why_and_what_was_printed_appears_once() -> None:
    lines = _output("uncaught").splitlines()
    assert lines[:2] == ["said once by the parent", "said by the child"]
    assert json.loads(lines[2]) == {"code": 3, "boot_error": "LookupError: no such kind"}
    assert len(lines) == 3


def test_a_log_that_fails_at_the_end_does_not_let_a_child_into_its_parents_code() -> None:
    # A child that got there would go on as a second parent, and print too.
    assert _output("cannot_flush_its_log").splitlines() == ["5"]


def test_children_have_their_own_random_numbers(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="draws", workers=4) as pool:
        numbers = [line["number"] for line in pool.wait_for("drew", 4)]
        assert len(set(numbers)) == 4


def test_a_child_is_named_by_its_slot(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="shows_itself") as pool:
        names = pool.wait_for("name", 2)
        assert {line["name"] for line in names} == {f"windlass-w{line['slot']}" for line in names}


def test_a_child_has_the_board_and_its_own_inbox_open_and_nothing_of_its_parents(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="shows_itself") as pool:
        first, second = (line["open"] for line in pool.wait_for("descriptors", 2))
        assert {name for name in first if "windlass-board" not in name and not name.startswith("pipe:")} == set()
        assert len([name for name in first if name.startswith("pipe:")]) == 2
        assert all("windlass-board" in name for name in set(first) & set(second))


def test_what_a_child_wrote_last_is_not_lost(tmp_path: Path) -> None:
    with SmallPool(tmp_path, worker="shows_itself") as pool:
        pool.ready(2)
        pool.send(signal.SIGTERM)
        assert pool.ends() == 0
        assert (tmp_path / "stdout").read_text() == "last words\n" * 2
