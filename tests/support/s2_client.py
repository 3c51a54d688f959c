"""A client of the second system we descend from, written from its documents alone: it knows nothing that is only ours.

No lease tokens, no release, no cancel, no wait; unknown fields of an answer are ignored; its worker polls, runs up to
`concurrency` jobs at once, beats for each, acks and fails.
"""

import http.client
import json
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """An HTTP answer; `body` is parsed where there is one."""

    status: int
    body: Any


class S2Client:
    """The calls of the old client. `token` is sent as its documents say."""

    def __init__(self, server_url: str, token: str | None = None) -> None:
        self._host = urlsplit(server_url.rstrip("/")).netloc
        self._token = token
        self.calls: list[tuple[str, str, int]] = []

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """One request on a connection of its own; ack and the like send no body at all."""
        connection = http.client.HTTPConnection(self._host, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        self.calls.append((method, path, response.status))
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, json.loads(data) if is_json else data.decode())

    def enqueue(
        self,
        queue: str,
        payload: Any,
        max_attempts: int | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """The new job's id. Absent options are sent as null, as the old command did."""
        options = {"max_attempts": max_attempts, "priority": priority, "idempotency_key": idempotency_key}
        answer = self.call("POST", "/v1/jobs", {"queue": queue, "payload": payload, "run_at": None, **options})
        assert answer.status == 200, answer
        return str(answer.body["job_id"])

    def lease(self, queue: str, limit: int, lease_ms: int) -> list[dict[str, Any]]:
        """The jobs taken."""
        answer = self.call("POST", "/v1/lease", {"queue": queue, "limit": limit, "lease_ms": lease_ms})
        assert answer.status == 200, answer
        return list(answer.body["jobs"])

    def ack(self, job_id: str) -> int:
        """The status it was answered."""
        return self.call("POST", f"/v1/jobs/{job_id}/ack").status

    def fail(self, job_id: str, reason: str, retry_ms: int | None = None) -> int:
        """The status it was answered."""
        return self.call("POST", f"/v1/jobs/{job_id}/fail", {"reason": reason, "retry_ms": retry_ms}).status

    def heartbeat(self, job_id: str, extend_ms: int) -> int:
        """The status it was answered."""
        return self.call("POST", f"/v1/jobs/{job_id}/heartbeat", {"extend_ms": extend_ms}).status


class S2Worker:
    """The old worker's loop; its beats, every 5 s there, come every `beat_seconds` here. A job takes `beats`."""

    def __init__(self, client: S2Client, queue: str, beat_seconds: float, beats: int) -> None:
        self._client, self._queue = client, queue
        self._beat_seconds, self._beats = beat_seconds, beats
        self._stop = threading.Event()
        self._permits = threading.Semaphore(10)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        tasks: list[threading.Thread] = []
        while not self._stop.wait(0.05):
            for job in self._client.lease(self._queue, 10, 30_000):
                self._permits.acquire()
                tasks.append(threading.Thread(target=self._work, args=(job,)))
                tasks[-1].start()
        for task in tasks:
            task.join()

    def _work(self, job: dict[str, Any]) -> None:
        done = threading.Event()
        for _ in range(self._beats):
            done.wait(self._beat_seconds)
            self._client.heartbeat(job["id"], 60_000)
        payload = job["payload"]
        if isinstance(payload, dict) and payload.get("fail") is True:
            self._client.fail(job["id"], "simulated failure", 2000)
        else:
            self._client.ack(job["id"])
        self._permits.release()

    def stop(self) -> None:
        """Leases no more and waits for what runs."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
