"""An instance of the model on a real PostgreSQL: its moves made by the product's statements, its state read back.

Nothing waits: what is to be over is moved into the past. What no statement sees, whether a handler has begun say, is
not in it.
"""

from typing import Any, NamedTuple
from uuid import uuid4

from faults.harness.model import settles
from faults.harness.model.actions import Move
from faults.harness.model.states import MARKED, Done, Instance, Job, Ready, Running, Stage, State, Worker
from support.work import KIND, from_start, lease_of, new_job

from sql import jobs, leases, workers
from sql.connection import Connection
from sql.leases import Lease

UNSEEN = {"start", "finish", "revoke", "forget", "pause", "resume"}

_AN_HOUR = 3600
# Each worker's row says how long its lease is. The server of the tests may be younger than any real lease, and within
# one of them after its start nobody is marked.
_EXPIRE = "update windlass.workers set heartbeat_at = now() - interval '1 hour', lease_seconds = 0.01 where id = %(id)s"
_LAST_AGAIN = "update windlass.workers set lease_seconds = 3600 where id = %(id)s"
_RUN_OUT = "update windlass.running set lease_expires_at = now() - interval '1 hour' where id = %(id)s"
_JOBS = """
select id::text, 'ready', attempts, null::bigint, null::bigint, false, false
from windlass.ready
where id = any(%(ids)s::uuid[])
union all
select id::text, 'running', attempts, fence, worker_id, coalesce(lease_expires_at < now(), false), cancel_requested
from windlass.running
where id = any(%(ids)s::uuid[])
union all
select id::text, status, attempts, null, null, false, false
from windlass.done
where id = any(%(ids)s::uuid[])
"""
_WORKERS = """
select id, lost_at is not null, heartbeat_at < now() - make_interval(secs => lease_seconds)
from windlass.workers
where id = any(%(ids)s::bigint[])
"""


Row = Ready | Running | Done


class Memory(NamedTuple):
    """What is known beside the database, to go back to.

    identities  the row in `workers` of each worker, None of a client
    leases      what each worker believes to hold of each job
    said        by fence, the verb it was settled by, or that it was rescued or buried
    newest      fence of all
    """

    identities: tuple[int | None, ...]
    leases: dict[tuple[int, int], Lease]
    said: dict[int, str]
    newest: int


class Reality:
    """The jobs and workers of an instance in a database. Jobs have a queue each, so that a claim or a rescue can be
    asked for one of them alone. `together`: workers ack and claim by the one statement for both.
    """

    def __init__(self, conn: Connection, instance: Instance, *, together: bool = False) -> None:
        self._conn = conn
        self._together = together
        self._queues = [str(uuid4()) for _ in range(instance.jobs)]
        given = [new_job(queue=queue, max_attempts=instance.max_attempts) for queue in self._queues]
        self._jobs = [job.id for job in jobs.enqueue(conn, given)]
        first = instance.first()
        identities = tuple(None if each is Worker.HTTP else self._register() for each in first.workers)
        self.memory = Memory(identities, {}, {}, 0)

    def make(self, state: State, move: Move, number: int | None) -> None:
        """Makes a move of `state` happen. AssertionError when the answer is not what the model says."""
        if number is None:
            self._make_of_workers(state, move)
            return
        then, job, worker = move.job, self._jobs[number], move.worker
        assert then is not None
        match move.action:
            case "claim":
                self._claim(move, number, then)
            case "settle" | "bury":
                self._settle(state, move, number, then)
            case "give back":
                (lease,) = self._held(worker, number)
                released = leases.release(self._conn, self.memory.identities[worker], [lease])
                assert released == {job}, "the steward could not give it back"
                self._settled(lease, "release")
            case "extend":
                row = state.jobs[number].running
                answer = leases.extend(self._conn, self.memory.leases[worker, number], _AN_HOUR * 1000)
                assert answer == (row.cancel if row and move.accepted else None), f"extend answered {answer}"
                if not move.accepted:
                    self._believe(worker, number, None)
            case "forget":
                self._believe(worker, number, None)
            case "run out":
                self._conn.execute(_RUN_OUT, id=job)
            case "rescue":
                self._rescue(move, number, then)
            case "cancel":
                answer = jobs.cancel(self._conn, job)
                assert answer == move.verb, f"cancel answered {answer}"
            case other:
                assert other in UNSEEN, f"nobody knows how to {other}"

    def check(self, state: State, *, workers_too: bool = True) -> None:
        """AssertionError when the tables are not as the model has it."""
        rows = self._conn.fetch_all(_JOBS, ids="{" + ",".join(self._jobs) + "}")
        for number, job in enumerate(state.jobs):
            found = {self._read(number, job, *row[1:]) for row in rows if row[0] == self._jobs[number]}
            expected = {row for row in (job.ready, job.running, job.done) if row}
            assert found == expected, f"job {number} is {_said(found)} and not {_said(expected)}"
        if workers_too:
            self._check_workers(state)

    def _check_workers(self, state: State) -> None:
        identities = [str(each) for each in self.memory.identities if each is not None]
        rows = {row[0]: row[1:] for row in self._conn.fetch_all(_WORKERS, ids="{" + ",".join(identities) + "}")}
        for worker, status in enumerate(state.workers):
            if status is not Worker.HTTP:
                lost, expired = rows[self.memory.identities[worker]]
                assert lost == (status in MARKED), f"worker {worker} is {status}, and marked lost: {lost}"
                expected_so = status in (Worker.EXPIRED, Worker.DEAD)
                assert lost or expired == expected_so, f"worker {worker} is {status}, and expired: {expired}"

    def _read(
        self, number: int, job: Job, table: str, attempts: int, fence: int, worker_id: int, expired: bool, cancel: bool
    ) -> Row:
        if table == "ready":
            return Ready(attempts)
        if table != "running":
            return Done(table, attempts)
        holder = job.running.holder if job.running else -1
        assert self.memory.identities[holder] == worker_id, f"worker {worker_id} holds job {number}"
        for worker, belief in enumerate(job.beliefs):
            if belief:
                same = self.memory.leases[worker, number].fence == fence
                assert same == (belief.fence == 1), f"job {number} runs under {fence}"
        return Running(attempts, 1, holder, expired, cancel)

    # -- jobs --------------------------------------------------------------------------------------------

    def _claim(self, move: Move, number: int, then: Job) -> None:
        worker_id = self.memory.identities[move.worker]
        terms: dict[str, Any] = {"queue": self._queues[number], "picks": from_start((KIND, 0)), "limit": 5}
        if worker_id is None:
            claimed = leases.claim(self._conn, lease_ms=_AN_HOUR * 1000, **terms)
        elif self._together:
            _, claimed = leases.ack_and_claim(self._conn, [], worker_id=worker_id, **terms)
        else:
            claimed = leases.claim(self._conn, worker_id=worker_id, **terms)
        expected = [(self._jobs[number], then.running.attempts)] if then.running and move.accepted else []
        answer = [(one.id, one.attempt) for one in claimed]
        assert answer == expected, f"claim answered {answer} and not {expected}"
        if not move.accepted:
            return
        lease = lease_of(claimed[0])
        assert lease.fence > self.memory.newest, f"fence {lease.fence} after {self.memory.newest}"
        self.memory = self.memory._replace(newest=lease.fence)
        if move.answered:
            self._believe(move.worker, number, lease)

    def _settle(self, state: State, move: Move, number: int, then: Job) -> None:
        lease = self.memory.leases[move.worker, number]
        worker_id = self.memory.identities[move.worker]
        if move.action == "bury":
            assert worker_id is not None
            belief = state.jobs[number].beliefs[move.worker]
            revoked = belief is not None and belief.stage is Stage.REVOKED
            accepted = settles.settle_for_the_dead(self._conn, move.verb, worker_id, lease, revoked=revoked)
        else:
            went_to = settles.settle(self._conn, move.verb, worker_id, lease, together=self._together)
            accepted = went_to is not None
            expected = then.done.end if then.done else "retrying"
            if accepted and move.accepted and move.verb != "release":
                assert went_to == expected, f"{move.verb} led to {went_to} and not to {expected}"
        assert accepted == move.accepted, f"{move.verb} was {'accepted' if accepted else 'refused'}"
        if accepted:
            self._settled(lease, settles.CRASHED if (move.action, move.verb) == ("bury", "fail") else move.verb)
        else:
            settles.check_known(self._conn, lease, self.memory.said[lease.fence])
        if move.answered:
            self._believe(move.worker, number, None)

    def _rescue(self, move: Move, number: int, then: Job) -> None:
        holder = self._conn.fetch_one("select fence from windlass.running where id = %(id)s", id=self._jobs[number])
        rescued = leases.rescue(self._conn, workers_too=True, queue=self._queues[number])
        expected = {self._jobs[number]: then.done.end if then.done else "retrying"} if move.accepted else {}
        assert rescued == expected, f"rescue answered {rescued} and not {expected}"
        if holder and move.accepted:
            self._settled(Lease(self._jobs[number], holder[0]), settles.RESCUED)

    def _held(self, worker: int, number: int) -> list[Lease]:
        worker_id = self.memory.identities[worker]
        assert worker_id is not None
        rows = leases.held_by(self._conn, [worker_id])
        return [Lease(row.id, row.fence) for row in rows if row.id == self._jobs[number]]

    def _believe(self, worker: int, number: int, lease: Lease | None) -> None:
        known = {**self.memory.leases, (worker, number): lease}
        self.memory = self.memory._replace(leases={key: each for key, each in known.items() if each is not None})

    def _settled(self, lease: Lease, verb: str) -> None:
        assert lease.fence not in self.memory.said, f"{lease.fence} was settled twice"
        self.memory = self.memory._replace(said={**self.memory.said, lease.fence: verb})

    # -- workers -----------------------------------------------------------------------------------------

    def _make_of_workers(self, state: State, move: Move) -> None:
        identities = self.memory.identities
        worker_id = identities[move.worker]
        match move.action:
            case "mark lost":
                late = {identities[n] for n, each in enumerate(state.workers) if each in (Worker.EXPIRED, Worker.DEAD)}
                # Others than these are of walks that are over.
                marked = set(workers.mark_lost(self._conn)) & set(identities)
                assert marked == late, f"marked were {marked} and not {late}"
            case "expire" | "crash":
                # Nobody beats the dead.
                self._conn.execute(_EXPIRE, id=worker_id)
            case "extend":
                assert worker_id is not None
                beaten = workers.beat(self._conn, [worker_id])
                assert beaten == ({worker_id} if move.accepted else set()), f"beaten were {beaten}"
                self._conn.execute(_LAST_AGAIN, id=worker_id)
            case "lose":
                assert worker_id is not None
                workers.lose(self._conn, [worker_id])
            case "register":
                renewed = (*identities[: move.worker], self._register(), *identities[move.worker + 1 :])
                self.memory = self.memory._replace(identities=renewed)
            case other:
                assert other in UNSEEN, f"nobody knows how to {other}"

    def _register(self) -> int:
        return workers.register(
            self._conn, name="model/1", host="model", pid=1, pool="model/0", slot=1, lease_seconds=_AN_HOUR
        )


def _said(rows: set[Row]) -> str:
    return " and ".join(sorted(map(str, rows))) or "in no state"
