"""`windlass jobs`, `dead`, `queues`, `pause` and `resume` against a real service."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import Document
from support.effects import VARIABLE, Effects
from support.processes import ROOT
from support.service import Surroundings
from support.tables import becomes, ended, look, put, put_one
from support.waiting import until
from support.web import Web, running_web
from support.work import claim, lease_of

from sql import leases
from sql.connection import Connection
from sql.leases import Failure

HOSTILE = "\x1b[2Jgone\x9b31m\u202e\nnext"
TOKENS = {"API_TOKEN": "the-clients-token", "ADMIN_TOKEN": "the-admins-token"}


@pytest.fixture
def web(tmp_path: Path, database_url: str) -> Iterator[Web]:
    with running_web(tmp_path, database_url) as web:
        yield web


@pytest.fixture
def surroundings(web: Web) -> Iterator[Surroundings]:
    """Somebody's shell with WINDLASS_URL set."""
    made = Surroundings(WINDLASS_URL=web.url)
    yield made
    made.clear()


def lines(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [line.split("\t") for line in done.stdout.splitlines()]


def bury(connection: Connection, count: int, error: str = "boom", queue: str = "default") -> list[str]:
    ids = put(connection, "note", *[{}] * count, queue=queue)
    held = [lease_of(job) for job in claim(connection, queue=queue, kinds=["note"], limit=count)]
    leases.fail(connection, None, [Failure(lease, error, permanent=True) for lease in held])
    return ids


def test_jobs_are_listed_shown_cancelled_and_retried(surroundings: Surroundings, connection: Connection) -> None:
    run = surroundings.run
    dead = bury(connection, 1, HOSTILE)[0]
    waiting = put_one(connection, "external", queue="slow")
    assert [row[:5] for row in lines(run("jobs", "list"))] == [
        [waiting, "external", "slow", "queued", "0/3"], [dead, "note", "default", "failed_permanent", "1/3"],
    ]  # fmt: skip
    assert [row[0] for row in lines(run("jobs", "list", "--queue", "slow", "--kind", "external"))] == [waiting]
    [[*_, error]] = lines(run("jobs", "list", "--status", "failed_permanent"))
    assert error == "\\x1b[2Jgone\\x9b31m\\u202e\\nnext"
    assert [job["id"] for job in json.loads(run("jobs", "list", "--json").stdout)] == [waiting, dead]
    assert json.loads(run("jobs", "show", dead, "--json").stdout)["last_error"] == HOSTILE
    assert ["status", "failed_permanent"] in lines(run("jobs", "show", dead))

    assert lines(run("jobs", "cancel", waiting)) == [[waiting, "cancelled"]]
    assert lines(run("jobs", "retry", waiting, dead)) == [[waiting, "queued"], [dead, "queued"]]
    again = run("jobs", "retry", dead)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"jobs retry {dead} failed: 409 job {dead} is neither failed_permanent nor cancelled\n"


def test_dead_letters_are_listed_and_redriven_by_filter_and_in_batches(
    surroundings: Surroundings, connection: Connection
) -> None:
    run = surroundings.run
    plain, network = bury(connection, 6000), bury(connection, 3, "no route to host 100%")
    other = bury(connection, 1, queue="other")
    assert [row[0] for row in lines(run("dead", "list", "--limit", "2"))] == network[:0:-1]
    assert json.loads(run("dead", "list", "--queue", "other", "--json").stdout)["jobs"][0]["id"] == other[0]
    counted = run("dead", "redrive", "--error-contains", "host 100%", "--kind", "note", "--dry-run")
    assert counted.stdout == "3 dead letters match; 3 would be redriven\n"
    assert run("dead", "redrive", "--error-contains", "host 100%").stdout == (
        "3 dead letters matched; 3 are redriven\n"
    )
    assert run("dead", "redrive", "--limit", "1").stdout == "6000 dead letters matched; 1 are redriven\n"
    assert run("dead", "redrive").stdout == "5999 dead letters matched; 5999 are redriven\n"
    assert {look(connection, job_id).status for job_id in (*plain[::500], *network)} == {"queued"}
    assert look(connection, other[0]).status == "failed_permanent"


def test_a_redrive_of_jobs_that_die_again_at_once_comes_to_its_end(
    surroundings: Surroundings, connection: Connection, database_url: str, tmp_path: Path
) -> None:
    effects = Effects(tmp_path / "effects")
    ids = put(connection, "gate", *[{"waits": False, "fails": True}] * 20, max_attempts=1)
    surroundings.start(
        "worker", DATABASE_URL=database_url, KIND_MODULES="support.fault_kinds",
        PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}", **{VARIABLE: str(effects.folder)},
    )  # fmt: skip
    for job_id in ids:
        assert ended(connection, job_id, 20).status == "failed_permanent"
    done = surroundings.run("dead", "redrive")
    assert done.stdout == "20 dead letters matched; 20 are redriven\n"
    until(lambda: len(effects.all("ended")) == 40, 20, "each has died a second time")
    for job_id in ids:
        becomes(connection, job_id, "failed_permanent")


def test_a_paused_queue_is_shown_as_one_and_resumed(surroundings: Surroundings, connection: Connection) -> None:
    run = surroundings.run
    put(connection, "external", {}, {})
    assert run("pause", "default").stdout == "default is paused\n"
    [[*counts, oldest, paused]] = lines(run("queues"))
    assert (counts, paused[-1]) == (["default", "2", "2", "0", "0"], "Z")
    assert float(oldest) >= 0
    assert claim(connection, kinds=["external"]) == []
    assert run("resume", "default").stdout == "default is not paused\n"
    [queue] = json.loads(run("queues", "--json").stdout)["queues"]
    assert (queue["queue"], queue["paused_at"]) == ("default", None)
    assert len(claim(connection, kinds=["external"])) == 1


def test_on_a_terminal_there_are_tables_and_no_escape_but_our_own(
    surroundings: Surroundings, connection: Connection
) -> None:
    dead = bury(connection, 1, HOSTILE)[0]
    bury(connection, 20)
    for arguments, expected in (
        (["jobs", "list"], "failed_permanent"),
        (["jobs", "show", dead], "failed_permanent"),
        (["dead", "list"], "  boom\n"),
        (["queues"], "no queue holds unfinished jobs"),
        (["dead", "redrive", "--limit", "5"], "5/5"),
        (["queues"], "paused for"),
        (["dead", "list", "--queue", "none"], "no dead letters in none"),
    ):
        with surroundings.terminal(*arguments) as terminal:
            assert terminal.wait(30) == 0, terminal.said
        assert expected in terminal.said
        for hostile in ("\x9b", "\u202e", "\x1b[2J", "\nnext"):
            assert hostile not in terminal.said
        # Nothing wraps: a job is one line, its error another.
        if arguments[0] == "jobs" and arguments[1] == "list":
            assert len(terminal.said.strip().splitlines()) == 1 + 21 + 21


def test_operators_need_the_admins_token_where_tokens_are_set(
    tmp_path: Path, database_url: str, connection: Connection
) -> None:
    with running_web(tmp_path, database_url, **TOKENS) as web:
        shell = Surroundings(WINDLASS_URL=web.url)
        try:
            job_id = bury(connection, 1)[0]
            client = {"API_TOKEN": TOKENS["API_TOKEN"]}
            assert len(lines(shell.run("jobs", "list", **client))) == 1
            for command in (["jobs", "retry", job_id], ["dead", "list"], ["dead", "redrive"], ["queues"],
                            ["pause", "default"], ["resume", "default"]):  # fmt: skip
                refused = shell.run(*command, **client)
                assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
                assert " failed: 403 " in refused.stderr
                assert "set ADMIN_TOKEN" in refused.stderr
                assert shell.run(*command, **TOKENS).returncode == 0
            nobody = shell.run("jobs", "list")
            assert nobody.returncode == 1
            assert nobody.stderr.startswith("jobs list failed: 401 ")
            assert "set API_TOKEN" in nobody.stderr
        finally:
            shell.clear()


def test_an_enqueue_without_a_kind_waits_for_workers_over_http(
    surroundings: Surroundings, web: Web, connection: Connection
) -> None:
    job_id = surroundings.run("enqueue", "--json", '{"n": 1}', "--idempotency-key", "k").stdout.strip()
    job = look(connection, job_id)
    assert (job.kind, job.queue, job.max_attempts, job.payload) == ("external", "default", 5, '{"n": 1}')
    assert surroundings.run("enqueue", "--json", '{"n": 1}', "--idempotency-key", "k").stdout.strip() == job_id
    answer = web.request("POST", "/v1/lease", {"queue": "default", "limit": 5, "lease_ms": 60_000})
    assert [leased["id"] for leased in answer.json()["jobs"]] == [job_id]
    refused = surroundings.run("enqueue", "--json", '{"n": 2}', "--idempotency-key", "k")
    assert refused.returncode == 1
    assert refused.stderr.startswith('enqueue failed: 409 {"error":"conflict",')
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("section", "kind", "before", "after"),
    [("The backlog grows", "summarize_text", "queued", "cancelled"),
     ("Dead letters pile up", "webhook_delivery", "failed_permanent", "queued")],
)  # fmt: skip
def test_the_runbooks_way_with_many_jobs_goes_through_all_of_them(
    surroundings: Surroundings, connection: Connection, section: str, kind: str, before: str, after: str
) -> None:
    ids = put(connection, kind, *[{}] * 210)
    if before == "failed_permanent":
        held = [lease_of(job) for job in claim(connection, kinds=[kind], limit=300)]
        leases.fail(connection, None, [Failure(lease, "boom", permanent=True) for lease in held])
    other = put_one(connection, "external")
    (line,) = [
        line
        for block in Document("deploy/runbook.md").blocks("sh", section)
        for line in block.splitlines()
        if "--all" in line
    ]
    done = subprocess.run(
        ["sh", "-e", "-c", line], env=surroundings.environ, cwd=surroundings.folder, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.splitlines()) == sorted(f"{job_id}\t{after}" for job_id in ids)
    assert {look(connection, job_id).status for job_id in ids} == {after}
    assert look(connection, other).status == "queued"
