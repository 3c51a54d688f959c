"""gunicorn as we configure it: starting, refusing to start, and ending."""

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3
from support.ports import free_port
from support.processes import alive
from support.waiting import until
from support.web import Web
from support.work import at_once, count

from sql.connection import Connection


def fails_to_start(folder: Path, *arguments: str, database_url: str = "postgresql://h/d", **environ: str) -> str:
    """Starts a web service that must not start; what it said."""
    web = Web(folder, database_url, arguments, **environ)
    try:
        assert web.process.wait(20) != 0
    finally:
        web.end()
    return web.log()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0"])
def test_an_open_address_without_a_token_is_refused_and_says_how_to_set_one(tmp_path: Path, address: str) -> None:
    said = fails_to_start(tmp_path, API_BIND_ADDR=address)
    assert "API_TOKEN" in said
    assert "ALLOW_ANONYMOUS=1" in said
    assert "Traceback" not in said


def test_a_port_of_the_platform_without_a_token_is_refused(tmp_path: Path) -> None:
    assert "API_TOKEN" in fails_to_start(tmp_path, API_BIND_ADDR="", PORT="5000")


def test_an_open_address_on_gunicorns_command_line_is_refused_too(tmp_path: Path) -> None:
    said = fails_to_start(tmp_path, "--bind", "0.0.0.0:0")
    assert "API_TOKEN" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "key", [{"API_TOKEN": "t"}, {"ADMIN_TOKEN": "t"}, {"REQUIRE_TOKEN": "1"}, {"ALLOW_ANONYMOUS": "1"}]
)
def test_an_open_address_with_a_token_is_served(start_web: Callable[..., Web], key: dict[str, str]) -> None:
    web = start_web(API_BIND_ADDR=f"0.0.0.0:{(port := free_port())}", port=port, **key)
    assert web.request("GET", "/health").status == 200


def test_bad_settings_stop_the_start_with_one_line_each(tmp_path: Path) -> None:
    said = fails_to_start(
        tmp_path, WEB_THREADS="many", MAX_BODY_BYTES="-1", RATE_LIMIT_PER_MINUTE="0", LOG_LEVEL="loud"
    )
    assert [line.split(":")[0] for line in said.splitlines() if ": must be" in line][-3:] == [
        "MAX_BODY_BYTES",
        "RATE_LIMIT_PER_MINUTE",
        "LOG_LEVEL",
    ]
    assert "WEB_THREADS: must be" in said
    assert "Traceback" not in said


def test_a_module_of_kinds_that_does_not_import_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    said = fails_to_start(tmp_path, KIND_MODULES="no_such_module_of_kinds")
    assert "no_such_module_of_kinds" in said


def test_the_file_in_deploy_is_the_same_configuration(start_web: Callable[..., Web]) -> None:
    web = start_web("-c", "deploy/gunicorn.conf.py", WEB_CONCURRENCY="2")
    assert {answer.status for answer in at_once(*[lambda: web.post_job()] * 8)} == {201}
    assert web.value("jobs_enqueued_total", queue="default", kind="external") == 8


def test_term_answers_what_was_asked_and_takes_nothing_new(
    start_web: Callable[..., Web], connection: Connection, open_another: Callable[[], Connection]
) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    blocker = open_another()
    answers: list[urllib3.BaseHTTPResponse] = []
    with blocker.transaction():
        blocker.execute("lock table windlass.jobs in access exclusive mode")
        asking = [threading.Thread(target=lambda: answers.append(web.post_job())) for _ in range(4)]
        for thread in asking:
            thread.start()
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        until(lambda: connection.fetch_one(waiting) == (4,))
        web.process.send_signal(signal.SIGTERM)
        until(lambda: _refuses(web.port), message="new connections are refused")
    for thread in asking:
        thread.join(10)
    assert [answer.status for answer in answers] == [201] * 4
    assert web.process.wait(10) == 0
    assert count(connection, "jobs") == 4


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTT",
        b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ],
    ids=["nothing", "half a line", "half a body"],
)
def test_a_client_that_dawdles_is_hung_up_on_and_keeps_nobody_waiting(
    start_web: Callable[..., Web], connection: Connection, sent: bytes
) -> None:
    web = start_web("--timeout", "2", "--keep-alive", "3", WEB_THREADS="2")
    clients = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(3)]
    started = time.monotonic()
    for client in clients:
        client.settimeout(20)
        client.sendall(sent)
    for client in clients:
        try:
            assert client.recv(65536)[:12] in (b"", b"HTTP/1.1 400")
        except ConnectionResetError:
            pass
        client.close()
    assert time.monotonic() - started < 15
    assert web.request("GET", "/healthz").status == 200
    assert count(connection, "jobs") == 0


@pytest.mark.parametrize(("clients", "threads"), [(1, 4), (3, 2)])
def test_clients_that_never_pause_leave_others_a_thread_and_are_not_hung_up_on(
    start_web: Callable[..., Web], clients: int, threads: int
) -> None:
    web = start_web("--timeout", "2", WEB_THREADS=str(threads))
    over = time.monotonic() + 5

    def ask_without_a_pause() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
        while time.monotonic() < over:
            connection.request("GET", "/healthz")
            # A new connection would be made without a word.
            assert connection.getresponse().read() == b"ok"
            connection.auto_open = 0
        connection.close()

    def ask_by_new_connections() -> None:
        while time.monotonic() < over:
            began = time.monotonic()
            assert web.request("GET", "/healthz", headers={"Connection": "close"}).status == 200
            assert time.monotonic() - began < 2

    at_once(*[ask_without_a_pause] * clients, ask_by_new_connections)


def test_term_to_every_process_and_twice_ends_all_within_grace(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_CONCURRENCY="2", SHUTDOWN_GRACE_SECONDS="2")
    workers = web.workers()
    # A client that holds its connection open and says nothing.
    with socket.create_connection(("127.0.0.1", web.port)):
        started = time.monotonic()
        for _ in range(2):
            os.killpg(web.process.pid, signal.SIGTERM)
        assert web.process.wait(10) in (0, -signal.SIGTERM)
        until(lambda: not any(map(alive, workers)), seconds=5)
        assert time.monotonic() - started < 2 + 3


def test_who_connects_while_only_the_workers_have_heard_of_the_end_is_answered(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    os.kill(web.process.pid, signal.SIGSTOP)
    for worker in web.workers():
        os.kill(worker, signal.SIGTERM)
    over = time.monotonic() + 0.3
    while time.monotonic() < over:
        assert web.request("GET", "/healthz", headers={"Connection": "close"}, timeout=5).status == 200
    web.process.send_signal(signal.SIGTERM)
    web.process.send_signal(signal.SIGCONT)
    assert web.process.wait(10) == 0


def test_a_killed_master_leaves_no_worker(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    workers = web.workers()
    web.process.kill()
    web.process.wait(10)
    until(lambda: not any(map(alive, workers)), seconds=10, message="workers end with their master")


def test_a_worker_killed_between_commit_and_answer_makes_no_second_job(
    start_web: Callable[..., Web], connection: Connection, open_another: Callable[[], Connection]
) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    for death in range(3):
        key = f"k{death}"
        blocker = open_another()
        with blocker.transaction():
            blocker.execute("lock table windlass.jobs in access exclusive mode")
            lost: list[Exception] = []
            asking = threading.Thread(target=_expect_loss, args=(web, key, lost))
            asking.start()
            until(lambda: connection.fetch_one(waiting))
            killed = set(web.workers())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        asking.join(10)
        assert lost
        # One that is still dying holds connections that are kept alive, and would answer none.
        until(lambda gone=killed: len(set(web.workers()) - gone) == 2 and not set(web.workers()) & gone, seconds=20)
        again = at_once(*[lambda key=key: web.post_job(idempotency_key=key)] * 4)
        assert {answer.status for answer in again} <= {200, 201}
        assert len({answer.json()["id"] for answer in again}) == 1
    assert count(connection, "jobs") == 3


def test_no_connection_and_no_thread_is_made_before_the_fork(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    at_once(*[lambda: web.post_job()] * 16)
    assert len(os.listdir(f"/proc/{web.process.pid}/task")) == 1
    sockets = [os.readlink(fd.path) for fd in os.scandir(f"/proc/{web.process.pid}/fd") if os.path.exists(fd.path)]
    # Its listener only.
    assert sum(name.startswith("socket:") for name in sockets) == 1
    sessions = (
        "select count(*) from pg_stat_activity where application_name = 'windlass-web' and datname = current_database()"
    )
    row = connection.fetch_one(sessions)
    assert row is not None
    assert 2 <= row[0] <= 16


def test_gunicorn_leaves_nothing_in_the_home_folder(start_web: Callable[..., Web], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    web = start_web(HOME=str(home), XDG_RUNTIME_DIR="")
    web.post_job()
    assert list(home.rglob("*")) == []


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def _expect_loss(web: Web, key: str, lost: list[Exception]) -> None:
    try:
        web.post_job(idempotency_key=key)
    except urllib3.exceptions.HTTPError as error:
        lost.append(error)
