"""`/jobs`: enqueue one or many, read, list, cancel, retry."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import flask
from werkzeug.datastructures import Headers
from werkzeug.routing import BaseConverter

from app import context, metrics
from app.auth import requires
from app.openapi import Blueprint, answers, header
from app.problems import BadRequest
from app.schemas.jobs import (
    JOB_ID,
    BulkResultSchema,
    BulkSchema,
    CancelledSchema,
    EmptySchema,
    JobFilterSchema,
    JobSchema,
    bulk_result_text,
    job_text,
)
from app.services import bulk, jobs
from app.tokens import Scope
from workerpool.kinds.job_fields import KEY
from workerpool.kinds.requests import NewJobSchema

blueprint = Blueprint("jobs", __name__, description="Enqueue, read, cancel, retry.")

KEY_HEADER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Beats the body's `idempotency_key`. 1 to 255 visible ASCII characters without a comma.",
    "schema": {"type": "string", "pattern": "^[!-+\\--~]{1,255}$"},
}


class JobIdConverter(BaseConverter):
    """A UUID in a path. Anything else is no route, so it is a 404 like an unknown id."""

    regex = JOB_ID
    part_isolating = True


class _Answer(flask.Response):
    """A response whose headers are as they go out."""

    def get_wsgi_headers(self, environ: Any) -> Headers:  # noqa: ARG002
        """werkzeug's would make URIs of what may be none, and measure the body: 25 µs."""
        return self.headers


def json_answer(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> flask.Response:
    """A response of JSON text. `headers` are ASCII."""
    body = f"{text}\n".encode()
    response = _Answer(body, status, headers, mimetype="application/json")
    response.headers["Content-Length"] = str(len(body))
    return response


def no_answer(**headers: str) -> flask.Response:
    """A response without a body: it is done."""
    response = flask.Response(status=204, headers=headers)
    del response.headers["Content-Type"]
    return response


def key_header() -> str | None:
    """The request's Idempotency-Key, if any. Raises BadRequest."""
    key = flask.request.headers.get("Idempotency-Key")
    if key is None:
        return None
    # A header sent twice arrives joined by a comma: which of the two was meant cannot be known.
    if not KEY.fullmatch(key) or "," in key:
        raise BadRequest("Idempotency-Key: must be given once, as 1 to 255 visible ASCII characters without a comma")
    return key


@blueprint.route("/jobs", methods=["POST"])
@requires(Scope.ENQUEUE)
@blueprint.arguments(NewJobSchema())
@blueprint.response(201, JobSchema, description="A new job", headers=header("Location"))
@blueprint.alt_response(200, schema=JobSchema, description="The job this key already made", success=True)
@answers(409, 503)
@blueprint.parameters(KEY_HEADER)
def enqueue(asked: dict[str, Any]) -> flask.Response:
    """Enqueue a job"""
    here = context.current()
    job, created = jobs.enqueue(here.database.connection(), here.rules, asked, key_header())
    if not created:
        return json_answer(job_text(job))
    metrics.count_enqueued(job.queue, job.kind)
    here.hints.send(1)
    return json_answer(job_text(job), 201, {"Location": f"/jobs/{job.id}"})


@blueprint.route("/jobs/bulk", methods=["POST"])
@requires(Scope.ENQUEUE)
@blueprint.arguments(BulkSchema())
@blueprint.response(200, BulkResultSchema, description="One result per job, in order")
@answers(503)
def enqueue_bulk(asked: dict[str, Any]) -> flask.Response:
    """Enqueue up to 1,000 jobs, each on its own"""
    if "Idempotency-Key" in flask.request.headers:
        raise BadRequest("Idempotency-Key: is for one job; give each job of a bulk its own idempotency_key")
    here = context.current()
    results = bulk.enqueue(here.database.connection(), here.rules, asked["jobs"])
    created = [result.job for result in results if result.job is not None and result.created]
    for (queue, kind), count in Counter((job.queue, job.kind) for job in created).items():
        metrics.count_enqueued(queue, kind, count)
    here.hints.send(len(created))
    texts = (
        bulk_result_text(result.status, result.job, result.problem.body() if result.problem else None)
        for result in results
    )
    return json_answer(f'{{"results":[{",".join(texts)}]}}')


@blueprint.route("/jobs", methods=["GET"])
@requires(Scope.READ)
@blueprint.arguments(JobFilterSchema(), location="query")
@blueprint.response(200, JobSchema(many=True), description="Newest first", headers=header("Link"))
@answers(503)
def list_jobs(asked: dict[str, Any]) -> flask.Response:
    """List jobs"""
    here = context.current()
    page = jobs.page(here.database.connection(), here.rules, asked)
    headers = {}
    if page.next_cursor is not None:
        following = {name: value for name, value in asked.items() if name not in ("offset", "cursor")}
        query = urlencode({**following, "cursor": page.next_cursor})
        headers["Link"] = f'</jobs?{query}>; rel="next"'
    return json_answer(f"[{','.join(map(job_text, page.jobs))}]", 200, headers)


@blueprint.route("/jobs/<job_id:job_id>", methods=["GET"])
@requires(Scope.READ)
@blueprint.response(200, JobSchema)
@answers(404, 503)
def find(job_id: str) -> flask.Response:
    """Read a job"""
    return json_answer(job_text(jobs.find(context.current().database.connection(), job_id)))


@blueprint.route("/jobs/<job_id:job_id>/cancel", methods=["POST"])
@requires(Scope.ENQUEUE)
@blueprint.arguments(EmptySchema(), required=False)
@blueprint.response(200, CancelledSchema, description="It had not started, and has now ended")
@blueprint.alt_response(
    202,
    schema=CancelledSchema,
    description="It is running; its holder sees the cancel at its next check, unless the job ends first",
    success=True,
)
@answers(404, 409, 503)
def cancel(_body: dict[str, Any], job_id: str) -> flask.Response:
    """Cancel a job"""
    ended = jobs.cancel(context.current().database.connection(), job_id)
    word = "cancelled" if ended else "pending"
    return json_answer(json.dumps({"status": word, "job_id": job_id.lower()}), 200 if ended else 202)


@blueprint.route("/jobs/<job_id:job_id>/retry", methods=["POST"])
@requires(Scope.ADMIN)
@blueprint.arguments(EmptySchema(), required=False)
@blueprint.response(200, JobSchema, description="Queued, attempts 0, due now")
@answers(404, 409, 503)
def retry(_body: dict[str, Any], job_id: str) -> flask.Response:
    """Retry a failed or cancelled job"""
    here = context.current()
    job = jobs.retry(here.database.connection(), job_id)
    here.hints.send(1)
    return json_answer(job_text(job))
