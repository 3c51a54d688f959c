"""`windlass remote` while the service is away, restarts, or says that it is asked too often."""

import re
import signal
import time
from collections.abc import Iterator

import pytest
from support.receiver import Exchange, Receiver
from support.remote import QUEUE, Workshop, jobs_body, leased, lines_about
from support.service import Running, Surroundings
from support.waiting import until

ID = "01890000-0000-7000-8000-00000000000%d"
WAIT = "mark(os.getpid()); gate('go')"


@pytest.fixture
def workshop(database_url: str) -> Iterator[Workshop]:
    """A web service on the test's database, and workers of it."""
    made = Workshop(Surroundings(DATABASE_URL=database_url))
    yield made
    made.close()


@pytest.fixture
def alone() -> Iterator[Surroundings]:
    """A place for workers whose service a test plays."""
    made = Surroundings(SHUTDOWN_GRACE_SECONDS="5")
    yield made
    made.clear()


class Script:
    """A service that gives the jobs it was made with to whoever leases first, and then nothing.

    `asked` has the time of each request for work, `verbs` every request in order; `answers` by verb are used up in
    order, then it is 204.
    """

    def __init__(self, *jobs: bytes, **answers: list[tuple[int, dict[str, str]]]) -> None:
        self._jobs = list(jobs)
        self._answers = answers
        self.asked: list[float] = []
        self.verbs: list[str] = []
        self.receiver = Receiver(self.answer)

    def answer(self, exchange: Exchange) -> None:
        verb = exchange.path.rpartition("/")[2]
        self.verbs.append(verb)
        if verb == "lease":
            self.asked.append(time.monotonic())
        left = self._answers.get(verb, [])
        if left:
            status, headers = left.pop(0)
            exchange.reply(status, b'{"error": "x", "message": "as the test wants it"}', **headers)
        elif verb == "lease":
            exchange.reply(200, self._jobs.pop(0) if self._jobs else jobs_body())
        else:
            exchange.reply(204)

    def settles(self) -> list[str]:
        """The requests so far but for those for work."""
        return [verb for verb in self.verbs if verb != "lease"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}"


def start(surroundings: Surroundings, script: Script, *options: str, **variables: str) -> Running:
    return surroundings.start("remote", "--queue", QUEUE, *options, WINDLASS_URL=script.url, **variables)


# -- the service restarts, or is away


def test_an_ack_is_repeated_until_a_restarted_service_answers_it(workshop: Workshop) -> None:
    ids = [workshop.add(number, max_attempts=1) for number in range(2)]
    running = workshop.remote(command=WAIT + "; print(payload)")
    until(lambda: len(workshop.marks) == 2, 10)
    workshop.stop_web()
    workshop.open("go")
    until(lambda: running.output.count("no answer to its ack, trying on") == 2, 10)
    workshop.start_web()
    for number, job_id in enumerate(ids):
        job = workshop.ended(job_id)
        assert (job["status"], job["result"], job["attempts"]) == ("succeeded", number, 1)
    assert len(workshop.marks) == 2


def test_a_fail_is_repeated_too(workshop: Workshop) -> None:
    job_id = workshop.add(max_attempts=1)
    running = workshop.remote(command=WAIT + "; sys.exit(3)")
    until(lambda: workshop.marks, 10)
    workshop.stop_web()
    workshop.open("go")
    until(lambda: "no answer to its fail, trying on" in running.output, 10)
    workshop.start_web()
    assert workshop.ended(job_id)["last_error"] == "exit 3"


def test_a_job_goes_on_while_the_service_is_away_for_longer_than_its_lease(workshop: Workshop) -> None:
    job_id = workshop.add(max_attempts=1)
    running = workshop.remote("--lease-ms", "500", command=WAIT)
    until(lambda: workshop.marks, 10)
    workshop.stop_web()
    ended = time.monotonic() + 2.0
    until(lambda: "no heartbeat, trying on" in running.output and time.monotonic() > ended, 10, "four leases long")
    workshop.start_web()
    until(lambda: "the heartbeat is answered again" in running.output, 10)
    workshop.open("go")
    job = workshop.ended(job_id)
    # With room for nine more it has asked for work since: had it done so before the heartbeat, it would have taken
    # its own job back.
    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert len(workshop.marks) == 1


def test_it_starts_before_the_service_does(workshop: Workshop) -> None:
    workshop.stop_web()
    running = workshop.remote(command="pass")
    until(lambda: "no lease, trying on: no answer from" in running.output, 10)
    workshop.start_web()
    assert workshop.ended(workshop.add())["status"] == "succeeded"


def test_a_service_with_another_token_is_waited_for_once_it_has_answered(workshop: Workshop) -> None:
    running = workshop.remote(command="pass", API_TOKEN="a-token")
    workshop.ended(workshop.add())
    workshop.stop_web()
    workshop.surroundings.environ["API_TOKEN"] = "another-token"
    workshop.start_web()
    until(lambda: "no lease, trying on: lease refused: 401" in running.output, 10)
    del workshop.surroundings.environ["API_TOKEN"]
    workshop.stop_web()
    workshop.start_web()
    until(lambda: "leases are answered again" in running.output, 20)
    assert not running.ended


def test_what_cannot_be_settled_in_the_grace_is_given_up_and_said(workshop: Workshop) -> None:
    job_id = workshop.add()
    running = workshop.remote(command=WAIT, SHUTDOWN_GRACE_SECONDS="0.5")
    until(lambda: workshop.marks, 10)
    workshop.stop_web()
    workshop.open("go")
    until(lambda: "no answer to its ack" in running.output, 10)
    running.signal(signal.SIGTERM)
    assert running.wait(0.5 + 3.5) == 0
    assert any("ERROR" in line for line in lines_about(job_id, running.output))


# -- 429 and 503


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_before_more_work_is_asked_for(alone: Surroundings, status: int) -> None:
    script = Script(lease=[(status, {"Retry_After": "1"})] * 2)
    with script.receiver:
        start(alone, script)
        until(lambda: len(script.asked) >= 3, 10)
        first, second, third = script.asked[:3]
        alone.end()
    assert second - first >= 1
    assert third - second >= 1


def test_without_retry_after_the_pauses_grow(alone: Surroundings) -> None:
    script = Script(lease=[(503, {})] * 4)
    with script.receiver:
        start(alone, script)
        until(lambda: len(script.asked) >= 4, 15)
        pauses = [later - earlier for earlier, later in zip(script.asked, script.asked[1:4], strict=False)]
        alone.end()
    assert [pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True)] == [True] * 3


def test_an_ack_that_is_asked_too_often_waits_as_it_is_told(alone: Surroundings) -> None:
    script = Script(jobs_body(leased(ID % 1)), ack=[(429, {"Retry_After": "1"})])
    with script.receiver:
        running = start(alone, script)
        until(lambda: "acked" in running.output, 10)
        alone.end()
    assert script.settles() == ["ack", "ack"]


def test_a_heartbeat_that_is_asked_too_often_comes_before_new_leases(alone: Surroundings) -> None:
    script = Script(jobs_body(leased(ID % 1)), heartbeat=[(429, {"Retry_After": "1"})])
    with script.receiver:
        options = ["--lease-ms", "300", "--poll-interval-ms", "10", "--exec", "sleep 1000"]
        start(alone, script, *options, SHUTDOWN_GRACE_SECONDS="0")
        until(lambda: script.settles().count("heartbeat") >= 2, 10)
        refused, answered = [number for number, verb in enumerate(script.verbs) if verb == "heartbeat"][:2]
        # One lease may have been under way.
        assert script.verbs[refused:answered].count("lease") <= 1
        until(lambda: script.verbs[answered:].count("lease") >= 2, 10, "work is asked for again")
        alone.end()


def test_an_answer_sooner_than_asked_for_is_followed_by_the_poll_interval(alone: Surroundings) -> None:
    script = Script()
    with script.receiver:
        start(alone, script, "--poll-interval-ms", "300")
        until(lambda: len(script.asked) >= 4, 10)
        pauses = [later - earlier for earlier, later in zip(script.asked, script.asked[1:], strict=False)]
        alone.end()
    assert min(pauses) >= 0.3


# -- what only a service with odd manners shows


def test_jobs_that_arrive_while_it_leaves_are_released_and_not_started(alone: Surroundings) -> None:
    script = Script()
    held: list[Exchange] = []

    def answer(exchange: Exchange) -> None:
        if exchange.path == "/v1/lease":
            held.append(exchange)
            # Until the worker half-closes: it takes nothing more.
            assert exchange.rfile.read(1) == b""
            exchange.reply(200, jobs_body(leased(ID % 1), leased(ID % 2)))
        else:
            exchange.reply(204)

    script.receiver.answer = answer
    with script.receiver:
        running = start(alone, script, "--exec", "touch started")
        until(lambda: held, 10)
        running.signal(signal.SIGTERM)
        assert running.wait(5) == 0
        told = sorted(request.path for request in script.receiver.requests)
        bodies = {request.body for request in script.receiver.requests if request.path.endswith("/release")}
    assert told == ["/v1/jobs/" + ID % 1 + "/release", "/v1/jobs/" + ID % 2 + "/release", "/v1/lease"]
    assert bodies == {b'{"lease_token":"token-of-%s"}' % (ID % number).encode() for number in (1, 2)}
    assert not (alone.folder / "started").exists()
    assert "released 2" in running.output


def test_a_lease_is_not_lost_that_was_just_settled(alone: Surroundings) -> None:
    # As when the answer to the first ack is on its way: the heartbeat finds no lease any more.
    script = Script(jobs_body(leased(ID % 1)), ack=[(503, {"Retry_After": "1"})], heartbeat=[(409, {})])
    with script.receiver:
        running = start(alone, script, "--lease-ms", "300")
        until(lambda: "acked" in running.output, 10)
        alone.end()
    assert script.settles() == ["ack", "heartbeat", "ack"]
    assert "lost" not in running.output


def test_a_page_of_a_router_is_no_lost_lease(alone: Surroundings) -> None:
    script = Script(jobs_body(leased(ID % 1)), ack=[(404, {}), (401, {}), (502, {})])
    with script.receiver:
        running = start(alone, script)
        until(lambda: "acked" in running.output, 10)
        alone.end()
    assert script.settles() == ["ack"] * 4


def test_a_result_that_is_refused_is_left_out(alone: Surroundings) -> None:
    script = Script(jobs_body(leased(ID % 1)), ack=[(413, {})])
    with script.receiver:
        running = start(alone, script, "--exec", "echo 1")
        until(lambda: "acked" in running.output, 10)
        alone.end()
    assert [b"result" in request.body for request in script.receiver.requests if request.path.endswith("ack")] == [
        True,
        False,
    ]
    assert re.search(r"WARNING.* sending it without", running.output)


def test_a_command_that_cannot_be_started_fails_its_job_and_is_beaten_for_no_more(alone: Surroundings) -> None:
    (alone.folder / "program").write_text("#!/nowhere/interpreter\n")
    (alone.folder / "program").chmod(0o755)
    script = Script(jobs_body(leased(ID % 1)))
    with script.receiver:
        running = start(alone, script, "--lease-ms", "300", "--poll-interval-ms", "100", "--exec", "./program")
        until(lambda: "failed: cannot start the command" in running.output, 10)
        asked = len(script.asked)
        until(lambda: len(script.asked) > asked + 5, 10, "longer than a lease")
        alone.end()
    assert script.settles() == ["fail"]
