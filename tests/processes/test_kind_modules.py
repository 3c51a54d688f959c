"""The modules that KIND_MODULES names: a wrong one stops the start of web and pool alike, and pools differ in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pool_fixtures import StartPool
from support.service import Surroundings
from support.tables import becomes, ended, put, put_one

from sql.connection import Connection

HEAD = "from marshmallow import Schema, fields\nfrom workerpool import Backoff, kind\nclass Shape(Schema): ...\n"
HANDLER = "\ndef handler(payload, context): return 'by the new code'\n"
WRONG = {
    "no such module": (None, "acme_jobs cannot be imported: ModuleNotFoundError"),
    "a module that is no Python": ("def", "acme_jobs cannot be imported: SyntaxError"),
    "a module that fails": ("1/0", "acme_jobs cannot be imported: ZeroDivisionError"),
    "a module that leaves": ("raise SystemExit(0)", "acme_jobs cannot be imported: SystemExit"),
    "no schema": (f"{HEAD}@kind('acme.x', payload=None){HANDLER}", "kind 'acme.x' has no payload schema"),
    "a name twice": (
        f"{HEAD}@kind('acme.x', payload=Shape){HANDLER}@kind('acme.x', payload=Shape)\ndef other(p, c): ...\n",
        "kind 'acme.x' is declared twice: in acme_jobs.handler (line 4) and in acme_jobs.other (line 6)",
    ),
    "a name twice, and the function's too": (
        f"{HEAD}@kind('acme.x', payload=Shape){HANDLER}" * 2,
        "kind 'acme.x' is declared twice: in acme_jobs.handler (line 4) and in acme_jobs.handler (line 9)",
    ),
    "a schema that needs arguments": (
        f"{HEAD}class Needy(Schema):\n    def __init__(self, flavour): ...\n@kind('acme.x', payload=Needy){HANDLER}",
        "kind 'acme.x': its schema Needy cannot be used: TypeError: ",
    ),
    "a schema that nests what there is not": (
        f"{HEAD}class Open(Schema):\n    inner = fields.Nested('Nowhere')\n@kind('acme.x', payload=Open){HANDLER}",
        "kind 'acme.x': its schema Open cannot be used: RegistryError: ",
    ),
    "a handler nobody awaits": (
        f"{HEAD}@kind('acme.x', payload=Shape)\nasync def handler(payload, context): ...\n",
        "kind 'acme.x': the handler must not be an async def",
    ),
    "a shipped name": (
        f"{HEAD}@kind('send_email', payload=Shape){HANDLER}",
        "'send_email' is declared twice: in workerpool.kinds.send_email.send_email (line ",
    ),
    "no queue's name": (f"{HEAD}@kind('acme.x', payload=Shape, queue='two words'){HANDLER}", "queue 'two words' must"),
    "no class of errors": (
        f"{HEAD}@kind('acme.x', payload=Shape, permanent_errors='LookupError'){HANDLER}",
        "permanent_errors must be classes of Exception; 'LookupError' is none",
    ),
}


@pytest.fixture
def surroundings(database_url: str) -> Iterator[Surroundings]:
    made = Surroundings(DATABASE_URL=database_url, WORKER_PROCESSES="1")
    made.environ["PYTHONPATH"] = str(made.folder)
    yield made
    made.clear()


@pytest.mark.parametrize("role", ["web", "worker", "check"])
@pytest.mark.parametrize(("module", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_module_stops_the_start_with_the_reason(
    surroundings: Surroundings, role: str, module: str | None, said: str
) -> None:
    if module is not None:
        (surroundings.folder / "acme_jobs.py").write_text(module)
    refused = surroundings.run(role, KIND_MODULES="acme_jobs")
    assert refused.returncode not in (0, None)
    assert said in (refused.stdout if role == "check" else refused.stderr)
    assert "Traceback" not in refused.stderr
    assert "Warning" not in refused.stderr
    assert surroundings.everybody() == []


def test_old_code_leaves_the_kinds_of_new_code_alone(
    start_pool: StartPool, connection: Connection, tmp_path: Path
) -> None:
    old = start_pool().ready()
    new_jobs = put(connection, "acme.x", *({} for _ in range(20)), priority=10)
    for one in put(connection, "note", *({} for _ in range(20))):
        assert ended(connection, one).status == "succeeded"
    assert {becomes(connection, one, "queued").attempts for one in new_jobs} == {0}
    (tmp_path / "pool2").mkdir()
    (tmp_path / "pool2" / "acme_jobs.py").write_text(f"{HEAD}@kind('acme.x', payload=Shape){HANDLER}")
    new = start_pool(kind_modules="support.fault_kinds,acme_jobs").ready()
    for one in (*new_jobs, *put(connection, "acme.x", *({} for _ in range(20)))):
        job = ended(connection, one)
        assert (job.status, job.attempts, job.result) == ("succeeded", 1, '"by the new code"')
    assert ended(connection, put_one(connection, "note")).status == "succeeded"
    assert old.metric("worker_jobs_started_total", kind="acme.x") == 0
    assert new.metric("worker_jobs_started_total", kind="acme.x") == 40
