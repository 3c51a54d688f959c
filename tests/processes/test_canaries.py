"""A word in every place a secret or a payload can be in, through a real web and a real pool that succeed, fail, crash,
lose their database and are sent nonsense, at the log level debug: none of the words is said anywhere but to those who
may read the job."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.canaries import Canaries
from support.effects import VARIABLE, Effects
from support.figures import Publish
from support.pool_fixtures import StartPool
from support.processes import ROOT
from support.receiver import Exchange, Receiver
from support.smtp_sink import SmtpSink
from support.tables import drained
from support.waiting import until
from support.web import Web

from sql.connection import Connection

# The driver's error then quotes the row.
REFUSE = {
    "refused result": "alter table windlass.done add constraint refuses check (result::text not like '%{}%')",
    "refused error": "alter table windlass.failures add constraint refuses check (error not like '%{}%')",
    "refused payload": "alter table windlass.jobs add constraint refuses check (payload::text not like '%{}%')",
}
HANG_UP = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name ~ '^windlass[ -](steward|worker|web)'
"""
HANG_UP_WEB = """
select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and application_name ~ '^windlass-web'
"""
OF_THE_SERVICE = {"api token", "admin token", "database password", "smtp password", "webhook secret"}


def with_password(url: str, word: str) -> str:
    """The same URL with a password where the server asks for none, and with one for a client key it does not have."""
    if not re.match(r"\w+://[^/@]*:[^/@]*@", url):
        url = re.sub(r"^(\w+://[^/@]+)@", rf"\1:{word}@", url)
    return f"{url}{'&' if '?' in url else '?'}sslpassword={word}"


def echo(exchange: Exchange) -> None:
    """A receiver that answers with what it was sent."""
    sent = exchange.server.receiver.requests[-1]
    exchange.reply(500, json.dumps(sent.headers).encode() + sent.body)


class Service:
    """A web, what is sent to it, and every answer that was a refusal."""

    def __init__(self, web: Web, canaries: Canaries) -> None:
        self.web, self._canaries = web, canaries
        self.refusals = ""
        self.jobs: dict[str, str] = {}
        self.asked = 0

    def ask(self, method: str, path: str, body: Any = None, token: str = "api token", **headers: str) -> Any:
        headers = {"Authorization": f"Bearer {self._canaries[token]}", **headers}
        sent = {"body": body} if isinstance(body, str | bytes) else {"json_body": body}
        response = self.web.request(method, path, headers=headers, **sent)
        self.asked += 1
        if response.status >= 400:
            self.refusals += response.data.decode() + str(dict(response.headers))
        return response

    def put(self, slot: str, kind: str, payload: dict[str, Any], **facts: Any) -> None:
        """A job that is taken, with a word in its payload and in its key."""
        body = {"kind": kind, "payload": payload, "idempotency_key": self._canaries[f"key of {slot}"], **facts}
        response = self.ask("POST", "/jobs", body)
        assert response.status == 201, response.data
        self.jobs[slot] = response.json()["id"]

    def send(self, raw: bytes) -> None:
        """What no client library sends."""
        self.asked += 1
        with socket.create_connection(("127.0.0.1", self.web.port), timeout=10) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                self.refusals += chunk.decode("latin-1")

    def everything(self) -> str:
        """All jobs, as those see them who may."""
        return "".join(self.ask("GET", f"/jobs/{job_id}").data.decode() for job_id in self.jobs.values())


def take_jobs(service: Service, canaries: Canaries, receiver: Receiver) -> None:
    """Jobs that succeed, fail, crash their worker, hang, or end in what the database refuses."""
    word, once = canaries, {"max_attempts": 1}
    service.put("result", "note", {"text": word["payload"], "result": {"text": word["result"]}})
    service.put("progress", "report", {"values": [word["progress"]], "text": word["payload"], "waits": False}, **once)
    service.put("error", "throw", {"what": "ValueError", "text": word["error"]}, **once)
    service.put("exit", "throw", {"what": "SystemExit", "text": word["payload"]}, **once)
    service.put("refused result", "note", {"result": word["refused result"]})
    service.put("refused error", "throw", {"what": "ValueError", "text": word["refused error"]}, **once)
    service.put("no JSON", "give", {"what": "a set", "text": word["payload"]}, **once)
    service.put("crash", "die", {"how": "abort", "text": word["payload of a crash"]}, **once)
    service.put("hang", "stick", {"how": "swallows everything", "text": word["payload"]}, timeout_seconds=1, **once)
    service.put("mail", "send_email", {"to": "a@example.org", "subject": word["subject"], "body": word["mail"]}, **once)
    url = f"{receiver.url}?token={word['query of a URL']}"
    headers = {"X-Token": word["header of a webhook"]}
    service.put("webhook", "webhook_delivery", {"url": url, "headers": headers, "body": word["payload"]}, **once)


def lease_and_settle(service: Service, canaries: Canaries) -> None:
    """Jobs that go out over HTTP and come back as they should and as they should not."""
    for verb, body in (("ack", {"result": canaries["result"]}), ("fail", {"reason": canaries["error"]})):
        service.put(verb, "external", {"text": canaries["payload"]}, queue="http", max_attempts=1)
        (job,) = service.ask("POST", "/v1/lease", {"queue": "http", "limit": 1, "lease_ms": 60_000}).json()["jobs"]
        path = f"/v1/jobs/{job['id']}"
        service.ask("POST", f"{path}/heartbeat", {"extend_ms": 60_000, "progress": canaries["progress"]})
        service.ask("POST", f"{path}/{verb}", {"lease_token": canaries["wrong lease token"], **body})
        assert service.ask("POST", f"{path}/{verb}", {"lease_token": job["lease_token"], **body}).status == 204
        service.ask("POST", f"{path}/{verb}", body)


def ask_nonsense(service: Service, canaries: Canaries) -> None:
    """Requests that are refused, each with a word where somebody might put one."""
    word = canaries["nonsense"]
    refused: list[tuple[str, str, Any]] = [
        ("POST", "/jobs", f'{{"{word}'),
        ("POST", "/jobs", f'{{"kind": "note", "payload": NaN, "x": "{word}"}}'),
        ("POST", "/jobs", f'{{"kind": "note", "payload": "\\ud800{word}"}}'),
        ("POST", "/jobs", {"kind": "note", "payload": word}),
        ("POST", "/jobs", {"kind": "touchy", "payload": {"text": word}}),
        ("POST", "/jobs", {"kind": "note", "payload": {}, "max_attempts": word}),
        ("POST", "/jobs", {"kind": "note", "payload": {}, "idempotency_key": f"{word} {word}"}),
        ("POST", "/jobs", {"kind": "note", "payload": {}, "run_at": word}),
        ("POST", "/jobs", {"kind": "note", "payload": {"text": word}, "idempotency_key": canaries["key of result"]}),
        ("POST", "/jobs", {"kind": "send_email", "payload": {"to": word, "subject": f"{word}\n", "body": 1}}),
        ("POST", "/jobs", {"kind": "webhook_delivery", "payload": {"url": f"http://u:{word}@example.org/"}}),
        ("POST", "/jobs", {"kind": "webhook_delivery", "payload": {"url": f"http://127.0.0.1/?token={word}"}}),
        ("POST", "/jobs", {"kind": "resize_image", "payload": {"source": f"../{word}", "width": 1}}),
        ("POST", "/jobs", {"kind": "note", "payload": {"text": canaries["refused payload"]}}),
        ("POST", "/jobs/bulk", {"jobs": [word]}),
        ("GET", f"/jobs?status={word}", None),
        ("GET", f"/jobs?cursor={word}&limit={word}", None),
        ("GET", f"/{word}?{word}", None),
    ]
    for method, path, body in refused:
        service.ask(method, path, body, **{"Content-Type": "application/json"})
    for token in ("wrong token", "api token"):
        service.ask("GET", "/v1/admin/queues", token=token)
        service.ask("POST", "/jobs", {"kind": "note", "payload": word}, token=token)
    service.ask("GET", "/jobs", Authorization=f"Basic {word}")
    service.ask("POST", "/jobs", word, **{"Content-Type": word, "X-Request-Id": f"a {word}"})
    service.ask("POST", "/jobs", {"kind": "note", "payload": {}}, **{"Idempotency-Key": f"{word}, {word}"})
    bearer = f"Bearer {canaries['api token']}"
    for head in (
        f"GET /jobs?{word} HTTP/9.9\r\n", f"{word} /jobs HTTP/1.1\r\n", f"GET {word}\r\n",
        f"GET /{word}\x01 HTTP/1.1\r\n",
        f"GET /jobs HTTP/1.1\r\nAuthorization {bearer}\r\n", f"GET /jobs HTTP/1.1\r\nAuthorization: {bearer}\x01\r\n",
        f"GET /jobs HTTP/1.1\r\nAuthorization: x\r\n {bearer}\r\n", f"GET /jobs HTTP/1.1\r\n{bearer} y: x\r\n",
        f"GET /jobs HTTP/1.1\r\nExpect: {bearer}\r\n", f"GET /jobs HTTP/1.1\r\n{word}: {'x' * 9000}\r\n",
        f"POST /jobs HTTP/1.1\r\nTransfer-Encoding: {word}\r\n", f"POST /jobs HTTP/1.1\r\nContent-Length: {word}\r\n",
    ):  # fmt: skip
        service.send(f"{head}Host: h\r\n\r\n".encode("latin-1"))
    chunked = f"POST /jobs HTTP/1.1\r\nHost: h\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n"
    service.send(f"{chunked}Transfer-Encoding: chunked\r\n\r\n{word}\r\n".encode())
    service.send(f"{chunked}Content-Length: 100\r\n\r\n{word}".encode())
    service.send(f"GET /jobs HTTP/1.1\r\nAuthorization: {bearer}".encode())


def lose_the_database(service: Service, canaries: Canaries, server_url: str, name: str) -> None:
    """For a while nobody can connect, while clients ask and the pool works."""
    admin = psycopg2.connect(server_url)
    admin.autocommit = True
    body = {"kind": "note", "payload": {"text": canaries["payload of an outage"]}}
    try:
        with admin.cursor() as cursor:
            cursor.execute(f"alter database {name} allow_connections false")
            cursor.execute(HANG_UP_WEB, (name,))
            until(lambda: service.ask("POST", "/jobs", body).status == 503, message="the database is gone")
            service.web.samples()
            cursor.execute(f"alter database {name} allow_connections true")
        until(lambda: service.ask("GET", "/health").status == 200, message="the database is back")
    finally:
        admin.close()


def command_lines(pids: list[int]) -> str:
    """What `ps` shows of these processes."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text() for pid in pids for name in ("cmdline", "comm", "status"))


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def mail_server() -> Iterator[SmtpSink]:
    """Asks for a password, and it is not ours."""
    with SmtpSink(password="another") as sink:
        yield sink


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(answer=echo) as receiver:
        yield receiver


def test_no_word_of_a_secret_or_a_job_is_said_where_it_does_not_belong(
    canaries: Canaries, start_pool: StartPool, connection: Connection, database_url: str, server_url: str,
    effects: Effects, mail_server: SmtpSink, receiver: Receiver, tmp_path: Path, publish: Publish,
) -> None:  # fmt: skip
    environ = {
        "API_TOKEN": canaries["api token"],
        "ADMIN_TOKEN": canaries["admin token"],
        "SMTP_URL": f"smtp://user:{canaries['smtp password']}@127.0.0.1:{mail_server.port}",
        "WEBHOOK_SECRET": canaries.webhook_secret("webhook secret"),
        "WEBHOOK_ALLOW_NETS": f"127.0.0.1/32:{receiver.port}",
        "MEDIA_ROOT": str(tmp_path),
        "LOG_LEVEL": "debug",
    }
    url = with_password(database_url, canaries["database password"])
    for slot, refuse in REFUSE.items():
        connection.execute(refuse.format(canaries[slot]))
    pool = start_pool(database_url=url, **{name.lower(): value for name, value in environ.items()}).ready()
    web = Web(
        tmp_path, url, KIND_MODULES="support.fault_kinds", LOG_FORMAT="text", PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}",
        **environ, **{VARIABLE: str(effects.folder)},
    )  # fmt: skip
    try:
        service = Service(web.ready(), canaries)
        take_jobs(service, canaries, receiver)
        effects.open_gate(service.jobs["progress"])
        lease_and_settle(service, canaries)
        ask_nonsense(service, canaries)
        drained(connection)
        connection.execute(HANG_UP)
        (name,) = connection.fetch_one("select current_database()") or ("",)
        lose_the_database(service, canaries, server_url, name)
        # Where its proof of hearing met the last of the outage, it listens and cannot say that it hears.
        until(
            lambda: pool.said("hears the hints") + pool.said("polling only until hints") > 1, 20, "the steward is back"
        )
        told = service.everything() + service.ask("GET", "/v1/admin/queues", token="admin token").data.decode()
        said = {
            "web log": web.log(),
            "web metrics": web.request("GET", "/metrics").data.decode(),
            "pool metrics": pool.page(),
            "ps": command_lines([web.process.pid, *web.workers(), *pool.everyone()]),
            "refusals": service.refusals,
        }
    finally:
        web.end()
    assert pool.stop() == 0
    said |= {"pool log": pool.log, "web log to its end": web.log()}

    mine = {"payload", "payload of a crash", "result", "error", "query of a URL", "header of a webhook", "key of mail"}
    assert canaries.leaked(told, mine) == mine, "those who may read the jobs see the words there"
    assert not canaries.leaked(told, OF_THE_SERVICE)
    assert receiver.requests
    assert mail_server.connections
    assert web.log().count("answered") > 40
    found = {place: canaries.leaked(text) for place, text in said.items()}
    leaks = {place: slots for place, slots in found.items() if slots}
    sizes = ", ".join(f"{place} {len(text)} bytes" for place, text in said.items())
    publish(f"{len(canaries)} words, {service.asked} requests, searched {sizes}: {len(leaks)} leaks")
    assert not leaks
