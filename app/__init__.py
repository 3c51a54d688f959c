"""The web service: accepts jobs over HTTP and answers about them. `create_app` is the only wiring."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import flask

    from app.settings import AppSettings


def create_app(settings: "AppSettings") -> "flask.Flask":
    """The WSGI application. Opens no connection and starts no thread, so that it may be made before a fork.

    Raises workerpool.kinds.registry.KindError when a module of KIND_MODULES cannot be loaded.
    """
    # Here and not above: the command line and gunicorn's configuration lie in this package too, and need none of it;
    # the latter must even name the metrics' folder before prometheus_client is imported.
    import flask

    from app import auth, context, errors, limits, openapi, requests
    from app.counts import Counts
    from app.database import COUNT_MS, Database
    from app.depth_limit import DepthLimit
    from app.hints import HintSender
    from app.routes import admin, docs, jobs, leases, probes
    from app.services.jobs import Rules
    from app.token_table import TokenTable
    from app.waiting import WaitingRoom
    from workerpool.kinds import registry

    app = flask.Flask(__name__, static_folder=None)
    app.config.update(
        MAX_BODY_BYTES=settings.max_body_bytes,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # None of our functions is a coroutine, and Flask would look at each of them again in each request.
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]
    # A doubled slash is an unknown path like any other, not a redirect with an HTML body.
    app.url_map.merge_slashes = False
    app.url_map.converters["job_id"] = jobs.JobIdConverter

    kinds = registry.load(settings.kind_modules)
    database = Database(settings.database_url)
    gate = auth.Gate(settings, TokenTable(database))
    most = settings.max_queue_depth
    context.Context(
        settings=settings,
        gate=gate,
        database=database,
        rules=Rules(kinds, settings.job_timeout_seconds, DepthLimit(most, settings.web_concurrency) if most else None),
        hints=HintSender(lambda: database.open("windlass-web-hints")),
        # A waiting request holds a thread, and the other half must do for everybody else.
        waiting=WaitingRoom(lambda: database.open("windlass-web-listener"), settings.web_threads // 2),
        counts=Counts(lambda: database.open("windlass-web-counts", COUNT_MS), settings.web_concurrency),
    ).attach(app)

    # Who asks, and how often, is settled before anything of the body is read.
    app.before_request(requests.begin)
    app.before_request(limits.Limits(settings, gate).check)
    app.after_request(requests.finish)
    app.teardown_request(lambda _: database.give_back())
    errors.register(app)

    api = openapi.create_api(app)
    for blueprint in (jobs.blueprint, leases.blueprint, admin.blueprint, probes.blueprint):
        api.register_blueprint(blueprint)
    app.register_blueprint(docs.create_blueprint(openapi.document(app, api, gate, kinds)))
    return app
