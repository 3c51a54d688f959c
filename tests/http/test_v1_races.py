"""Holders that speak at once about one job: one of them is heard."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from support.web import Web
from support.work import at_once, count, past

from sql.connection import Connection

QUEUE = "races"
BODIES = {"ack": {}, "fail": {"reason": "no", "permanent": True}, "release": {}}


def post(web: Web, path: str, body: Any) -> int:
    return web.request("POST", path, body).status


def leased(web: Web, **body: Any) -> dict[str, Any]:
    (job,) = web.request("POST", "/v1/lease", {"queue": QUEUE, "limit": 1, "lease_ms": 60_000, **body}).json()["jobs"]
    return dict(job)


@pytest.fixture
def web(start_web: Callable[..., Web]) -> Web:
    return start_web(WEB_CONCURRENCY="2", WEB_THREADS="8")


def test_of_settles_at_once_one_wins(web: Web, connection: Connection) -> None:
    for verbs in product(BODIES, repeat=2):
        for with_token in (True, False):
            web.request("POST", "/v1/jobs", {"queue": QUEUE, "payload": None})
            job = leased(web)
            token = {"lease_token": job["lease_token"]} if with_token else {}
            answers = at_once(
                *[
                    lambda verb=verb, job=job, token=token: post(
                        web, f"/v1/jobs/{job['id']}/{verb}", BODIES[verb] | token
                    )
                    for verb in verbs * 3
                ]
            )
            won = [verb for verb, status in zip(verbs * 3, answers, strict=True) if status == 204]
            assert set(answers) <= {204, 409}
            # By its token the one settle may be said again, and answers as it did.
            assert len(set(won)) == 1, (verbs, with_token, answers)
            expected = 1 if not with_token else 6 if verbs[0] == verbs[1] else 3
            assert len(won) == expected, (verbs, with_token, answers)
            shown = web.request("GET", f"/jobs/{job['id']}").json()
            assert shown["status"] == {"ack": "succeeded", "fail": "failed_permanent", "release": "queued"}[won[0]]
            if won[0] == "release":
                assert post(web, f"/v1/jobs/{leased(web)['id']}/ack", {}) == 204
    assert count(connection, "running") == count(connection, "ready") == 0


def test_a_late_holder_and_the_next_never_both_win(web: Web, connection: Connection) -> None:
    for _ in range(20):
        web.request("POST", "/v1/jobs", {"queue": QUEUE, "payload": None})
        late = leased(web, lease_ms=100)
        past(connection, "running", "lease_expires_at", 10)
        token = late["lease_token"]
        settled, taken = at_once(
            lambda late=late, token=token: post(web, f"/v1/jobs/{late['id']}/ack", {"lease_token": token}),
            lambda: web.request("POST", "/v1/lease", {"queue": QUEUE, "limit": 1, "lease_ms": 60_000}).json()["jobs"],
        )
        # Either it was settled in time and there was nothing to take, or it was taken and the late word refused.
        assert (settled, len(taken)) in ((204, 0), (409, 1), (409, 0))
        if (settled, len(taken)) == (409, 0):
            taken = [leased(web)]
        if taken:
            next_token = taken[0]["lease_token"]
            assert post(web, f"/v1/jobs/{late['id']}/ack", {"lease_token": token}) == 409
            assert post(web, f"/v1/jobs/{late['id']}/ack", {"lease_token": next_token}) == 204
        shown = web.request("GET", f"/jobs/{late['id']}").json()
        assert (shown["status"], shown["attempts"]) == ("succeeded", 2 if taken else 1)


def test_requests_for_work_at_once_never_get_one_job_twice(web: Web, connection: Connection) -> None:
    jobs = [{"kind": "external", "queue": QUEUE, "payload": n, "priority": n % 3} for n in range(400)]
    web.request("POST", "/jobs/bulk", {"jobs": jobs})

    def take() -> list[str]:
        body = {"queue": QUEUE, "limit": 7, "lease_ms": 60_000}
        mine: list[str] = []
        while leased := web.request("POST", "/v1/lease", body).json()["jobs"]:
            mine += [job["id"] for job in leased]
        return mine

    taken = [job_id for mine in at_once(*[take] * 8) for job_id in mine]
    assert len(taken) == len(set(taken)) == 400
    assert count(connection, "running") == 400
    assert web.value("inflight_leases") == web.value("jobs_leased_total") == 400
