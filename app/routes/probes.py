"""Is it alive, does it reach its database, what did it count."""

import flask

import sql.stats
from app import context, metrics
from app.auth import for_everyone
from app.openapi import Blueprint, answers
from app.schemas.answers import HealthSchema

blueprint = Blueprint("probes", __name__, description="For load balancers, platforms and Prometheus.")


@blueprint.route("/health", methods=["GET"])
@for_everyone
@blueprint.response(200, HealthSchema, description="The database answers")
@answers(503)
def health() -> flask.Response:
    """Whether the database answers"""
    sql.stats.ping(context.current().database.connection())
    return flask.jsonify(status="ok")


@blueprint.route("/healthz", methods=["GET"])
@for_everyone
@blueprint.response(200, {"type": "string", "const": "ok"}, content_type="text/plain", description="The process lives")
def healthz() -> flask.Response:
    """Whether the process lives; asks no database"""
    return flask.Response("ok", mimetype="text/plain")


@blueprint.route("/metrics", methods=["GET"])
@for_everyone
@blueprint.response(200, {"type": "string"}, content_type="text/plain", description="Prometheus text format 0.0.4")
def prometheus() -> flask.Response:
    """What all web processes counted, and what the tables say now"""
    here = context.current()
    text = metrics.exposition(here.database.connection, here.counts)
    return flask.Response(text, content_type=metrics.CONTENT_TYPE)
