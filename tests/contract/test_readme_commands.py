"""README's commands, taken from its text and run as they stand there, against a real service."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.readme import README, get, run
from support.service import Surroundings
from support.waiting import until

pytestmark = pytest.mark.needs_curl

WALK = README.blocks("sh", "A walk with curl")[0]


@pytest.fixture
def surroundings(database_url: str) -> Iterator[Surroundings]:
    """A place for `windlass up` on the test's database."""
    made = Surroundings(DATABASE_URL=database_url)
    yield made
    made.clear()


def test_the_walk_answers_what_the_readme_says(surroundings: Surroundings) -> None:
    surroundings.up()
    walked = run(surroundings, WALK)
    assert walked.stderr.split() == re.findall(r"^#[^→]*→ (\d{3})", WALK, re.MULTILINE)
    assert len(walked.stderr.split()) == len(re.findall(r"^curl ", WALK, re.MULTILINE))
    assert "Link: </jobs?kind=summarize_text&limit=2&cursor=" in walked.stdout
    assert [found["status"] for found in _results(walked.stdout)] == [201, 422]
    # The first enqueue, the one queued anew, and the good one of the bulk.
    until(lambda: len(get(surroundings, "/jobs?status=succeeded")) == 3, 20, "all that a pool runs has run")
    summaries = [job["result"]["summary"] for job in get(surroundings, "/jobs?status=succeeded&kind=summarize_text")]
    assert "A winch lifts loads." in summaries


def _results(output: str) -> list[dict[str, Any]]:
    line = next(line for line in output.splitlines() if line.startswith('{"results":'))
    results: list[dict[str, Any]] = json.loads(line)["results"]
    return results


def test_the_command_of_the_walk_prints_the_id(surroundings: Surroundings) -> None:
    surroundings.up()
    (command,) = re.findall(r"`(windlass enqueue [^`]+)`", README.section("A walk with curl"))
    job_id = run(surroundings, command).stdout.strip()
    assert get(surroundings, f"/jobs/{job_id}")["kind"] == "summarize_text"


def test_the_two_commands_stand_at_the_top() -> None:
    assert README.blocks("sh")[:3] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/windlass up\n",
        ".venv/bin/windlass demo\n",
        ".venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest\n",
    ]
