"""`/v1/admin`: how queues stand, pausing them, and the way back for dead letters."""

import math
from typing import Any
from urllib.parse import urlencode

import flask

from app import context
from app.auth import requires
from app.openapi import Blueprint, answers, header
from app.routes.jobs import json_answer, no_answer
from app.schemas.admin import (
    DeadCursor,
    DeadFilterSchema,
    DeadSchema,
    DepthSchema,
    QueuePathSchema,
    QueuesSchema,
    RedrivenSchema,
    RedriveSchema,
    dead_text,
)
from app.schemas.jobs import EmptySchema
from app.services import admin
from app.tokens import Scope

blueprint = Blueprint("admin", __name__, url_prefix="/v1/admin", description="Queues and dead letters, for operators.")


def _of_age(response: flask.Response, seconds: float) -> flask.Response:
    if seconds:
        # At least 1: a count that is not of this moment must not look like one.
        response.headers["Age"] = str(math.ceil(seconds))
    return response


@blueprint.route("/queues", methods=["GET"])
@requires(Scope.ADMIN)
@blueprint.response(200, QueuesSchema, headers=header("Age"))
@answers(503)
def list_queues() -> flask.Response:
    """How all queues stand"""
    here = context.current()
    queues, age = admin.overview(here.database.connection(), here.counts)
    return _of_age(flask.jsonify(queues=[queue._asdict() for queue in queues]), age)


@blueprint.route("/queues/<queue>/depth", methods=["GET"])
@requires(Scope.ADMIN)
@blueprint.arguments(QueuePathSchema(), location="path")
@blueprint.response(200, DepthSchema, headers=header("Age"))
@answers(503)
def depth(_path: dict[str, str], queue: str) -> flask.Response:
    """How many jobs of a queue are due"""
    here = context.current()
    jobs, age = admin.depth(here.database.connection(), here.counts, queue)
    return _of_age(flask.jsonify(queue=queue, depth=jobs), age)


@blueprint.route("/queues/<queue>/dead", methods=["GET"])
@requires(Scope.ADMIN)
@blueprint.arguments(QueuePathSchema(), location="path")
@blueprint.arguments(DeadFilterSchema(), location="query")
@blueprint.response(200, DeadSchema, description="Those that died last first", headers=header("Link"))
@answers(503)
def dead(_path: dict[str, str], asked: dict[str, Any], queue: str) -> flask.Response:
    """List a queue's dead letters"""
    page = admin.dead(context.current().database.connection(), queue, asked["limit"], asked["cursor"])
    headers = {}
    if page.more:
        query = urlencode({"limit": asked["limit"], "cursor": DeadCursor.after(page.jobs[-1])})
        headers["Link"] = f'</v1/admin/queues/{queue}/dead?{query}>; rel="next"'
    return json_answer(dead_text(queue, page.jobs), 200, headers)


@blueprint.route("/jobs/<job_id:job_id>/requeue", methods=["POST"])
@requires(Scope.ADMIN)
@blueprint.arguments(EmptySchema(), required=False)
@blueprint.response(204, description="Queued, attempts 0, due now, its errors cleared")
@answers(404, 409, 503)
def requeue(_body: dict[str, Any], job_id: str) -> flask.Response:
    """Redrive a dead letter"""
    here = context.current()
    admin.requeue(here.database.connection(), job_id)
    here.hints.send(1)
    return no_answer()


@blueprint.route("/queues/<queue>/redrive", methods=["POST"])
@requires(Scope.ADMIN)
@blueprint.arguments(QueuePathSchema(), location="path")
@blueprint.arguments(RedriveSchema(), required=False)
@blueprint.response(200, RedrivenSchema)
@answers(503)
def redrive(_path: dict[str, str], asked: dict[str, Any], queue: str) -> flask.Response:
    """Redrive dead letters of a queue"""
    here = context.current()
    redriven = admin.redrive(here.database.connection(), queue, asked)
    here.hints.send(redriven.requeued)
    return flask.jsonify(redriven._asdict())


@blueprint.route("/queues/<queue>/pause", methods=["POST"])
@requires(Scope.ADMIN)
@blueprint.arguments(QueuePathSchema(), location="path")
@blueprint.arguments(EmptySchema(), required=False)
@blueprint.response(204, description="It hands out nothing, over restarts too; what runs goes on")
@answers(503)
def pause(_path: dict[str, str], _body: dict[str, Any], queue: str) -> flask.Response:
    """Pause a queue"""
    admin.pause(context.current().database.connection(), queue)
    return no_answer()


@blueprint.route("/queues/<queue>/resume", methods=["POST"])
@requires(Scope.ADMIN)
@blueprint.arguments(QueuePathSchema(), location="path")
@blueprint.arguments(EmptySchema(), required=False)
@blueprint.response(204, description="It hands out again")
@answers(503)
def resume(_path: dict[str, str], _body: dict[str, Any], queue: str) -> flask.Response:
    """Resume a paused queue"""
    here = context.current()
    here.hints.send(admin.resume(here.database.connection(), queue))
    return no_answer()
