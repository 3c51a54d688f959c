"""`windlass.enqueue(…)` as other programs call it: psql, another driver, and a role that may do nothing else."""

import os
import secrets
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support import least_privilege
from support.database import Databases, open_connection
from support.server import Server
from support.shop import ORDERS, orders_and_jobs
from support.work import look

from sql import checks, jobs
from sql.connection import Connection
from sql.embedded.binaries import wheel_bin_dir
from sql.errors import StorageError

PSQL = (least_privilege.tls_bin_dir() if least_privilege.asked_for() else wheel_bin_dir()) / "psql"


@pytest.fixture
def shop(any_connection: Connection) -> Connection:
    """A connection to a database in which somebody keeps orders."""
    any_connection.execute(ORDERS)
    return any_connection


def psql(url: str, commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PSQL, "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", url],
        input=f"\\set ON_ERROR_STOP on\n{commands}",
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": os.defpath},
    )


PLACE = """
begin;
insert into public.orders values (1041);
update public.orders set job_id = windlass.enqueue('external', jsonb_build_object('order', id), priority => 5)
where id = 1041 returning job_id;
"""


def test_from_psql_the_job_commits_with_the_row(any_url: str, shop: Connection) -> None:
    done = psql(any_url, PLACE + "commit;")
    assert (done.returncode, done.stderr) == (0, "")
    job = look(shop, done.stdout.strip())
    assert (job.payload, job.priority, job.status) == ('{"order": 1041}', 5, "queued")
    assert orders_and_jobs(shop) == (1, 1)


@pytest.mark.parametrize("end", ["rollback;", "select 1/0;", ""], ids=["rolled back", "failed", "hung up"])
def test_from_psql_neither_is_there_without_a_commit(any_url: str, shop: Connection, end: str) -> None:
    done = psql(any_url, PLACE + end)
    assert jobs.find(shop, done.stdout.strip()) is None
    assert orders_and_jobs(shop) == (0, 0)


def test_psql_shows_what_was_refused_and_why(any_url: str, shop: Connection) -> None:
    done = psql(any_url, "begin; insert into public.orders values (1); select windlass.enqueue('a b', '{}'); commit;")
    assert done.returncode == 3
    said = "windlass.enqueue: kind: must be 1 to 128 of the characters A-Z a-z 0-9 . _ : - and neither . nor .. alone"
    assert f"ERROR:  {said}\n" in done.stderr
    assert orders_and_jobs(shop) == (0, 0)


def test_one_statement_may_make_many(any_url: str, shop: Connection) -> None:
    psql(any_url, "insert into public.orders select n from generate_series(1, 500) as n;")
    psql(any_url, "update public.orders set job_id = windlass.enqueue('external', to_jsonb(id));")
    assert orders_and_jobs(shop) == (500, 500)
    paired = shop.fetch_all(
        "select from public.orders as o join windlass.jobs as j on j.id = o.job_id and j.payload = to_jsonb(o.id)"
    )
    assert len(paired) == 500


# -- another driver


def place(client: psycopg.Connection, order: int, **given: object) -> str:
    """An order and its job; the job's id."""
    row = client.execute(
        "select windlass.enqueue(kind => %s, payload => %s, idempotency_key => %s)::text",
        ["external", Jsonb({"order": order}), given.get("key")],
    ).fetchone()
    assert row is not None
    client.execute("insert into public.orders values (%s, %s)", [order, row[0]])
    return str(row[0])


def test_from_another_driver_the_job_commits_with_the_row(any_url: str, shop: Connection) -> None:
    with psycopg.connect(any_url) as client:
        job_id = place(client, 1041)
        assert orders_and_jobs(shop) == (0, 0)
    assert look(shop, job_id).payload == '{"order": 1041}'
    assert orders_and_jobs(shop) == (1, 1)


def test_from_another_driver_both_are_rolled_back_together(any_url: str, shop: Connection) -> None:
    with psycopg.connect(any_url) as client:
        place(client, 1)
        with pytest.raises(psycopg.errors.UniqueViolation, match="orders_pkey"):
            place(client, 1)
    assert orders_and_jobs(shop) == (0, 0)


def test_a_savepoint_gives_up_one_order_with_its_job_and_keeps_the_other(any_url: str, shop: Connection) -> None:
    with psycopg.connect(any_url) as client:
        kept = place(client, 1, key="first")
        with client.transaction(force_rollback=True):
            place(client, 2, key="second")
    assert orders_and_jobs(shop) == (1, 1)
    assert look(shop, kept).idempotency_key == "first"


def test_another_driver_gets_refusals_as_errors_with_their_code(any_url: str, shop: Connection) -> None:
    with psycopg.connect(any_url, autocommit=True) as client:
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"windlass\.enqueue: payload: must be given"):
            client.execute("select windlass.enqueue('external', %s)", [None])
        place(client, 1, key="k")
        with pytest.raises(psycopg.errors.UniqueViolation, match="idempotency_key: was used with a different request"):
            place(client, 2, key="k")
    assert orders_and_jobs(shop) == (1, 1)


def test_prepared_and_sent_in_a_pipeline_it_does_the_same(any_url: str, shop: Connection) -> None:
    with psycopg.connect(any_url, prepare_threshold=0) as client, client.pipeline():
        for order in range(100):
            client.execute("select windlass.enqueue('external', %s, priority => %s)", [Jsonb(order), order])
            client.execute("insert into public.orders values (%s)", [order])
    assert orders_and_jobs(shop) == (100, 100)


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_in_a_stricter_transaction_a_key_taken_meanwhile_is_an_error_and_no_second_job(
    any_url: str, shop: Connection, level: psycopg.IsolationLevel
) -> None:
    with psycopg.connect(any_url) as client, psycopg.connect(any_url) as other:
        client.isolation_level = level
        client.execute("select 1")
        first = place(other, 1, key="k")
        other.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            client.execute("select windlass.enqueue('external', '{\"order\": 1}', idempotency_key => 'k')")
        client.rollback()
        again = client.execute("select windlass.enqueue('external', '{\"order\": 1}', idempotency_key => 'k')::text")
        assert again.fetchone() == (first,)
    assert orders_and_jobs(shop) == (1, 1)


# -- a role that may enqueue


@pytest.fixture
def clerk(own_server: Server) -> Iterator[Connection]:
    """A connection whose role was granted what README says and nothing more."""
    databases = Databases(own_server.url)
    role = f"clerk_{secrets.token_hex(4)}"
    with databases.migrated() as url:
        owner = open_connection(url)
        owner.execute(f"create role {role}")
        owner.execute(f"grant usage on schema windlass to {role}")
        owner.execute(f"grant execute on function windlass.enqueue to {role}")
        connection = open_connection(url)
        connection.execute(f"set role {role}")
        yield connection
        assert checks.states(owner) == []
        connection.close()
        owner.execute(f"drop owned by {role}")
        owner.execute(f"drop role {role}")
        owner.close()
    databases.close()


def test_a_role_that_may_only_enqueue_can(clerk: Connection) -> None:
    for key in (None, "k", "k"):
        [(job_id,)] = clerk.fetch_all(
            "select windlass.enqueue('external', '{}', idempotency_key => %(key)s)::text", key=key
        )
        assert len(job_id) == 36
    clerk.execute("reset role")
    assert clerk.fetch_all("select count(*)::int from windlass.ready") == [(2,)]


MAY_TOUCH = """
select c.oid::regclass::text,
    case c.relkind
        when 'S' then has_sequence_privilege(c.oid, 'usage, select, update')
        else has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger')
            or has_any_column_privilege(c.oid, 'select, insert, update, references')
    end
from pg_class as c
where c.relnamespace = 'windlass'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
"""
OF_MORE_RIGHTS = """
select oid::regproc::text from pg_proc where pronamespace = 'windlass'::regnamespace and prosecdef
"""


def test_it_can_neither_read_nor_write_anything_else(clerk: Connection) -> None:
    may_touch = dict(clerk.fetch_all(MAY_TOUCH))
    assert {"windlass.jobs", "windlass.ready", "windlass.job_view", "windlass.fence"} <= set(may_touch)
    assert not any(may_touch.values())
    assert clerk.fetch_all(OF_MORE_RIGHTS) == [("windlass.enqueue",)]
    for statement in (
        "table windlass.jobs",
        "table windlass.job_view",
        "delete from windlass.ready",
        "select nextval('windlass.fence')",
        "create table windlass.mine ()",
    ):
        with pytest.raises(StorageError, match="permission denied"):
            clerk.execute(statement)


def test_it_cannot_lend_its_own_objects_to_the_functions_owner(clerk: Connection) -> None:
    """What it makes shadows nothing that the function calls with its owner's rights."""
    [(role,)] = clerk.fetch_all("select current_user::text")
    clerk.execute("reset role")
    clerk.execute(f"create schema lent authorization {role}")
    clerk.execute(f"set role {role}")
    clerk.execute("create table lent.jobs (id uuid)")
    clerk.execute(
        "create function lent.sha256(bytea) returns bytea language plpgsql"
        " as $$ begin raise exception 'called as %', current_user; end $$"
    )
    clerk.execute("create temporary table ready (id uuid)")
    clerk.execute("set search_path = pg_temp, lent, pg_catalog")
    assert clerk.fetch_all("select windlass.enqueue('external', '{}', idempotency_key => 'k') is not null") == [(True,)]
    assert clerk.fetch_all("select from lent.jobs union all select from pg_temp.ready") == []


def test_without_the_grant_nobody_can(clerk: Connection) -> None:
    clerk.execute("reset role")
    clerk.execute("create role nobody_special")
    clerk.execute("grant usage on schema windlass to nobody_special")
    clerk.execute("set role nobody_special")
    with pytest.raises(StorageError, match="permission denied for function enqueue"):
        clerk.execute("select windlass.enqueue('external', '{}')")
    clerk.execute("reset role")
    clerk.execute("drop owned by nobody_special")
    clerk.execute("drop role nobody_special")
