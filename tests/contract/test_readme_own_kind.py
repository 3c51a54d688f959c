"""README's own kind: its files are installed as a package of their own, and do what README says."""

import json
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import urllib3
from support.readme import README, get, run
from support.service import Surroundings
from support.tables import ended as ended_in
from support.waiting import until

from sql.connection import Connection

pytestmark = pytest.mark.needs_curl

KIND, PROGRAM = README.blocks("python", "Your own kind")
(PROJECT,) = README.blocks("toml", "Your own kind")
INSTALL_AND_START, ENQUEUE = README.blocks("sh", "Your own kind")
(TRANSACTION,) = README.blocks("sql", "From your own transaction")
*INSTALL, START = INSTALL_AND_START.strip().splitlines()


@pytest.fixture
def surroundings(database_url: str) -> Iterator[Surroundings]:
    """A folder with README's files and a fresh `.venv`, in which nothing but Windlass is installed."""
    made = Surroundings(DATABASE_URL=database_url)
    make_environment(made)
    (made.folder / "kinds/acme").mkdir(parents=True)
    (made.folder / "kinds/acme/jobs.py").write_text(KIND)
    (made.folder / "kinds/pyproject.toml").write_text(PROJECT)
    yield made
    made.clear()


def make_environment(surroundings: Surroundings) -> None:
    environment = surroundings.folder / ".venv"
    venv.create(environment)
    packages = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    # Windlass and what it needs, without the network: from the environment of the tests.
    (packages / "windlass.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    scripts = {
        "windlass": f"#!{environment}/bin/python\nfrom app.cli import main\nmain()\n",
        "pip": f'#!/bin/sh\nexec {sys.executable} -m pip --python {environment}/bin/python "$@"'
        " --no-build-isolation --no-deps --no-index --disable-pip-version-check --root-user-action ignore\n",
    }
    for name, text in scripts.items():
        (environment / "bin" / name).write_text(text)
        (environment / "bin" / name).chmod(0o755)


def install(surroundings: Surroundings) -> dict[str, str]:
    """README's commands up to the one that starts the service; that one's variables."""
    run(surroundings, "\n".join(INSTALL))
    *assignments, program, command = shlex.split(START.replace("$PWD", str(surroundings.folder)))
    assert (program, command) == (".venv/bin/windlass", "up")
    return dict(pair.split("=", 1) for pair in assignments)


def ended(surroundings: Surroundings, job_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = get(surroundings, f"/jobs/{job_id}")
        return job if job["status"] in ("succeeded", "failed_permanent", "cancelled") else None

    return until(look, 20, f"job {job_id} ends") or {}


def enqueue(surroundings: Surroundings, payload: dict[str, Any]) -> urllib3.BaseHTTPResponse:
    body = {"kind": "write_report", "payload": payload}
    return urllib3.request("POST", f"{surroundings.url}/jobs", json=body, retries=False)


def test_the_package_is_installed_and_its_kind_does_what_the_readme_says(surroundings: Surroundings) -> None:
    folder = surroundings.folder
    variables = install(surroundings)
    asked = [folder / ".venv/bin/python", "-c", "import acme.jobs; print(acme.jobs.__file__)"]
    found = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert found.startswith(f"{folder}/.venv/lib/")
    surroundings.up(program=str(folder / ".venv/bin/windlass"), **variables)

    enqueued = run(surroundings, ENQUEUE)
    assert enqueued.stderr.split() == ["201"]
    job_id = json.loads(enqueued.stdout)["id"]
    job = ended(surroundings, job_id)
    assert (job["status"], job["attempts"], job["max_attempts"], job["timeout_seconds"]) == ("succeeded", 1, 5, 60)
    (result,) = re.findall(r'`"result": (\{.*?\})`', README.section("Your own kind"))
    assert job["result"] == json.loads(result)
    assert (folder / "reports" / f"{job_id}.txt").read_text() == "Cargo.\n1. rope\n2. tar\n"
    # Its follow-up.
    (summary,) = get(surroundings, "/jobs?kind=summarize_text")
    assert ended(surroundings, summary["id"])["status"] == "succeeded"

    # The other ways out.
    empty = enqueue(surroundings, {"title": "Nothing", "lines": []}).json()["id"]
    assert ended(surroundings, empty)["last_error"] == "a report needs at least one line"
    (folder / "reports").rename(folder / "elsewhere")
    waiting = enqueue(surroundings, {"title": "Cargo", "lines": ["rope"]}).json()["id"]
    job = until(lambda: (now := get(surroundings, f"/jobs/{waiting}"))["status"] == "retrying" and now, 20)
    assert job["last_error"].endswith("/reports is not there")
    assert job["run_at"] > job["updated_at"]
    assert len(get(surroundings, "/jobs?kind=summarize_text")) == 1


def test_the_web_refuses_what_is_not_of_its_shape_and_documents_the_shape(surroundings: Surroundings) -> None:
    surroundings.up(program=str(surroundings.folder / ".venv/bin/windlass"), **install(surroundings))
    refused = enqueue(surroundings, {"title": "Cargo", "line": []})
    assert refused.status == 422
    assert set(refused.json()["details"]) == {"payload.lines", "payload.line"}
    schemas = get(surroundings, "/api-docs/openapi.json")["components"]["schemas"]
    assert {"$ref": "#/components/schemas/NewJob.write_report"} in schemas["NewJob"]["oneOf"]
    asked = schemas["NewJob.write_report"]["properties"]
    assert asked["kind"] == {"type": "string", "const": "write_report"}
    assert asked["payload"] == {"$ref": "#/components/schemas/Payload.write_report"}
    shape = schemas["Payload.write_report"]
    assert set(shape["required"]) == {"title", "lines"}
    assert shape["properties"] == {
        "title": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "string"}},
    }


def test_a_program_of_ones_own_runs_what_was_enqueued_in_somebodys_transaction(
    surroundings: Surroundings, connection: Connection
) -> None:
    variables = install(surroundings)
    (surroundings.folder / "program.py").write_text(PROGRAM)
    connection.execute("create table orders (id integer primary key)")
    python = str(surroundings.folder / ".venv/bin/python")
    # Without its setting.
    pool = surroundings.start("program.py", program=python)
    job = ended_in(connection, place(surroundings, TRANSACTION), 30)
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 1, "KeyError: 'REPORTS'")
    pool.end()
    assert pool.wait(5) == 0

    surroundings.start("program.py", program=python, REPORTS=variables["REPORTS"])
    job = ended_in(connection, place(surroundings, TRANSACTION.replace("1041", "1042").replace("rope", "tar")), 30)
    assert (job.status, job.idempotency_key) == ("succeeded", "order-1042")
    assert (surroundings.folder / "reports" / f"{job.id}.txt").read_text() == "Order 1042.\n1. tar\n"
    assert connection.fetch_all("select id from orders order by id") == [(1041,), (1042,)]


def place(surroundings: Surroundings, transaction: str) -> str:
    """The transaction as another client sends it, statement by statement; the job's id."""
    client = psycopg2.connect(surroundings.environ["DATABASE_URL"])
    try:
        client.autocommit = True
        with client.cursor() as cursor:
            for statement in filter(str.strip, transaction.split(";\n")):
                cursor.execute(statement)
                if cursor.description:
                    (job_id,) = cursor.fetchone() or ("",)
        return str(job_id)
    finally:
        client.close()
