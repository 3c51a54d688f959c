"""README's workers in other languages, and its `windlass remote`, run as they stand there on jobs of a real service."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from support import programs
from support.listener import Listener, Reply
from support.readme import README
from support.remote import GATE, Workshop, jobs_body, leased
from support.service import Running, Surroundings
from support.waiting import until

SECTION = "Workers in any language"
REMOTE, SHELL = README.blocks("sh", SECTION)
(NODE,) = README.blocks("js", SECTION)
(PYTHON,) = README.blocks("python", SECTION)
TEXT = "rope and tar"
JOB_ID = "01890000-0000-7000-8000-000000000001"


@pytest.fixture
def workshop(database_url: str) -> Iterator[Workshop]:
    """A web service that wants a token."""
    made = Workshop(Surroundings(DATABASE_URL=database_url, API_TOKEN="the-token-of-clients"))
    yield made
    made.close()


def written(workshop: Workshop, name: str, text: str) -> str:
    """The path of a program with this text."""
    path = workshop.folder / name
    path.write_text(text)
    return str(path)


def check(workshop: Workshop, worker: Running, queue: str, result: Any, error: str) -> None:
    """That the worker succeeds with what has a text, fails what has none, and goes on with the next."""
    first, second, third = (
        workshop.add(payload, queue, max_attempts=1) for payload in ({"text": TEXT}, {"words": 1}, {"text": TEXT})
    )
    for job_id in (first, third):
        job = workshop.ended(job_id)
        assert (job["status"], job["result"], job["attempts"]) == ("succeeded", result, 1), worker.output
    failed = workshop.ended(second)
    assert (failed["status"], failed["attempts"]) == ("failed_permanent", 1)
    assert error in failed["last_error"]
    assert not worker.ended, worker.output


def test_remote_runs_a_command_over_each_job(workshop: Workshop) -> None:
    program, *words = shlex.split(REMOTE)
    assert program == ".venv/bin/windlass"
    worker = workshop.worker("windlass", *words)
    check(workshop, worker, "triage", 1, "exit 1")


@pytest.mark.needs_curl
def test_the_worker_in_shell(workshop: Workshop) -> None:
    worker = workshop.worker("/bin/sh", written(workshop, "worker.sh", SHELL))
    check(workshop, worker, "shell", 3, "grep: exit 1")


@pytest.mark.needs_node
def test_the_worker_in_node(workshop: Workshop) -> None:
    worker = workshop.worker(str(programs.path_of("needs_node")), written(workshop, "worker.mjs", NODE))
    check(workshop, worker, "node", 3, "TypeError")


def test_the_worker_in_python(workshop: Workshop) -> None:
    worker = workshop.worker("python", "-I", "-S", written(workshop, "worker.py", PYTHON))
    check(workshop, worker, "python", 3, "KeyError('text')")


# The same texts with a quicker clock and work that waits for a file.
SLOW_NODE = (
    NODE.replace("30000", "600")
    .replace("10000", "200")
    .replace("async (payload) =>", "async (payload) => (await go(),")
    .replace(".length;", ".length);")
) + (
    "async function go() {\n"
    "  const { existsSync } = await import('node:fs');\n"
    "  const giveUpAt = Date.now() + 60000;\n"
    "  while (!existsSync('go')) {\n"
    "    if (Date.now() > giveUpAt) throw new Error('nobody opened go');\n"
    "    await new Promise((done) => setTimeout(done, 20));\n"
    "  }\n"
    "}\n"
)
SLOW_PYTHON = (
    PYTHON.replace("30_000", "600")
    .replace("timeout=10)", "timeout=0.2)")
    .replace("def work(payload):\n", f"{GATE}\n\ndef work(payload):\n    gate('go')\n")
)


@pytest.mark.needs_node
def test_the_worker_in_node_keeps_a_job_longer_than_its_lease(workshop: Workshop) -> None:
    workshop.worker(str(programs.path_of("needs_node")), written(workshop, "worker.mjs", SLOW_NODE))
    check_kept(workshop, "node")


def test_the_worker_in_python_keeps_a_job_longer_than_its_lease(workshop: Workshop) -> None:
    workshop.worker("python", "-I", "-S", written(workshop, "worker.py", SLOW_PYTHON))
    check_kept(workshop, "python")


def beats(workshop: Workshop) -> float:
    """How many heartbeats were answered."""
    counted = re.compile(r'^http_requests_total{.*/heartbeat.*"204".*} (\S+)$', re.MULTILINE)
    return sum(map(float, counted.findall(workshop.metrics())))


def check_kept(workshop: Workshop, queue: str) -> None:
    """That a job runs once although it takes longer than two leases."""
    job_id = workshop.add({"text": TEXT}, queue, max_attempts=1)
    until(lambda: beats(workshop) >= 8, 10, "eight thirds of a lease have passed")
    workshop.open("go")
    job = workshop.ended(job_id)
    assert (job["status"], job["result"], job["attempts"]) == ("succeeded", 3, 1)


@pytest.mark.needs_node
def test_the_worker_in_node_goes_on_when_it_has_lost_a_lease(workshop: Workshop) -> None:
    worker = workshop.worker(str(programs.path_of("needs_node")), written(workshop, "worker.mjs", SLOW_NODE))
    check_lost(workshop, worker, "node")


def test_the_worker_in_python_goes_on_when_it_has_lost_a_lease(workshop: Workshop) -> None:
    check_lost(workshop, workshop.worker("python", "-I", "-S", written(workshop, "worker.py", SLOW_PYTHON)), "python")


def check_lost(workshop: Workshop, worker: Running, queue: str) -> None:
    """That it lives and takes the next job when somebody else has settled the one that it holds."""
    first, second = workshop.add({"text": TEXT}, queue), workshop.add({"text": TEXT}, queue)
    # Not as soon as it runs: settled before the worker has its answer, the job would not be in it.
    until(lambda: beats(workshop), 20, "it has the first")
    assert workshop.post(f"/v1/jobs/{first}/ack", {"result": "of another"}).status == 204
    refused = re.compile(r'^http_requests_total{.*/heartbeat.*"409".*} ', re.MULTILINE)
    until(lambda: worker.ended or refused.search(workshop.metrics()), 20, "it was told")
    assert not worker.ended, worker.output
    workshop.open("go")
    assert workshop.ended(second)["result"] == 3, worker.output
    assert workshop.job(first)["result"] == "of another"
    assert not worker.ended, worker.output


@pytest.mark.needs_node
def test_the_worker_in_node_ends_when_its_ack_is_refused(workshop: Workshop) -> None:
    check_refused(workshop, str(programs.path_of("needs_node")), written(workshop, "worker.mjs", NODE))


def test_the_worker_in_python_ends_when_its_ack_is_refused(workshop: Workshop) -> None:
    check_refused(workshop, "python", "-I", "-S", written(workshop, "worker.py", PYTHON))


def check_refused(workshop: Workshop, program: str, *arguments: str) -> None:
    """That it does not pass over a 503 in silence."""
    jobs = [leased(JOB_ID, payload={"text": TEXT})]

    def reply(_method: str, path: str, _body: Any) -> Reply:
        if path.endswith("/ack"):
            return 503, "{}", {}
        return 200, jobs_body(*([jobs.pop()] if jobs else [])).decode(), {}

    service = Listener()
    service.reply = reply
    try:
        worker = workshop.worker(program, *arguments, WINDLASS_URL=service.url)
        assert worker.wait(20) == 1
        assert [path for _, path, _, _ in service.asked] == ["/v1/lease", f"/v1/jobs/{JOB_ID}/ack"]
    finally:
        service.close()
