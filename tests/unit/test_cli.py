"""The `windlass` command as a client: what it sends, what it prints, how it fails."""

import json

import pytest
from click.testing import Result
from support.listener import Listener, run

from sql import __version__

PAYLOAD = '{"text": "One. Two."}'


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


def test_without_a_kind_the_job_is_for_workers_over_http(listener: Listener) -> None:
    listener.status, listener.body = 200, '{"job_id": "01890000-0000-7000-8000-000000000000"}'
    done = run("--server-url", listener.url, "enqueue", "--json", "null", "--idempotency-key", "k")
    assert (done.exit_code, done.stdout) == (0, "01890000-0000-7000-8000-000000000000\n")
    run("--server-url", listener.url, "enqueue", "--json", "1", "--queue", "slow", "--max-attempts", "2")
    assert [(path, body) for _, path, _, body in listener.asked] == [
        ("/v1/jobs", {"queue": "default", "payload": None, "idempotency_key": "k"}),
        ("/v1/jobs", {"queue": "slow", "payload": 1, "max_attempts": 2}),
    ]
    listener.status, listener.body = 409, '{"error":"conflict","message":"used"}'
    assert (
        run("--server-url", listener.url, "enqueue", "--json", "1").stderr == f"enqueue failed: 409 {listener.body}\n"
    )


def test_enqueue_needs_a_payload() -> None:
    done = run("enqueue", "--kind", "external")
    assert done.exit_code == 2
    assert "Missing option '--json'" in done.stderr


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
