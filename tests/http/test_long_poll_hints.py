"""What wakes a request that waits for work: hints of other processes, and the time itself."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient
from support import work
from support.database import open_connection
from support.v1 import QUEUE, add, added_and_leased, tell
from support.waiting import until
from support.web import Web
from support.work import past

from app import waiting
from app.services import leases
from app.services.leases import Found
from app.waiting import WaitingRoom
from sql import hints
from sql.connection import Connection, connect

ASKED = {"queue": QUEUE, "limit": 1, "lease_ms": 60_000}


class Poll:
    """A request that waits up to 20 s, in a thread of its own, and looks by itself as good as never."""

    def __init__(
        self, room: WaitingRoom, url: str, queue: str = QUEUE, after_first_look: Callable[[], None] | None = None
    ) -> None:
        self._room, self._url, self._queue = room, url, queue
        self._after_first_look = after_first_look
        self.looks = 0
        self._taken: list[Found] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until(lambda: room.waiting, message="it waits")

    def _run(self) -> None:
        connection = open_connection(self._url)

        def look() -> Found:
            taken = leases.claim(connection, {**ASKED, "queue": self._queue}, lambda: True)
            self.looks += 1
            if self.looks == 1 and self._after_first_look is not None:
                self._after_first_look()
            return taken

        self._taken.append(self._room.poll(look, 20, lambda: True))
        connection.close()

    def end(self) -> None:
        """It waits no more."""
        self._thread.join(5)
        assert not self._thread.is_alive()

    def job_id(self, seconds: float = 5) -> str:
        """The job it was given."""
        self._thread.join(seconds)
        assert self._taken, "it still waits"
        ((job, _),) = self._taken[0].jobs
        return job.id


@pytest.fixture
def listening(connection: Connection) -> Callable[[], int]:
    """How many sessions listen for long polls."""

    def count() -> int:
        row = connection.fetch_one(
            "select count(*) from pg_stat_activity"
            " where application_name = 'long polls' and datname = current_database() and query ilike '%listen%'"
        )
        assert row is not None
        return int(row[0])

    return count


@pytest.fixture
def room(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingRoom]:
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE_SECONDS", 60.0)
    room = WaitingRoom(lambda: connect(database_url, application_name="long polls"), 8)
    yield room
    room.end()


@pytest.fixture
def poll(room: WaitingRoom, database_url: str, listening: Callable[[], int]) -> Callable[[], Poll]:
    def start() -> Poll:
        started = Poll(room, database_url)
        until(listening, message="it is listened for")
        # Whoever begins to listen looks once more: what came until then was not heard.
        until(lambda: started.looks == 2)
        return started

    return start


def test_a_job_enqueued_in_another_process_wakes_it(poll: Callable[[], Poll], start_web: Callable[..., Web]) -> None:
    web, waits = start_web(), poll()
    added = web.request("POST", "/v1/jobs", {"queue": QUEUE, "payload": None}).json()["job_id"]
    assert waits.job_id() == added


@pytest.mark.parametrize("way", ["POST /jobs", "bulk", "release", "fail", "retry", "resume", "expiry"])
def test_whatever_makes_a_job_due_wakes_it(
    poll: Callable[[], Poll], client: FlaskClient, connection: Connection, way: str
) -> None:
    job = added_and_leased(client)
    if way == "retry":
        client.post(f"/jobs/{job['id']}/cancel")
        tell(client, "release", job)
    if way == "resume":
        client.post(f"/v1/admin/queues/{QUEUE}/pause")
        tell(client, "release", job)
    waits = poll()
    new = {"kind": "external", "queue": QUEUE, "payload": None}
    match way:
        case "POST /jobs":
            job = client.post("/jobs", json=new).get_json()
        case "bulk":
            job = client.post("/jobs/bulk", json={"jobs": [new]}).get_json()["results"][0]["job"]
        case "release":
            tell(client, "release", job)
        case "fail":
            tell(client, "fail", job, retry_ms=300)
        case "retry":
            client.post(f"/jobs/{job['id']}/retry")
        case "resume":
            client.post(f"/v1/admin/queues/{QUEUE}/resume")
        case "expiry":
            past(connection, "running", "lease_expires_at", 3600)
            # Somebody else's request takes it back, and has no use for it.
            client.post("/v1/lease", json={**ASKED, "kinds": ["nothing"]})
    assert waits.job_id() == job["id"]


def test_a_job_that_becomes_due_while_it_waits_is_handed_out_then(
    poll: Callable[[], Poll], client: FlaskClient
) -> None:
    waits = poll()
    soon = time.time() + 1.0
    added = add(client, run_at=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(soon)) + f".{int(soon % 1 * 1000):03}Z")
    assert waits.job_id() == added
    assert -0.01 <= time.time() - soon < 0.5


def test_a_hint_that_comes_during_a_look_is_not_missed(
    room: WaitingRoom, database_url: str, connection: Connection, poll: Callable[[], Poll]
) -> None:
    witness = poll()
    added: list[str] = []

    def enqueue() -> None:
        added.append(work.add(connection, queue="other", kind="external"))
        hints.hint(connection, 1)
        until(lambda: witness.looks == 3, message="the hint has come")

    assert Poll(room, database_url, "other", enqueue).job_id() == added[0]
    room.end()
    witness.end()


def test_one_listener_serves_all_who_wait(
    room: WaitingRoom, poll: Callable[[], Poll], client: FlaskClient, listening: Callable[[], int], database_url: str
) -> None:
    waits = [poll(), *[Poll(room, database_url) for _ in range(4)]]
    assert listening() == 1
    ids = {add(client) for _ in range(5)}
    assert {each.job_id() for each in waits} == ids


def test_the_listener_comes_back_after_its_session_was_ended(
    poll: Callable[[], Poll], client: FlaskClient, connection: Connection, listening: Callable[[], int]
) -> None:
    waits = poll()
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'long polls' and datname = current_database()"
    )
    until(lambda: listening() == 0)
    # It hears nothing now, and looks for itself once it hears again.
    added = add(client)
    assert waits.job_id(10) == added


def test_the_listener_hangs_up_when_nobody_has_waited_for_a_while(
    poll: Callable[[], Poll], client: FlaskClient, listening: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_LISTEN_ON_SECONDS", 0.2)
    for _ in range(2):
        waits = poll()
        added = add(client)
        assert waits.job_id() == added
        until(lambda: listening() == 0)


def test_hints_about_other_work_cost_a_bounded_number_of_looks(
    room: WaitingRoom, poll: Callable[[], Poll], open_another: Callable[[], Connection]
) -> None:
    waits, sender = poll(), open_another()
    started, sent = time.monotonic(), 0
    while time.monotonic() < started + 1:
        hints.hint(sender, 1)
        sent += 1
    elapsed = time.monotonic() - started
    assert sent > 100
    # One each 20 ms at most.
    assert 5 <= waits.looks <= 3 + elapsed / 0.02
    room.end()
    waits.end()
