"""`windlass demo`: what it needs, and that it does not call anything done that was not."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.service import Surroundings


@pytest.fixture
def surroundings(database_url: str) -> Iterator[Surroundings]:
    """Surroundings on the test's database, with nothing running yet."""
    made = Surroundings(DATABASE_URL=database_url)
    yield made
    made.clear()


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout
    [line] = done.stderr.splitlines()
    return line


def test_demo_tells_kinds_attempts_and_evidence(surroundings: Surroundings) -> None:
    surroundings.up()
    done = surroundings.run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[1:4] for line in done.stdout.splitlines() if "_" in line.split()[0]}
    assert rows == {
        "send_email": ["8", "8", "8"],
        "resize_image": ["8", "8", "8"],
        "summarize_text": ["8", "8", "8"],
        # One delivery is turned away the first time.
        "webhook_delivery": ["8", "8", "9"],
    }
    pictures = Path(surroundings.environ["WINDLASS_DATA"]) / "media/demo"
    assert len(list(pictures.iterdir())) == 9
    again = surroundings.run("demo")
    assert again.returncode == 0, again.stdout + again.stderr


def test_demo_watches_on_a_terminal_with_a_live_bar(surroundings: Surroundings) -> None:
    surroundings.up()
    with surroundings.terminal("demo") as terminal:
        assert terminal.wait(60) == 0, terminal.said
        assert "resize_image" in terminal.said
        assert "━" in terminal.said
        assert "8/8" in terminal.said


def test_demo_without_up_says_to_start_it(surroundings: Surroundings) -> None:
    line = _one_line(surroundings.run("demo"))
    assert line.endswith("start it in another shell with `windlass up`")


def test_demo_after_up_has_ended_says_to_start_it(surroundings: Surroundings) -> None:
    surroundings.up().end()
    line = _one_line(surroundings.run("demo"))
    assert line.endswith("start it in another shell with `windlass up`")


def test_demo_fails_when_jobs_fail_and_says_which(surroundings: Surroundings) -> None:
    surroundings.up(IMAGE_MAX_PIXELS="1000")
    done = surroundings.run("demo")
    assert done.returncode == 1
    problems = done.stderr.splitlines()
    assert len(problems) == 8
    assert all(line.startswith("resize_image ") and "failed_permanent: " in line for line in problems)
    assert "8 missing" in done.stdout


def test_demo_fails_when_the_evidence_is_missing_although_the_jobs_succeeded(surroundings: Surroundings) -> None:
    # The pool reads and writes its pictures in another folder than the demo was told to look in.
    pools, demos = surroundings.folder / "pools", surroundings.folder / "demos"
    (pools / "demo").mkdir(parents=True)
    demos.mkdir()
    Image.new("RGB", (1600, 1200)).save(pools / "demo/source.png")
    surroundings.up(MEDIA_ROOT=str(pools))
    record = Path(surroundings.environ["WINDLASS_DATA"]) / "up.json"
    record.write_text(record.read_text().replace(str(pools), str(demos)))
    done = surroundings.run("demo")
    assert done.returncode == 1
    problems = done.stderr.splitlines()
    assert len(problems) == 8
    assert all(line.startswith("resize_image ") and "No such file" in line for line in problems)


def test_demo_gives_up_after_its_timeout(surroundings: Surroundings) -> None:
    surroundings.up(WORKER_QUEUES="another")
    done = surroundings.run("demo", "--timeout", "1")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 32
    assert "queued: no error so far" in done.stderr


def test_demo_sends_nothing_to_a_mail_server_of_yours(surroundings: Surroundings) -> None:
    surroundings.up(SMTP_URL="smtp://127.0.0.1:1")
    assert _one_line(surroundings.run("demo")).startswith("windlass up was started with SMTP_URL set")


def test_demo_needs_the_webhook_secret_that_up_was_given(surroundings: Surroundings) -> None:
    secret = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbm90IGEgcmVhbCBvbmU="
    surroundings.up(WEBHOOK_SECRET=secret)
    assert "set it here too" in _one_line(surroundings.run("demo"))
    done = surroundings.run("demo", WEBHOOK_SECRET=secret)
    assert done.returncode == 0, done.stderr


def test_demo_finds_forged_webhooks(surroundings: Surroundings) -> None:
    surroundings.up(WEBHOOK_SECRET="whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbm90IGEgcmVhbCBvbmU=")
    another = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzLCBhcyBsb25n"
    done = surroundings.run("demo", "--timeout", "4", WEBHOOK_SECRET=another)
    assert done.returncode == 1
    problems = done.stderr.splitlines()
    assert len(problems) == 8
    assert all(line.startswith("webhook_delivery ") and "401" in line for line in problems)


def test_demo_sends_its_token(surroundings: Surroundings) -> None:
    surroundings.up(API_TOKEN="secret-of-the-service")
    refused = _one_line(surroundings.run("demo"))
    assert refused.startswith("enqueue failed: 401 ")
    done = surroundings.run("--api-token", "secret-of-the-service", "demo")
    assert done.returncode == 0, done.stderr


def test_a_second_demo_at_the_same_time_is_refused(surroundings: Surroundings) -> None:
    surroundings.up()
    record = json.loads((Path(surroundings.environ["WINDLASS_DATA"]) / "up.json").read_text())
    port = record["webhook_port"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        line = _one_line(surroundings.run("demo"))
    assert line == f"cannot listen on 127.0.0.1:{port}: Address already in use; does another `windlass demo` run?"
