"""A real PgBouncer, in front of a test's database or of all that the suite makes.

`TEST_PGBOUNCER=1` sends the whole suite through one in transaction mode; LEFT_OUT names what cannot go that way.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from support.ports import free_port
from support.programs import path_of
from support.server import reachable_folder
from support.waiting import until

# Of test ids their beginnings, each with what a pooler in transaction mode takes away from it.
_LISTEN = "LISTEN: what a session hears is lost between transactions"
_SESSION = "a session of the server's that is the client's own"
_OPTIONS = "options at the start of a session"
LEFT_OUT = {
    "database/test_hints.py::": _LISTEN,
    "database/test_connection.py::test_what_the_url_says_itself_wins": _OPTIONS,
    "database/test_connection.py::test_a_connection_hung_up_while_idle_is_seen_without_asking": _SESSION,
    "database/test_connection.py::test_an_idle_transaction_is_ended_by_the_server": _SESSION,
    "database/test_connection_limits.py::": _SESSION,
    "database/test_overdue.py::test_a_limit_of_the_urls_own_is_not_cut_short": _OPTIONS,
    "database/test_overdue.py::test_a_slow_statement_is_ended_by_the_server": _SESSION,
    "faults/test_cuts.py::test_a_worker_killed": _LISTEN,
    "faults/test_every_message.py::": _SESSION,
    "faults/test_leaving.py::test_a_claim_that_a_worker_leaves_in_the_middle": _SESSION,
    "faults/test_failpoints.py::test_death_at_any_line_loses_nothing_and_charges_no_other[worker": _LISTEN,
    "faults/test_metrics_over_kills.py::test_over_200_kills": _LISTEN,
    "faults/test_pool_behind_a_proxy.py::test_a_peer_that_keeps_the_connection": _SESSION,
    "faults/test_proxy.py::": _SESSION,
    "http/test_admin.py::test_pools_hear_of_what_can_run_again": _LISTEN,
    "http/test_bulk.py::test_a_key_in_an_open_transaction_refuses_no_item_without_a_key": _OPTIONS,
    "http/test_bulk.py::test_a_value_that_the_database_refuses_does_not_spoil_the_rest": _OPTIONS,
    "http/test_bulk.py::test_items_with_a_key_can_be_sent_again_when_that_transaction_has_ended": _OPTIONS,
    "http/test_counts.py::test_a_count_from_before_an_outage_is_not_told_during_it": _SESSION,
    "http/test_hints.py::": _LISTEN,
    "http/test_long_poll.py::test_a_client_that_has_hung_up_gets_no_job": _LISTEN,
    "http/test_long_poll.py::test_a_job_ends_the_wait": _LISTEN,
    "http/test_long_poll.py::test_a_job_that_comes_with_term_is_handed_to_nobody_or_answered": _LISTEN,
    "http/test_long_poll.py::test_a_paused_queue_ends_no_wait": _LISTEN,
    "http/test_long_poll.py::test_a_wait_whose_client_has_hung_up_ends": _LISTEN,
    "http/test_long_poll.py::test_a_wait_keeps_its_one_connection": _SESSION,
    "http/test_long_poll.py::test_half_of_the_threads_may_wait_and_the_others_are_answered_at_once": _SESSION,
    "http/test_long_poll_hints.py::": _LISTEN,
    "http/test_tokens_over_processes.py::test_who_waits_for_work_loses_the_right_to_it": _SESSION,
    "http/test_web_processes.py::test_no_connection_and_no_thread_is_made_before_the_fork": _SESSION,
    "processes/test_canaries.py::test_no_word_of_a_secret": _SESSION,
    "processes/test_pause.py::test_redrive_and_requeue_wake_an_idle_pool_long_before_it_polls": _LISTEN,
    "processes/test_pause.py::test_resume_wakes_an_idle_pool_long_before_it_polls": _LISTEN,
    "processes/test_pause.py::test_resume_wakes_a_lease_that_waits": _LISTEN,
    "processes/test_pool_batches.py::test_what_waits_behind_a_slow_job_is_run_by_another_worker": _LISTEN,
    "processes/test_pool_follow_ups.py::test_a_follow_up_wakes_an_idle_pool": _LISTEN,
    "processes/test_pool_pgbouncer.py::test_behind_session_pooling_a_pool_hears_the_hints": _LISTEN,
    "processes/test_pool_recycling.py::test_a_right_that_is_missing_for_a_while": _SESSION,
    "processes/test_pool_secrets.py::test_no_secret_payload_result_or_error_text_reaches": _SESSION,
    "processes/test_pool_wakeup.py::": _LISTEN,
    "processes/test_roles.py::test_check_says_that_a_setting_of_the_server": _OPTIONS,
}


class PgBouncer:
    """In front of one database of the server, which it calls `jobs`, or of all of them under their own names."""

    def __init__(self, server_url: str, pool_mode: str = "transaction", *, all_databases: bool = False) -> None:
        server = parse_dsn(server_url)
        names = ("host", "port", "user", "password", *([] if all_databases else ["dbname"]))
        entry = make_dsn(**{name: server[name] for name in names if name in server})
        self._folder, self._port = reachable_folder(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._user, self._host = server.get("user", "postgres"), server.get("host", "")
        self._database = server["dbname"] if all_databases else "jobs"
        (self._folder / "pgbouncer.ini").write_text(
            f"[databases]\n{'*' if all_databases else self._database} = {entry}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {pool_mode}\nmax_client_conn = 1000\ndefault_pool_size = 40\nserver_idle_timeout = 5\n"
            f"admin_users = {self._user}\n"
        )

    @property
    def url(self) -> str:
        """Of the database behind it."""
        return self._url_of(self._database)

    def start(self) -> "PgBouncer":
        """Until it lets a client in."""
        command = [path_of("needs_pgbouncer"), self._folder / "pgbouncer.ini"]
        if os.geteuid() == 0:
            # It refuses to run as root, and the embedded server lets nobody in but its own account.
            command[1:1] = ["-u", pwd.getpwuid(_owner(self._host)).pw_name]
        with open(self._folder / "log", "ab") as log:
            process = self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: process.poll() is not None or self._answers(), 10, "PgBouncer answers")
        assert process.poll() is None, (self._folder / "log").read_text()
        return self

    def kill(self) -> None:
        """With all its connections."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def tell(self, command: str) -> None:
        """One of its console: PAUSE, RESUME, RELOAD and so on."""
        console = psycopg2.connect(self._url_of("pgbouncer"))
        try:
            console.autocommit = True
            console.cursor().execute(command)
        finally:
            console.close()

    def __enter__(self) -> "PgBouncer":
        try:
            return self.start()
        except BaseException:
            self._end()
            raise

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        shutil.rmtree(self._folder)

    def _url_of(self, database: str) -> str:
        return f"postgresql://{self._user}@127.0.0.1:{self._port}/{database}"

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url).close()
        except psycopg2.OperationalError:
            return False
        return True


def _owner(socket_folder: str) -> int:
    folder = Path(socket_folder)
    return folder.stat().st_uid if folder.is_absolute() else pwd.getpwnam("nobody").pw_uid
