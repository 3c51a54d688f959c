"""The `windlass` command as a client: what it sends, what it prints, how it fails."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from sql import __version__

PAYLOAD = '{"text": "One. Two."}'


class Listener:
    """An HTTP server that keeps what it was asked and answers what the test wants."""

    def __init__(self) -> None:
        self.status, self.body = 201, '{"id": "01890000-0000-7000-8000-000000000000"}'
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.asked.append((self.command, self.path, headers, json.loads(body) if body else None))
                self.send_response(listener.status)
                self.end_headers()
                self.wfile.write(listener.body.encode())

            do_GET = do_POST = _answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02])
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener on a loopback port."""
    made = Listener()
    yield made
    made.close()


def run(*arguments: str, **variables: str) -> Result:
    """The command in this process, with nothing of the developer's environment that it reads."""
    unset = dict.fromkeys(("WINDLASS_URL", "API_TOKEN"))
    return CliRunner().invoke(cli, arguments, env={**unset, **variables})


def enqueue(listener: Listener, *arguments: str) -> Result:
    """`windlass enqueue` of one kind and payload, and what else is said."""
    return run("--server-url", listener.url, "enqueue", "--kind", "summarize_text", "--json", PAYLOAD, *arguments)


def test_enqueue_prints_the_id_of_the_job_and_nothing_else(listener: Listener) -> None:
    for status in (201, 200):
        listener.status = status
        done = enqueue(listener)
        assert done.exit_code == 0
        assert done.stdout == "01890000-0000-7000-8000-000000000000\n"
        assert done.stderr == ""


def test_enqueue_sends_no_option_that_was_not_given(listener: Listener) -> None:
    enqueue(listener)
    [(method, path, headers, body)] = listener.asked
    assert (method, path) == ("POST", "/jobs")
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert body == {"kind": "summarize_text", "payload": {"text": "One. Two."}}


def test_enqueue_sends_every_option_that_was_given(listener: Listener) -> None:
    given = ["--queue", "slow", "--max-attempts", "7", "--priority", "-3"]
    enqueue(listener, *given, "--run-at", "2030-01-31T12:00:00Z", "--idempotency-key", "order 17")
    [(_, _, _, body)] = listener.asked
    assert body == {
        "kind": "summarize_text",
        "payload": {"text": "One. Two."},
        "queue": "slow",
        "max_attempts": 7,
        "priority": -3,
        "run_at": "2030-01-31T12:00:00Z",
        "idempotency_key": "order 17",
    }


@pytest.mark.parametrize("text", ["null", "false", "0", '""', "[]", '"grüße"'])
def test_enqueue_sends_any_json_as_the_payload(listener: Listener, text: str) -> None:
    done = run("--server-url", listener.url, "enqueue", "--kind", "external", "--json", text)
    assert done.exit_code == 0
    [(_, _, _, body)] = listener.asked
    assert body == {"kind": "external", "payload": json.loads(text)}


def test_a_refused_enqueue_is_one_line_with_status_and_body(listener: Listener) -> None:
    listener.status, listener.body = 422, '{"error":"validation","message":"kind: unknown"}\n'
    done = enqueue(listener)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == 'enqueue failed: 422 {"error":"validation","message":"kind: unknown"}\n'


def test_an_answer_that_is_not_ours_is_one_line(listener: Listener) -> None:
    listener.body = "<html>a proxy's page</html>"
    done = enqueue(listener)
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert "not JSON" in line


@pytest.mark.parametrize("text", ["{", "", "NaN", "[Infinity]", "{'a': 1}", "1" * 5000, "[" * 100_000])
def test_enqueue_refuses_what_is_not_json_before_it_asks_anybody(listener: Listener, text: str) -> None:
    done = run("--server-url", listener.url, "enqueue", "--kind", "external", "--json", text)
    assert done.exit_code == 2
    assert "not JSON" in done.stderr
    assert listener.asked == []


@pytest.mark.parametrize("missing", ["--kind", "--json"])
def test_enqueue_needs_a_kind_and_a_payload(missing: str) -> None:
    arguments = {"--kind": "external", "--json": "{}"}
    del arguments[missing]
    done = run("enqueue", *(word for pair in arguments.items() for word in pair))
    assert done.exit_code == 2
    assert f"Missing option '{missing}'" in done.stderr


def test_ping_prints_the_body_and_succeeds_on_200_only(listener: Listener) -> None:
    listener.body = "ok"
    for status, exit_code in ((200, 0), (204, 1), (404, 1), (503, 1)):
        listener.status = status
        done = run("--server-url", listener.url, "ping")
        assert (done.exit_code, listener.asked[-1][1]) == (exit_code, "/healthz")
        if status != 204:
            assert done.stdout == "ok\n"


def test_nobody_listening_is_one_line_and_exit_1(listener: Listener) -> None:
    listener.close()
    for command in (["ping"], ["enqueue", "--kind", "external", "--json", "{}"]):
        done = run("--server-url", listener.url, *command)
        assert done.exit_code == 1
        [line] = done.stderr.splitlines()
        assert line.startswith(f"no answer from {listener.url}: ")
        assert "Connection refused" in line


def test_the_token_is_sent_from_the_option_or_the_environment(listener: Listener) -> None:
    listener.status, listener.body = 200, "ok"
    run("--server-url", listener.url, "--api-token", "given", "ping", API_TOKEN="set")
    run("ping", WINDLASS_URL=listener.url + "/", API_TOKEN="set")
    run("ping", WINDLASS_URL=listener.url)
    assert [asked[2].get("authorization") for asked in listener.asked] == ["Bearer given", "Bearer set", None]
    # A slash at the end of the address is not doubled.
    assert {asked[1] for asked in listener.asked} == {"/healthz"}


@pytest.mark.parametrize("url", ["", " ", "localhost:8080", "ftp://localhost", "http://", "http://[::1", "8080"])
def test_an_address_that_is_none_is_wrong_usage(url: str) -> None:
    done = run("--server-url", url or "http:", "ping")
    assert done.exit_code == 2
    assert "--server-url must be like" in done.stderr


def test_a_token_with_a_line_break_is_refused_and_not_repeated() -> None:
    done = run("--api-token", "secret\n", "ping")
    assert done.exit_code == 2
    assert "--api-token must be" in done.stderr
    assert "secret" not in done.stderr


def test_version_is_that_of_the_package() -> None:
    done = run("--version")
    assert done.exit_code == 0
    assert done.stdout == f"windlass, version {__version__}\n"


def test_help_names_every_command() -> None:
    done = run("--help")
    for name in ("up", "demo", "check", "web", "worker", "migrate", "enqueue", "ping", "remote"):
        assert f"\n  {name} " in done.stdout
