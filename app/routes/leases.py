"""`/v1`: enqueue for workers over HTTP, lease, ack, fail, heartbeat, release."""

from typing import Any

import flask

from app import context, metrics
from app.auth import requires
from app.openapi import Blueprint, answers, header
from app.routes.jobs import KEY_HEADER, json_answer, key_header, no_answer
from app.schemas.leases import (
    AckSchema,
    EnqueuedSchema,
    FailSchema,
    HeartbeatSchema,
    LeaseRequestSchema,
    LeasesSchema,
    NewLeasableJobSchema,
    ReleaseSchema,
    leases_text,
)
from app.schemas.texts import object_text, scalar_text
from app.services import leases
from app.services.leases import Found
from app.tokens import Scope
from app.waiting import is_open

blueprint = Blueprint("leases", __name__, description="Work over HTTP: take jobs under a lease and settle them.")

_CANCEL_HEADER = "Windlass-Cancel-Requested"


@blueprint.route("/v1/jobs", methods=["POST"])
@requires(Scope.ENQUEUE)
@blueprint.arguments(NewLeasableJobSchema())
@blueprint.response(200, EnqueuedSchema, description="A new job, or the one this key already made")
@answers(409, 503)
@blueprint.parameters(KEY_HEADER)
def enqueue(asked: dict[str, Any]) -> flask.Response:
    """Enqueue a job for workers over HTTP"""
    here = context.current()
    window = here.settings.idempotency_window_hours * 3600
    added = leases.enqueue(here.database.connection(), here.rules, asked, window, key_header())
    if added.created:
        metrics.count_enqueued(added.queue, added.kind)
        here.hints.send(1)
    return json_answer(object_text([("job_id", scalar_text(added.job_id))]))


@blueprint.route("/v1/lease", methods=["POST"])
@requires(Scope.WORK)
@blueprint.arguments(LeaseRequestSchema())
@blueprint.response(200, LeasesSchema, description="What was due, up to the limit; perhaps nothing")
@answers(503)
def lease(asked: dict[str, Any]) -> flask.Response:
    """Take due jobs under a lease"""
    here = context.current()
    client = flask.request.environ.get("gunicorn.socket")

    def is_there() -> bool:
        return is_open(client)

    def look() -> Found:
        # A token may be revoked while its holder waits.
        here.gate.check_again()
        found = leases.claim(here.database.connection(), asked, is_there)
        here.database.give_back()
        metrics.leased.inc(len(found.jobs))
        metrics.expired.inc(found.rescued)
        here.hints.send(found.runnable)
        return found

    found = here.waiting.poll(look, (asked.get("wait_ms") or 0) / 1000, is_there)
    return json_answer(leases_text(found.jobs))


@blueprint.route("/v1/jobs/<job_id:job_id>/ack", methods=["POST"])
@requires(Scope.WORK)
@blueprint.arguments(AckSchema(), required=False)
@blueprint.response(204, description="It has succeeded")
@answers(404, 409, 503)
def ack(asked: dict[str, Any], job_id: str) -> flask.Response:
    """Say that a leased job is done"""
    here = context.current()
    if leases.ack(here.database.connection(), job_id, asked, here.settings.require_lease_token):
        metrics.acked.inc()
    return no_answer()


@blueprint.route("/v1/jobs/<job_id:job_id>/fail", methods=["POST"])
@requires(Scope.WORK)
@blueprint.arguments(FailSchema())
@blueprint.response(204, description="It will be tried again, or its attempts are used up")
@answers(404, 409, 503)
def fail(asked: dict[str, Any], job_id: str) -> flask.Response:
    """Say that an attempt at a leased job failed"""
    here = context.current()
    status = leases.fail(here.database.connection(), job_id, asked, here.settings.require_lease_token)
    if status is not None:
        metrics.failed.inc()
    if status == "retrying":
        here.hints.send(1)
    return no_answer()


@blueprint.route("/v1/jobs/<job_id:job_id>/heartbeat", methods=["POST"])
@requires(Scope.WORK)
@blueprint.arguments(HeartbeatSchema())
@blueprint.response(204, description="The lease ends later", headers=header(_CANCEL_HEADER))
@answers(404, 409, 503)
def heartbeat(asked: dict[str, Any], job_id: str) -> flask.Response:
    """Extend a lease, and hear whether to stop"""
    here = context.current()
    if leases.heartbeat(here.database.connection(), job_id, asked, here.settings.require_lease_token):
        return no_answer(**{_CANCEL_HEADER: "true"})
    return no_answer()


@blueprint.route("/v1/jobs/<job_id:job_id>/release", methods=["POST"])
@requires(Scope.WORK)
@blueprint.arguments(ReleaseSchema(), required=False)
@blueprint.response(204, description="It is due again, or cancelled if that was asked for")
@answers(404, 409, 503)
def release(asked: dict[str, Any], job_id: str) -> flask.Response:
    """Give a leased job back, its attempt not counted"""
    here = context.current()
    if leases.release(here.database.connection(), job_id, asked, here.settings.require_lease_token):
        here.hints.send(1)
    return no_answer()
