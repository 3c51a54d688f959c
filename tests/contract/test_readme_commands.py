"""README's commands, taken from its text and run as they stand there, against a real service."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from support.documents import Document
from support.service import Surroundings
from support.waiting import until

pytestmark = pytest.mark.needs_curl

README = Document("README.md")
WALK = README.blocks("sh", "A walk with curl")[0]
EXAMPLE = README.blocks("python", "Your own kind")[0]
START, ENQUEUE = README.blocks("sh", "Your own kind")


@pytest.fixture
def surroundings(database_url: str) -> Iterator[Surroundings]:
    """A place for `windlass up` on the test's database."""
    made = Surroundings(DATABASE_URL=database_url)
    yield made
    made.clear()


def run(surroundings: Surroundings, commands: str) -> subprocess.CompletedProcess[str]:
    """Shell commands as README has them; standard error ends up as the status code of each curl, in order.

    A curlrc leads README's address to the port of the test and adds the status, so that not a letter of them changes.
    """
    curlrc = surroundings.folder / ".curlrc"
    curlrc.write_text(
        f'connect-to = "127.0.0.1:8080:127.0.0.1:{surroundings.port}"\nwrite-out = "%{{stderr}}%{{http_code}}\\n"\n'
    )
    return subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=surroundings.folder,
        env=surroundings.environ | {"CURL_HOME": str(surroundings.folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def get(surroundings: Surroundings, path: str) -> Any:
    return urllib3.request("GET", surroundings.url + path, retries=False).json()


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


def test_the_own_kind_runs_as_written(surroundings: Surroundings) -> None:
    folder = surroundings.folder
    (folder / "acme_jobs.py").write_text(EXAMPLE)
    *before, start = START.strip().splitlines()
    run(surroundings, "\n".join(before))
    surroundings.up(**_assignments(start.replace("$PWD", str(folder))))
    enqueued = run(surroundings, ENQUEUE)
    assert enqueued.stderr.split() == ["201"]
    job_id = json.loads(enqueued.stdout)["id"]
    job = until(lambda: _ended(surroundings, job_id), 20, "the report is written")
    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert job["result"] == {"file": f"{job_id}.txt", "lines": 2}
    assert (folder / "reports" / f"{job_id}.txt").read_text() == "Cargo\n1. rope\n2. tar\n"
    # The other ways out of the example.
    empty = _enqueue(surroundings, {"title": "Nothing", "lines": []})
    assert until(lambda: _ended(surroundings, empty), 20)["last_error"] == "a report needs at least one line"
    (folder / "reports").rename(folder / "elsewhere")
    waiting = _enqueue(surroundings, {"title": "Cargo", "lines": ["rope"]})
    job = until(lambda: (found := get(surroundings, f"/jobs/{waiting}"))["status"] == "retrying" and found, 20)
    assert job["last_error"].endswith("/reports is not there")
    assert job["run_at"] > job["updated_at"]


def _assignments(line: str) -> dict[str, str]:
    *assignments, program, command = shlex.split(line)
    assert (program, command) == (".venv/bin/windlass", "up")
    return dict(pair.split("=", 1) for pair in assignments)


def _enqueue(surroundings: Surroundings, payload: dict[str, Any]) -> str:
    body = {"kind": "write_report", "payload": payload}
    answer = urllib3.request("POST", f"{surroundings.url}/jobs", json=body, retries=False)
    assert answer.status == 201
    return str(answer.json()["id"])


def _ended(surroundings: Surroundings, job_id: str) -> dict[str, Any] | None:
    job: dict[str, Any] = get(surroundings, f"/jobs/{job_id}")
    return job if job["status"] in ("succeeded", "failed_permanent", "cancelled") else None


def test_the_two_commands_stand_at_the_top() -> None:
    assert README.blocks("sh")[:3] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/windlass up\n",
        ".venv/bin/windlass demo\n",
        ".venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest\n",
    ]
