"""The link between the database and all who use it dies, idle and in the middle of statements, and comes back."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from support.network import Link, established, link
from support.pool import Pool
from support.ports import free_port
from support.relay import Relay
from support.tables import claims_under_way, drained, ended, look, put, put_one, slow_down_claims
from support.waiting import until
from support.web import Web

# A key that begins with "slow" keeps its request in the database for so long.
_SLOW_KEYS = """
create function take_long() returns trigger language plpgsql as $$
begin
    if new.key like 'slow%' then
        perform pg_sleep(2);
    end if;
    return new;
end $$;
create trigger take_long before insert on windlass.idempotency_keys for each row execute function take_long();
"""
_WAYS = ({"there": True, "back": True}, {"there": True, "back": False}, {"there": False, "back": True})


class Beyond:
    """A pool and a web service on the other side of a link from their database, and from the test's point of view."""

    def __init__(self, arena: Arena, way: Link, relay: Relay) -> None:
        self._arena, self.way, self._relay = arena, way, relay
        self.pool: Pool = arena.pool(
            database_url=relay.url,
            within=way.within,
            worker_processes=3,
            worker_metrics_bind_addr=f"{way.beside}:0",
            poll_interval_ms=300,
        )
        port = free_port()
        self.web: Web = arena.web(
            port,
            way.within,
            DATABASE_URL=relay.url,
            API_BIND_ADDR=f"{way.beside}:{port}",
            ALLOW_ANONYMOUS="1",
            WEB_CONCURRENCY="1",
        )
        self.web.url = f"http://{way.beside}:{port}"
        self.pool.ready()
        self.web.ready()

    def links(self) -> set[int]:
        """The connections to the database that they believe to have."""
        return established(self.pool.process.pid, self._relay.port)

    def enqueue(self, key: str) -> tuple[int, float]:
        """By that key: the status, and after how many seconds it came."""
        began = time.monotonic()
        answer = self.web.post_job({"Idempotency-Key": key}, kind="external")
        return answer.status, time.monotonic() - began


def dead(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` cuts of the link, in both directions and in one; each lasts until everybody has noticed."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    slow_down_claims(connection)
    connection.execute(_SLOW_KEYS)
    noticed, recovered, ids, answers = [], [], [], []
    with link() as way, Relay(arena.url, way.near) as relay, ThreadPoolExecutor(1) as client:
        beyond = Beyond(arena, way, relay)
        for turn in range(rounds):
            # One worker is at a long job, one in the middle of a claim, one idle; one request is under way.
            long = put_one(connection, "gate")
            arena.effects.wait_for("began", long)
            asked = client.submit(beyond.enqueue, f"slow-{turn}")
            until(lambda: claims_under_way(connection) == 1, 10, "a request is under way")
            ids += [long, put_one(connection, "note")]
            until(lambda: claims_under_way(connection) == 2, 10, "and a claim")
            let_pass(chance.uniform(0.0, 0.3))
            before = beyond.links()
            cut_at = time.monotonic()
            way.cut(**_WAYS[turn % len(_WAYS)])
            until(lambda before=before: not before & beyond.links(), 20, "every dead connection is given up")
            noticed.append(time.monotonic() - cut_at)
            answers.append(asked.result(20))
            answers.append(beyond.enqueue(f"meanwhile-{turn}"))
            way.heal()
            healed_at = time.monotonic()
            ids.append(put_one(connection, "note"))
            ended(connection, ids[-1], 20)
            until(lambda: beyond.web.request("GET", "/health").status == 200, 20, "the web service serves again")
            recovered.append(time.monotonic() - healed_at)
            assert look(connection, long).status == "running"
            arena.effects.open_gate(long)
            assert beyond.enqueue(f"slow-{turn}")[0] in (200, 201)
            for job_id in ids:
                ended(connection, job_id, 20)
        # The three workers and the steward.
        exits = beyond.pool.said("started (pid") - 4
        assert beyond.pool.stop() == 0
    statuses = {status for status, _ in answers}
    assert statuses <= {200, 201, 503}, statuses
    spent = connection.fetch_one("select count(*) from windlass.done where attempts > 1")
    keys = connection.fetch_one(
        "select count(*) = count(distinct idempotency_key) from windlass.jobs where kind = 'external'"
    )
    assert spent is not None
    return {
        "seed": seed,
        "cuts": rounds,
        "slowest_notice_seconds": round(max(noticed), 3),
        "slowest_answer_seconds": round(max(seconds for _, seconds in answers), 3),
        "slowest_recovery_seconds": round(max(recovered), 3),
        "one_job_a_key": keys == (True,),
        "processes_that_exited": exits,
        "attempts_spent": spent[0],
        **history.verdict(connection, ids, arena.effects.all()),
    }


def flapping(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """The link is dead for a second and alive for a second, `rounds` times, while jobs are enqueued and run."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    ids: list[str] = []
    with link() as way, Relay(arena.url, way.near) as relay:
        beyond = Beyond(arena, way, relay)
        for turn in range(rounds):
            way.cut(**_WAYS[turn % len(_WAYS)])
            for _ in range(10):
                ids += put(connection, "note", *({"seconds": chance.choice((0.0, 0.01, 0.1))} for _ in range(5)))
                let_pass(0.1)
            way.heal()
            for _ in range(10):
                ids += put(connection, "note", *({} for _ in range(5)))
                let_pass(0.1)
        healed_at = time.monotonic()
        drained(connection, 30)
        recovered = time.monotonic() - healed_at
        until(lambda: beyond.web.request("GET", "/health").status == 200, 20, "the web service serves again")
    spent = connection.fetch_one("select count(*) from windlass.done where attempts > 1")
    assert spent is not None
    return {
        "seed": seed,
        "flaps": rounds,
        "drained_after_seconds": round(recovered, 3),
        "attempts_spent": spent[0],
        **history.verdict(connection, ids, arena.effects.all()),
    }
