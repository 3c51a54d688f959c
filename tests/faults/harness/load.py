"""Clients that enqueue in every way there is, cancel and redrive, and keep the ledger."""

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg2
import urllib3
from faults.harness.cast import CANARIES
from faults.harness.ledger import Entry, Ledger

_TEXT = "It rains. It pours. The old man snores."
_HTTP_SECONDS = 15
_EACH_TIME = 1000
_ADMIN = {"Authorization": f"Bearer {CANARIES['admin']}"}
_CLIENT = {"Authorization": f"Bearer {CANARIES['api']}"}


class Client(threading.Thread):
    """One client. `pause` seconds lie between two of its requests, on average."""

    def __init__(
        self, name: str, seed: str, ledger: Ledger, url: str, database_url: str, sink: str, pause: float
    ) -> None:
        super().__init__(name=name)
        self.leave = threading.Event()
        self.problems: list[str] = []
        self.requests = 0
        self._chance = random.Random(seed)
        self._ledger = ledger
        self._url, self._database_url, self._sink, self._pause = url, database_url, sink, pause
        self._http = urllib3.PoolManager(maxsize=2, retries=False, timeout=urllib3.Timeout(_HTTP_SECONDS))
        self._conn: psycopg2.extensions.connection | None = None
        self._made: list[str] = []

    def run(self) -> None:
        ways: dict[Callable[[], None], int] = {
            self._single: 6,
            self._keyed: 6,
            self._bulk: 4,
            self._external: 4,
            self._in_sql: 4,
            self._cancel: 1,
            self._redrive: 1,
        }
        while not self.leave.is_set():
            self.requests += 1
            try:
                self._chance.choices(list(ways), list(ways.values()))[0]()
            except Exception as error:
                self.problems.append(f"{self.name} could not read an answer: {error!r}")
            self.leave.wait(self._chance.expovariate(1 / self._pause))
        if self._conn is not None:
            self._conn.close()

    # -- what is asked for --------------------------------------------------------------------------------------------

    def _entry(self, way: str, kind: str, *, keyed: bool = False) -> Entry:
        n = self._ledger.number()
        wait = self._chance.choice((0.0, 0.0, 0.0, 0.0, self._chance.uniform(0.1, 2.0)))
        # Whole microseconds, as the database keeps them.
        due = round(time.time() + wait, 6) if wait else 0.0
        return Entry(n, way, kind, f"{self.name}-{n}" if keyed else None, due)

    def _kind(self) -> str:
        return self._chance.choices(("effect", "summarize_text", "webhook_delivery", "send_email"), (40, 2, 1, 1))[0]

    def _job(self, entry: Entry) -> dict[str, Any]:
        job: dict[str, Any] = {"kind": entry.kind, "payload": self._payload(entry)}
        if entry.key is not None:
            job["idempotency_key"] = entry.key
        if entry.due:
            job["run_at"] = _rfc3339(entry.due)
        if self._chance.random() < 0.2:
            job["priority"] = self._chance.randint(-2, 2)
        # A crash is not the job's fault, but counts: with three attempts many would end as dead letters.
        hopeless = job["payload"].get("do") == "die" or job["payload"].get("times") == _EACH_TIME
        job["max_attempts"] = 2 if hopeless else 20
        return job

    def _payload(self, entry: Entry) -> dict[str, Any]:
        payload: dict[str, Any] = {"n": entry.n}
        if entry.kind == "effect":
            # Each of those that kill their worker holds up all others: not whole bulks of them.
            die = entry.way != "bulk"
            do = self._chance.choices(("ok", "fail", "dead", "die", "cancel"), (180, 10, 4, die, 2))[0]
            payload |= {"do": do, "seconds": self._chance.choice((0, 0, 0, 0.005, 0.02)), "canary": CANARIES["payload"]}
            if do == "fail":
                payload["times"] = self._chance.choice((1, 1, _EACH_TIME))
            if do == "die":
                payload["how"] = self._chance.choice(("kill", "segfault", "exit", "abort"))
            if do == "cancel":
                payload["seconds"] = 0.3
            return payload
        if entry.kind == "external":
            return payload
        # The shapes of these have no room for a number: it goes into a text.
        of = {
            "summarize_text": {"text": f"{_TEXT} {entry.n}"},
            "webhook_delivery": {"url": f"http://{self._sink}/hook", "body": payload},
            "send_email": {"to": "crew@example.org", "subject": f"{entry.n}", "body": "Ahoy"},
        }
        return of[entry.kind]

    # -- the ways -----------------------------------------------------------------------------------------------------

    def _single(self) -> None:
        entry = self._entry("single", self._kind())
        self._ledger.asked([entry])
        self._settle_one(entry, self._post("/jobs", self._job(entry)))

    def _keyed(self) -> None:
        entry = self._entry("keyed", self._kind(), keyed=True)
        job = self._job(entry)
        self._ledger.asked([entry])
        # Half of those whose answer was lost ask again: with the key it is one job all the same.
        for _ in range(self._chance.choice((1, 20))):
            answer = self._post("/jobs", job)
            self._settle_one(entry, answer)
            if answer is not None and answer.status in (200, 201):
                return
            self.leave.wait(0.2)

    def _external(self) -> None:
        entry = self._entry("v1", "external", keyed=self._chance.random() < 0.5)
        entry.due = 0.0
        self._ledger.asked([entry])
        body = {"queue": "default", "payload": {"n": entry.n}, "max_attempts": 20}
        if entry.key is not None:
            body["idempotency_key"] = entry.key
        self._settle_one(entry, self._post("/v1/jobs", body))

    def _bulk(self) -> None:
        keyed = self._chance.random() < 0.5
        # Asked again while the first may be under way still, and in another order: where locks meet.
        twice = keyed and self._chance.random() < 0.5
        count = self._chance.randint(50, 150) if twice else self._chance.randint(2, 40)
        entries = [self._entry("bulk", self._kind(), keyed=keyed) for _ in range(count)]
        jobs = {entry.n: self._job(entry) for entry in entries}
        self._ledger.asked(entries)
        orders = [entries, entries[::-1]] if twice else [entries]
        bodies = [{"jobs": [jobs[entry.n] for entry in order]} for order in orders]
        with ThreadPoolExecutor(len(orders)) as at_once:
            for order, answer in zip(orders, at_once.map(partial(self._post, "/jobs/bulk"), bodies), strict=True):
                self._settle_many(order, answer)

    def _in_sql(self) -> None:
        entry = self._entry("sql", "effect", keyed=self._chance.random() < 0.5)
        entry.due = 0.0
        job = self._job(entry)
        payload = json.dumps(job["payload"])
        if self._chance.random() < 0.05:
            # PostgreSQL stores it and Python cannot read it back: it may hurt only itself.
            payload = payload.replace("{", '{"huge": 1e5000, ', 1)
        self._ledger.asked([entry])
        try:
            if self._conn is None or self._conn.closed:
                self._conn = psycopg2.connect(self._database_url, connect_timeout=5, options="-c statement_timeout=10s")
                self._conn.autocommit = True
            with self._conn.cursor() as cursor:
                cursor.execute(
                    "select windlass.enqueue(%s, %s::jsonb, idempotency_key => %s, max_attempts => %s)",
                    (entry.kind, payload, entry.key, job["max_attempts"]),
                )
                self._accepted([(entry.n, cursor.fetchall()[0][0])])
        except psycopg2.Error as error:
            self._ledger.unknown([entry.n], type(error).__name__)
            if self._conn is not None:
                self._conn.close()

    def _cancel(self) -> None:
        if self._made:
            job = self._chance.choice(self._made[-200:])
            self._ledger.noted("cancel", job)
            self._post(f"/jobs/{job}/cancel", {})

    def _redrive(self) -> None:
        if self._made:
            # Mostly refused: only what has failed for good, or was cancelled, is begun anew.
            job = self._chance.choice(self._made[-1000:])
            answer = self._post(f"/jobs/{job}/retry", {}, _ADMIN)
            if answer is None or answer.status < 300 or answer.status == 503:
                self._ledger.noted("redrive", job)

    # -- what is answered ---------------------------------------------------------------------------------------------

    def _post(self, path: str, body: Any, headers: dict[str, str] = _CLIENT) -> urllib3.BaseHTTPResponse | None:
        """None when no answer came."""
        try:
            answer = self._http.request("POST", self._url + path, json=body, headers=headers)
        except urllib3.exceptions.HTTPError:
            return None
        if answer.status >= 500 and (answer.status != 503 or "Retry-After" not in answer.headers):
            self.problems.append(f"POST {path} was answered {answer.status}: {answer.data[:200]!r}")
        return answer

    def _settle_one(self, entry: Entry, answer: urllib3.BaseHTTPResponse | None) -> None:
        if answer is None:
            self._ledger.unknown([entry.n], "no answer")
        elif answer.status in (200, 201):
            said = answer.json()
            self._accepted([(entry.n, said.get("id") or said["job_id"])])
        else:
            self._refused([entry.n], answer)

    def _settle_many(self, entries: Sequence[Entry], answer: urllib3.BaseHTTPResponse | None) -> None:
        numbers = [entry.n for entry in entries]
        if answer is None:
            self._ledger.unknown(numbers, "no answer")
        elif answer.status != 200:
            self._refused(numbers, answer)
        else:
            pairs = list(zip(numbers, answer.json()["results"], strict=True))
            self._accepted([(n, result["job"]["id"]) for n, result in pairs if result["status"] in (200, 201)])
            self._ledger.unknown([n for n, result in pairs if result["status"] == 503], "503")
            for n, result in pairs:
                if result["status"] not in (200, 201, 503):
                    self._ledger.refused([n], result["status"])

    def _refused(self, numbers: list[int], answer: urllib3.BaseHTTPResponse) -> None:
        if answer.status == 503:
            # Perhaps the database lost the connection after the commit: nobody was told that there is no job.
            self._ledger.unknown(numbers, "503")
            return
        self._ledger.refused(numbers, answer.status)
        self.problems.append(f"a request was refused: {answer.status} {answer.data[:200]!r}")

    def _accepted(self, made: list[tuple[int, str]]) -> None:
        if made:
            self._ledger.accepted(made)
            self._made += [job for _, job in made]


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
