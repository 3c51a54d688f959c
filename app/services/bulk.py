"""Many jobs in one request, each as if it had come alone and in order, in as few statements as that allows."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from marshmallow import ValidationError

import sql.errors
import sql.jobs
from app.problems import Invalid, Problem, Unavailable, field_messages
from app.services.jobs import Rules, key_conflict, prepare, queue_full
from sql.connection import Connection
from sql.errors import Rejected, UnknownCommit
from sql.jobs import Enqueued, NewJob
from sql.rows import Job
from workerpool.kinds import requests

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What became of one item: a job, new or found by its key, or the reason it was refused."""

    job: Job | None = None
    created: bool = False
    problem: Problem | None = None

    @property
    def status(self) -> int:
        """What `POST /jobs` would have answered."""
        if self.problem is not None:
            return self.problem.status
        return 201 if self.created else 200


class _Asked(NamedTuple):
    place: int
    job: NewJob


class _Decided(NamedTuple):
    """Of each place why it is refused or which job it became; and the jobs, by id, as far as they have been read."""

    problems: dict[int, Problem]
    enqueued: dict[int, Enqueued]
    jobs: dict[str, Job]

    def note(self, place: int, outcome: Job | Enqueued | Problem) -> None:
        if isinstance(outcome, Job):
            self.jobs[outcome.id] = outcome
            self.enqueued[place] = Enqueued(outcome.id, created=True, same_request=True)
        elif isinstance(outcome, Problem):
            self.problems[place] = outcome
        elif outcome.same_request:
            self.enqueued[place] = outcome
        else:
            self.problems[place] = key_conflict()

    def is_new(self, place: int) -> bool:
        return place in self.enqueued and self.enqueued[place].created

    def answer(self, place: int) -> Answer:
        if place in self.problems:
            return Answer(problem=self.problems[place])
        enqueued = self.enqueued[place]
        job = self.jobs.get(enqueued.id)
        if job is None:
            # Retention took it between the two statements, or it was not read any more.
            return Answer(
                problem=Unavailable("the job of this key is gone, or too large for this answer; send it alone")
            )
        return Answer(job, enqueued.created)


def enqueue(conn: Connection, rules: Rules, items: Sequence[Any]) -> list[Answer]:
    """Stores what can be stored and answers in the order of `items`; one bad item does not refuse its neighbours.

    Raises sql.errors.Unavailable when nothing could be stored, or when it is not known what was.
    """
    decided = _Decided({}, {}, {})
    waiting: list[_Asked] = []
    for place, item in enumerate(items):
        try:
            waiting.append(_Asked(place, prepare(rules, _loaded(item))))
        except Problem as problem:
            decided.problems[place] = problem
    _store_admitted(conn, rules, waiting, decided)
    found = {each.id for each in decided.enqueued.values()} - decided.jobs.keys()
    if found:
        decided.jobs.update(sql.jobs.find_many(conn, list(found)))
    return _bounded([decided.answer(place) for place in range(len(items))])


def _store_admitted(conn: Connection, rules: Rules, waiting: list[_Asked], decided: _Decided) -> None:
    """Stores those for whose queue there is room, the first first; why the others are refused."""
    if rules.depth is None:
        _store_all(conn, waiting, decided)
        return
    asked_of: dict[str, list[_Asked]] = {}
    for asked in waiting:
        asked_of.setdefault(asked.job.queue, []).append(asked)
    with ExitStack() as rooms:
        admissions = {
            queue: rooms.enter_context(rules.depth.admit(conn, queue, len(them))) for queue, them in asked_of.items()
        }
        for queue, admission in admissions.items():
            full = queue_full(queue, rules.depth.limit)
            decided.problems.update((asked.place, full) for asked in asked_of[queue][admission.jobs :])
        _store_all(conn, [asked for asked in waiting if asked.place not in decided.problems], decided)
        for queue, admission in admissions.items():
            admission.stored = sum(decided.is_new(asked.place) for asked in asked_of[queue])


def _store_all(conn: Connection, waiting: list[_Asked], decided: _Decided) -> None:
    while waiting:
        waiting = _store(conn, waiting, decided)


def _bounded(answers: list[Answer]) -> list[Answer]:
    """A thousand keys may find a thousand jobs with large results, or one of them a thousand times."""
    told = 0
    bounded = []
    for answer in answers:
        if answer.job is not None and not answer.created:
            told += sum(len(text or "") for text in (answer.job.payload, answer.job.result, answer.job.progress))
            if told > sql.jobs.MOST_BYTES:
                answer = Answer(problem=Unavailable("this answer is full; send this job in a smaller bulk or alone"))
        bounded.append(answer)
    return bounded


def _loaded(item: Any) -> dict[str, Any]:
    try:
        return requests.load(item)
    except ValidationError as error:
        raise Invalid.of(field_messages(error.messages)) from error


def _store(conn: Connection, waiting: list[_Asked], decided: _Decided) -> list[_Asked]:
    """Stores the first item of each key, decides those behind it where that settles them, and returns the undecided.

    Undecided is only an item whose key an older job holds for another request than the item before it asked for.
    """
    first: dict[str | int, _Asked] = {}
    behind: list[_Asked] = []
    for asked in waiting:
        if first.setdefault(asked.job.idempotency_key or asked.place, asked) is not asked:
            behind.append(asked)
    for asked, outcome in zip(first.values(), _enqueue(conn, [each.job for each in first.values()]), strict=True):
        decided.note(asked.place, outcome)
    undecided = []
    for asked in behind:
        leader = first[asked.job.idempotency_key or asked.place]
        same = asked.job.request_hash == leader.job.request_hash
        if leader.place in decided.enqueued:
            found = decided.enqueued[leader.place]._replace(created=False)
            decided.note(asked.place, found if same else key_conflict())
        elif same or isinstance(decided.problems[leader.place], Unavailable):
            decided.note(asked.place, decided.problems[leader.place])
        else:
            undecided.append(asked)
    return undecided


def _enqueue(conn: Connection, jobs: list[NewJob]) -> list[Job | Enqueued | Problem]:
    try:
        return [*sql.jobs.enqueue_shown(conn, jobs)]
    except Rejected:
        if len(jobs) == 1:
            return [Invalid("a value cannot be stored", details={"body": ["holds a value the database refuses"]})]
    except UnknownCommit:
        raise
    except sql.errors.Unavailable as error:
        keyless = [job for job in jobs if job.idempotency_key is None]
        # On a session that lives the statement was undone: nothing is stored twice.
        if not keyless or len(keyless) == len(jobs) or not conn.usable:
            raise
        log.warning("of a bulk only the jobs without a key are stored: %s", error)
        # Somebody's open transaction holds a key. Waiting for it took nearly all the time a request has, so there is no
        # finding out which key; jobs with one can safely be sent again, and those without cannot.
        stored = iter(_enqueue(conn, keyless))
        held = Unavailable("an idempotency_key of this bulk is being used by somebody else just now; try again")
        return [held if job.idempotency_key else next(stored) for job in jobs]
    # One value spoils the whole statement, and nothing of it was stored: find out which.
    return [outcome for job in jobs for outcome in _enqueue(conn, [job])]
