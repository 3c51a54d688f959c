"""Somebody's own table in the database of the jobs, and rows of it that are written together with a job."""

from sql.connection import Connection
from support.work import count

ORDERS = "create table public.orders (id integer primary key, job_id uuid)"


def orders_and_jobs(connection: Connection) -> tuple[int, int]:
    """How many there are of each."""
    row = connection.fetch_one("select count(*) from public.orders")
    assert row is not None
    return int(row[0]), count(connection, "jobs")
