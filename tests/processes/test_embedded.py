"""The embedded server through starts, stops and deaths."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from support import programs
from support.embedded import Playground, answers, ask, beginning
from support.processes import alive, kill_all_at_once, script, working_in
from support.waiting import until

from sql.embedded import EmbeddedFailure, EmbeddedServer


@pytest.fixture
def playground() -> Iterator[Playground]:
    made = Playground()
    yield made
    made.clear()


@pytest.fixture
def server(playground: Playground) -> EmbeddedServer:
    made = playground.server()
    made.start()
    return made


def test_data_and_address_outlive_a_restart(server: EmbeddedServer) -> None:
    ask(server.url, "create table kept as select 42 as n")
    before = server.url
    server.stop()
    assert not answers(before)
    assert server.start() == before
    assert ask(server.url, "select n from kept") == 42


def test_a_stop_ends_sessions_at_once(server: EmbeddedServer) -> None:
    client = psycopg2.connect(server.url)
    server.stop()
    with pytest.raises(psycopg2.OperationalError):
        client.cursor().execute("select 1")
    client.close()


def test_writes_are_durable_unless_that_was_given_up(server: EmbeddedServer, playground: Playground) -> None:
    assert [ask(server.url, f"show {name}") for name in DURABILITY] == ["on", "on", "on"]
    quick = playground.server(playground.folder / "quick", durable=False)
    assert [ask(quick.start(), f"show {name}") for name in DURABILITY] == ["off", "off", "off"]


def test_statements_and_values_stay_out_of_the_log(server: EmbeddedServer) -> None:
    ask(server.url, "create table narrow (n int primary key)")
    for statement in ("insert into narrow values (271828), (271828)", "select 'canary' where 1 / 0 = 1", "canary"):
        with pytest.raises(psycopg2.Error):
            ask(server.url, statement)
    log = server.log.read_text()
    assert "division by zero" in log
    assert "271828" not in log
    assert "select 'canary'" not in log


def test_a_killed_owner_leaves_nothing_and_the_data_are_whole(playground: Playground) -> None:
    owner = playground.owner()
    url = owner.wait_for_start()
    ask(url, "create table kept as select 42 as n")
    owner.kill()
    until(lambda: not working_in(playground.data), 5, "keeper and server are gone")
    assert ask(playground.server().start(), "select n from kept") == 42


def test_clients_of_a_killed_owner_may_finish(playground: Playground) -> None:
    owner = playground.owner(smart_seconds=60)
    url = owner.wait_for_start()
    client = psycopg2.connect(url)
    owner.kill()
    until(lambda: not answers(url), 5, "newcomers are refused")
    client.cursor().execute("create table finished ()")
    client.commit()
    client.close()
    until(lambda: not working_in(playground.data), 5, "the server leaves with its last client")


def test_clients_of_a_killed_owner_that_stay_are_ended(playground: Playground) -> None:
    owner = playground.owner(smart_seconds=0.5)
    client = psycopg2.connect(owner.wait_for_start())
    owner.kill()
    until(lambda: not working_in(playground.data), 5, "keeper and server are gone")
    client.close()


def test_a_killed_keeper_takes_its_server_along(playground: Playground) -> None:
    owner = playground.owner()
    client = psycopg2.connect(owner.wait_for_start())
    (keeper,) = [pid for pid in working_in(playground.data) if parent_of(pid) == owner.process.pid]
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not working_in(playground.data), 5, "the server is gone")
    client.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
def test_a_server_that_died_is_started_again_with_what_was_committed(
    server: EmbeddedServer, number: signal.Signals
) -> None:
    ask(server.url, "create table kept as select 42 as n")
    died = server.pid
    os.kill(died, number)
    until(lambda: answers(server.url) and server.pid != died, 10, "another server answers")
    assert ask(server.url, "select n from kept") == 42


def test_everything_killed_at_once_recovers(playground: Playground) -> None:
    owner = playground.owner()
    ask(owner.wait_for_start(), "create table kept as select 42 as n")
    kill_all_at_once(working_in(playground.data))
    owner.kill()
    assert ask(playground.server().start(), "select n from kept") == 42


def test_a_start_waits_for_the_last_process_of_a_dead_server(playground: Playground) -> None:
    owner = playground.owner()
    url = owner.wait_for_start()
    (keeper,) = [pid for pid in working_in(playground.data) if parent_of(pid) == owner.process.pid]
    (server,) = [pid for pid in working_in(playground.data) if parent_of(pid) == keeper]
    busy = script("import sys, psycopg2; psycopg2.connect(sys.argv[1]).cursor().execute(sys.argv[2])", url, BUSY)
    until(lambda: ask(url, "select count(*) from pg_stat_activity where query like 'do %'") == 1, 10)
    kill_all_at_once([keeper, server])
    begin = (playground.data / "postgresql.log").stat().st_size
    assert answers(playground.server().start())
    refused = re.compile(rb"lock file|shared memory block")
    assert not refused.search((playground.data / "postgresql.log").read_bytes()[begin:])
    busy.communicate()


def test_a_dead_servers_pid_in_use_by_another_program_does_not_block_the_start(playground: Playground) -> None:
    owner = playground.owner()
    owner.wait_for_start()
    kill_all_at_once(working_in(playground.data))
    owner.kill()
    recorded = playground.data / "data" / "postmaster.pid"
    account = recorded.stat().st_uid
    stranger = subprocess.Popen(["sleep", "60"], user=account if os.geteuid() == 0 else None)
    recorded.write_text(recorded.read_text().replace(recorded.read_text().split()[0], str(stranger.pid), 1))
    for lock in (playground.data / "run").glob("*.lock"):
        lock.write_text(f"{stranger.pid}\n")
    try:
        assert answers(playground.server().start())
    finally:
        stranger.kill()
        stranger.wait()


def test_starters_at_once_share_one_server_until_the_last_leaves(playground: Playground) -> None:
    owners = [playground.owner() for _ in range(3)]
    urls = {owner.wait_for_start() for owner in owners}
    assert len(urls) == 1
    url = urls.pop()
    started = beginning(url)
    for owner in owners[:2]:
        owner.leave()
        assert beginning(url) == started
    owners[2].leave()
    until(lambda: not working_in(playground.data), 5, "the server is gone")


def test_a_sharer_carries_on_when_the_first_owners_keeper_is_killed(playground: Playground) -> None:
    first = playground.owner()
    first.wait_for_start()
    (keeper,) = [pid for pid in working_in(playground.data) if parent_of(pid) == first.process.pid]
    second = playground.owner()
    url = second.wait_for_start()
    died = beginning(url)
    os.kill(keeper, signal.SIGKILL)
    until(lambda: beginning(url) not in (None, died), 15, "a new server answers")


def test_a_signal_to_the_owners_whole_group_does_not_reach_the_server(playground: Playground) -> None:
    owner = playground.owner(preexec_fn=ignore_interrupts)
    url = owner.wait_for_start()
    started = beginning(url)
    os.killpg(owner.process.pid, signal.SIGINT)
    assert alive(owner.process.pid)
    assert beginning(url) == started


def test_a_forked_child_of_the_owner_cannot_stop_the_server(server: EmbeddedServer) -> None:
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert answers(server.url)


def test_a_refused_start_quotes_the_log(server: EmbeddedServer) -> None:
    server.stop()
    with (server.home / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedFailure, match=r"(?s)ended with code 1.*last lines of .*no_such_setting"):
        server.start()
    assert not server.running


def test_data_of_another_version_are_refused_with_a_way_out(server: EmbeddedServer) -> None:
    server.stop()
    (server.home / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedFailure, match=r"are of PostgreSQL 14, .* of 18: .*pg_dump.*move .* away"):
        server.start()


@pytest.mark.needs_postgres15
def test_a_server_of_other_programs_runs_and_its_data_stay_its_own(playground: Playground) -> None:
    old = playground.server(bin_dir=programs.path_of("needs_postgres15").parent)
    assert ask(old.start(), "show server_version").startswith("15.")
    old.stop()
    with pytest.raises(EmbeddedFailure, match="are of PostgreSQL 15"):
        playground.server().start()


def test_a_long_path_to_the_data_is_no_obstacle(playground: Playground) -> None:
    deep = playground.folder / ("d" * 60) / ("e" * 60)
    server = playground.server(deep)
    assert answers(server.start())
    elsewhere = Path(psycopg2.extensions.parse_dsn(server.url)["host"])
    playground.also_remove(elsewhere)
    assert not elsewhere.is_relative_to(deep)
    assert elsewhere.stat().st_mode & 0o777 == 0o700


def test_a_tcp_port_is_open_only_when_asked_and_only_with_the_password(playground: Playground) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = playground.server(tcp_port=port)
    server.start()
    assert ask(server.tcp_url, "select inet_server_port()") == port
    assert answers(server.url)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        ask(f"postgresql://postgres:guess@127.0.0.1:{port}/postgres", "select 1")
    server.stop()
    closed = playground.server()
    closed.start()
    with pytest.raises(EmbeddedFailure, match="tcp_port"):
        _ = closed.tcp_url
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


# Waiting, a session would notice that its server died; working, it does not.
BUSY = "do $$ begin while clock_timestamp() < statement_timestamp() + interval '1.5 s' loop end loop; end $$"


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
