"""`windlass jobs`, `dead`, `queues`, `pause`, `resume`: what they ask, what they print, how they fail."""

import json
from typing import Any

import pytest
from click.testing import Result
from support.listener import Listener, Reply, run

ID = "01890000-0000-7000-8000-000000000000"
OTHER = "01890000-0000-7000-8000-000000000001"
HOSTILE = "\x1b[2J\x9b31m\u202e\nevil\ttext\x00"
SHOWN = "\\x1b[2J\\x9b31m\\u202e\\nevil\\ttext\\x00"
CLIENTS = (["jobs", "list"], ["jobs", "show", ID], ["jobs", "cancel", ID])
OPERATORS = (
    ["jobs", "retry", ID], ["dead", "list"], ["dead", "redrive"], ["queues"], ["pause", "slow"], ["resume", "slow"],
)  # fmt: skip


def job(number: int = 0, **facts: Any) -> dict[str, Any]:
    return {
        "id": f"01890000-0000-7000-8000-{number:012}", "kind": "note", "queue": "default", "status": "queued",
        "attempts": 0, "max_attempts": 3, "last_error": None, "updated_at": "2026-01-31T12:00:00.5Z", **facts,
    }  # fmt: skip


def at(listener: Listener, *arguments: str, **variables: str) -> Result:
    return run("--server-url", listener.url, *arguments, **variables)


def refusing(listener: Listener, status: int, message: str) -> None:
    listener.status, listener.body = status, json.dumps({"error": "slug", "message": message})


def test_a_list_is_one_line_a_job_with_tabs_between_for_scripts(listener: Listener) -> None:
    listener.status, listener.body = 200, json.dumps([job(1, last_error="no\tgood"), job(2, attempts=1)])
    done = at(listener, "jobs", "list", "--status", "queued", "--kind", "note", "--queue", "a b&c", "--limit", "2")
    assert done.exit_code == 0
    assert done.stdout == (
        f"{job(1)['id']}\tnote\tdefault\tqueued\t0/3\t2026-01-31T12:00:00.5Z\tno\\tgood\n"
        f"{job(2)['id']}\tnote\tdefault\tqueued\t1/3\t2026-01-31T12:00:00.5Z\t\n"
    )
    [(method, path, _, body)] = listener.asked
    assert (method, path, body) == ("GET", "/jobs?status=queued&kind=note&queue=a+b%26c&limit=2", None)
    listener.body = "[]"
    assert at(listener, "jobs", "list").stdout == ""


def paged(total: int, circle: bool = False) -> Any:
    """A service with so many jobs, whose links lead elsewhere but for their cursor."""

    def reply(_method: str, path: str, _body: Any) -> Reply:
        query = dict(pair.split("=") for pair in path.partition("?")[2].split("&"))
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        page = [job(number) for number in range(start, min(total, start + limit))]
        after = 0 if circle else start + limit
        more = {"Link": f'<@evil.example/jobs?limit=1&cursor={after}>; rel="next"'} if start + limit < total else {}
        return 200, json.dumps(page), more

    return reply


@pytest.mark.parametrize(
    ("arguments", "limits", "count"),
    [
        (["--limit", "450"], [200, 200, 50], 450),
        (["--limit", "400"], [200, 200], 400),
        (["--limit", "1000"], [200, 200, 200], 501),
        (["--all"], [200, 200, 200], 501),
        ([], [50], 50),
    ],
)
def test_a_list_goes_on_over_pages_until_it_has_what_was_asked_for(
    listener: Listener, arguments: list[str], limits: list[int], count: int
) -> None:
    listener.reply = paged(501)
    for as_json in (False, True):
        listener.asked.clear()
        done = at(listener, "jobs", "list", *arguments, *(["--json"] if as_json else []))
        assert done.exit_code == 0, done.stderr
        listed = json.loads(done.stdout) if as_json else done.stdout.splitlines()
        assert len(listed) == count
        assert [f"limit={limit}" in path for limit, (_, path, _, _) in zip(limits, listener.asked, strict=True)]


def test_pages_that_go_in_a_circle_come_to_an_end(listener: Listener) -> None:
    listener.reply = paged(501, circle=True)
    done = at(listener, "jobs", "list", "--all")
    assert (done.exit_code, len(listener.asked)) == (1, 2)
    assert "in a circle" in done.stderr


def test_an_empty_list_is_json_too(listener: Listener) -> None:
    listener.status, listener.body = 200, "[]\n"
    assert at(listener, "jobs", "list", "--json").stdout == "[]\n"


def test_show_prints_a_field_a_line_and_hostile_text_never_as_it_is(listener: Listener) -> None:
    listener.status, listener.body = 200, json.dumps(job(last_error=HOSTILE, payload={HOSTILE: [HOSTILE]}))
    done = at(listener, "jobs", "show", ID.upper())
    assert listener.asked[0][1] == f"/jobs/{ID}"
    lines = dict(line.split("\t") for line in done.stdout.splitlines())
    assert (lines["id"], lines["last_error"], lines["attempts"]) == (ID, SHOWN, "0")
    assert done.stdout.isascii()
    assert json.loads(at(listener, "jobs", "show", ID, "--json").stdout) == json.loads(listener.body)


@pytest.mark.parametrize("command", [*CLIENTS[:2], *OPERATORS[1:4], ["ping"], ["enqueue", "--json", "1"]])
@pytest.mark.parametrize("status", [200, 409, 502])
def test_whatever_a_service_sends_no_escape_reaches_the_terminal(
    listener: Listener, command: list[str], status: int
) -> None:
    thing = job(kind=HOSTILE, queue=HOSTILE, status=HOSTILE, last_error=HOSTILE, updated_at=HOSTILE)
    queue = dict.fromkeys(("depth", "queued", "retrying", "running", "oldest_ready_seconds", "paused_at"), HOSTILE)
    whole = {
        **thing, "job_id": HOSTILE, "message": HOSTILE, "jobs": [thing], "queues": [{"queue": HOSTILE, **queue}],
        "matched": 0, "requeued": 0, HOSTILE: HOSTILE,
    }  # fmt: skip
    for body in (json.dumps(whole, ensure_ascii=False), json.dumps([thing], ensure_ascii=False), HOSTILE * 100):
        listener.status, listener.body = status, body
        for more in ([], ["--json"]):
            done = at(listener, *command, *(more if command[-1] in ("list", "queues", ID) else []))
            for printed in (done.stdout, done.stderr):
                assert all(line.replace("\t", "").isprintable() for line in printed.split("\n")), printed
            if status != 200:
                assert done.exit_code == 1
                assert len(done.stderr.splitlines()) == 1


def test_cancel_and_retry_say_of_each_job_what_became_of_it(listener: Listener) -> None:
    def reply(_method: str, path: str, _body: Any) -> Reply:
        if OTHER in path:
            return 409, '{"error": "conflict", "message": "it has already ended"}', {}
        return 200, json.dumps({"status": "cancelled" if "cancel" in path else "queued"}), {}

    listener.reply = reply
    for verb, became in (("cancel", "cancelled"), ("retry", "queued")):
        done = at(listener, "jobs", verb, OTHER, ID)
        assert (done.exit_code, done.stdout) == (1, f"{ID}\t{became}\n")
        assert done.stderr == f"jobs {verb} {OTHER} failed: 409 it has already ended\n"
        assert at(listener, "jobs", verb, ID).exit_code == 0
    assert {(method, body) for method, _, _, body in listener.asked} == {("POST", None)}


def test_a_token_that_is_refused_is_refused_for_all(listener: Listener) -> None:
    refusing(listener, 401, "the token is not known")
    done = at(listener, "jobs", "cancel", ID, OTHER)
    assert (done.exit_code, len(listener.asked), len(done.stderr.splitlines())) == (1, 1, 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_named(listener: Listener, status: int) -> None:
    refusing(listener, status, "no")
    for command in (*CLIENTS, *OPERATORS):
        done = at(listener, *command)
        variable = "ADMIN_TOKEN" if command in OPERATORS else "API_TOKEN"
        assert done.exit_code == 1
        [line] = done.stderr.splitlines()
        assert f" failed: {status} no; it needs the service's {variable}: set {variable}, or --api-token" in line


def test_operators_commands_send_admin_token_first_and_what_is_said_beats_what_is_set(listener: Listener) -> None:
    refusing(listener, 409, "no")

    def sent(*arguments: str, **variables: str) -> str | None:
        at(listener, *arguments, **variables)
        return listener.asked[-1][2].get("authorization")

    for command in OPERATORS:
        assert sent(*command) is None
        assert sent(*command, API_TOKEN="client") == "Bearer client"
        assert sent(*command, ADMIN_TOKEN="admin") == "Bearer admin"
        assert sent(*command, API_TOKEN="client", ADMIN_TOKEN="admin") == "Bearer admin"
        assert sent("--api-token", "said", *command, API_TOKEN="client", ADMIN_TOKEN="admin") == "Bearer said"
        assert sent(*command, API_TOKEN="client", ADMIN_TOKEN="") == "Bearer client"
    # The stronger token is not shown where the weaker one does.
    for command in CLIENTS:
        assert sent(*command, API_TOKEN="client", ADMIN_TOKEN="admin") == "Bearer client"
        assert sent(*command, ADMIN_TOKEN="admin") is None
    done = at(listener, "queues", ADMIN_TOKEN="secret\n")
    assert done.exit_code == 2
    assert "ADMIN_TOKEN must be visible ASCII" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("name", ["a b", "a/b", "../pause", ".", "..", "", "a" * 129, "\u00e4", "a\n"])
def test_a_name_that_no_queue_can_have_is_wrong_usage(listener: Listener, name: str) -> None:
    for command in (["pause"], ["resume"], ["dead", "list", "--queue"], ["dead", "redrive", "--queue"]):
        done = at(listener, *command, name)
        assert done.exit_code == 2, done.stdout
        assert len(done.stderr.splitlines()) <= 5
    assert listener.asked == []


@pytest.mark.parametrize("text", ["nope", "", "1", f"{ID}/retry", "../jobs"])
def test_an_id_that_is_none_is_wrong_usage(listener: Listener, text: str) -> None:
    for verb in ("show", "cancel", "retry"):
        assert at(listener, "jobs", verb, text).exit_code == 2
    assert listener.asked == []


def test_pause_and_resume_name_the_queue_in_the_address(listener: Listener) -> None:
    listener.status, listener.body = 204, ""
    assert at(listener, "pause", "a:b._-").stdout == "a:b._- is paused\n"
    assert at(listener, "resume", "a:b._-").stdout == "a:b._- is not paused\n"
    assert [path for _, path, _, _ in listener.asked] == [
        "/v1/admin/queues/a:b._-/pause", "/v1/admin/queues/a:b._-/resume",
    ]  # fmt: skip


def test_queues_and_the_dead_are_lines_with_tabs_for_scripts(listener: Listener) -> None:
    queue = {
        "queue": "default", "depth": 3, "queued": 4, "retrying": 5, "running": 6, "oldest_ready_seconds": 1.5,
        "paused_at": None,
    }  # fmt: skip
    listener.status, listener.body = 200, json.dumps({"queues": [queue], "jobs": [job(state="dead", last_error="e")]})
    assert at(listener, "queues").stdout == "default\t3\t4\t5\t6\t1.5\t\n"
    done = at(listener, "dead", "list", "--queue", "slow", "--limit", "7")
    assert done.stdout == f"{ID}\tnote\t0/3\t2026-01-31T12:00:00.5Z\te\n"
    assert listener.asked[-1][1] == "/v1/admin/queues/slow/dead?limit=7"
    for command in (["queues"], ["dead", "list"]):
        assert json.loads(at(listener, *command, "--json").stdout) == json.loads(listener.body)


def dying(matched: int, again: bool = True) -> Any:
    """A service whose dead letters die again as soon as they are redriven, or that lets others take them."""

    def reply(_method: str, _path: str, body: Any) -> Reply:
        taken = 0 if body.get("dry_run") or not again else min(body["limit"], matched)
        return 200, json.dumps({"matched": matched, "requeued": taken}), {}

    return reply


def test_a_redrive_ends_after_as_many_as_matched_at_its_beginning(listener: Listener) -> None:
    listener.reply = dying(12_000)
    done = at(listener, "dead", "redrive", "--kind", "note", "--error-contains", "x y", "--queue", "slow")
    assert (done.exit_code, done.stdout) == (0, "12000 dead letters matched; 12000 are redriven\n")
    filters = {"kind": "note", "error_contains": "x y"}
    assert [body for _, _, _, body in listener.asked] == [
        {**filters, "dry_run": True}, *[{**filters, "limit": limit} for limit in (5000, 5000, 2000)],
    ]  # fmt: skip
    assert {path for _, path, _, _ in listener.asked} == {"/v1/admin/queues/slow/redrive"}


@pytest.mark.parametrize(("limit", "asked"), [(7, [7]), (6000, [5000, 1000]), (20_000, [5000, 5000, 2000])])
def test_a_redrive_takes_no_more_than_its_limit(listener: Listener, limit: int, asked: list[int]) -> None:
    listener.reply = dying(12_000)
    assert at(listener, "dead", "redrive", "--limit", str(limit)).exit_code == 0
    assert [body["limit"] for _, _, _, body in listener.asked[1:]] == asked


def test_a_redrive_whose_dead_letters_others_take_comes_to_an_end(listener: Listener) -> None:
    listener.reply = dying(12_000, again=False)
    assert at(listener, "dead", "redrive").stdout == "12000 dead letters matched; 0 are redriven\n"
    assert len(listener.asked) == 2


def test_a_dry_run_only_asks(listener: Listener) -> None:
    listener.reply = dying(9)
    done = at(listener, "dead", "redrive", "--dry-run", "--limit", "4")
    assert done.stdout == "9 dead letters match; 4 would be redriven\n"
    assert [body for _, _, _, body in listener.asked] == [{"dry_run": True}]


def test_a_redrive_that_is_refused_halfway_says_how_far_it_came(listener: Listener) -> None:
    def reply(method: str, path: str, body: Any) -> Reply:
        if len(listener.asked) == 3:
            return 503, '{"error": "unavailable", "message": "the database cannot serve now; try again"}', {}
        return dying(12_000)(method, path, body)  # type: ignore[no-any-return]

    listener.reply = reply
    done = at(listener, "dead", "redrive")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "dead redrive failed: 503 the database cannot serve now; try again (after 5000 of 12000; the same command goes"
        " on)\n"
    )


@pytest.mark.parametrize(
    "body", ["null", "[]", "{}", "[1]", '{"queues": {}}', '{"jobs": [1]}', "<html>", '{"matched": "1"}']
)
def test_an_answer_that_is_not_ours_is_one_line(listener: Listener, body: str) -> None:
    listener.status, listener.body = 200, body
    for command in (["jobs", "show", ID], ["dead", "list"], ["dead", "redrive"], ["queues"]):
        if (body, command) == ("{}", ["jobs", "show", ID]) or (body[0], command[0]) == ("{", "jobs"):
            continue
        done = at(listener, *command)
        assert done.exit_code == 1
        [line] = done.stderr.splitlines()
        assert "no Windlass" in line
