"""Receivers of webhooks and a mail server that fail in the middle, and what reaches them then."""

import base64
import random
import socket
import threading
from collections import Counter
from email import message_from_bytes
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from support.receiver import Exchange, Receiver
from support.smtp_sink import SmtpSink
from support.tables import ended, put

_SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
_TIMEOUT_SECONDS = 1

# Where the receiver has taken the delivery and its word for that does not arrive, a repetition is right.
_AMBIGUOUS = ("answers late", "resets after the body", "never answers", "drips")
_CLEAR = ("answers 500", "answers 503 with Retry-After", "redirects", "sends a gigabyte", "answers")


def webhooks(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` deliveries to a receiver that fails each in one way at its first attempt, and then takes it."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    seen = _Seen(chance)
    with Receiver(seen.answer) as receiver:
        arena.pool(
            worker_processes=4,
            webhook_secret=_SECRET,
            webhook_allow_nets="127.0.0.0/8",
        ).ready()
        payload = {"url": receiver.url, "timeout_seconds": _TIMEOUT_SECONDS}
        ids = put(connection, "webhook_delivery", *({**payload, "body": n} for n in range(rounds)), max_attempts=10)
        jobs = [ended(connection, job_id, 60) for job_id in ids]
        deliveries = Counter(request.headers["webhook-id"] for request in receiver.requests)
        bodies = {(request.headers["webhook-id"], request.body) for request in receiver.requests}
    unexplained = sum(deliveries[job_id] - 1 > seen.failures[job_id] for job_id in ids)
    return {
        "seed": seed,
        "deliveries": rounds,
        "not_delivered": sum(job.status != "succeeded" for job in jobs),
        "repeated": sum(count - 1 for count in deliveries.values()),
        "repeated_without_a_reason": unexplained,
        "ids_or_bodies_that_changed": len(bodies) - len(ids),
        "ways": dict(seen.ways),
        **history.verdict(connection, ids),
    }


class _Seen:
    """What was done to whose delivery."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._lock = chance, threading.Lock()
        self.failures: Counter[str] = Counter()
        self.ways: Counter[str] = Counter()
        self._known: set[str] = set()

    def answer(self, exchange: Exchange) -> None:
        """Its first delivery fails in some way; every other is taken."""
        job_id = exchange.headers["webhook-id"]
        with self._lock:
            way = "answers" if job_id in self._known else self._chance.choice((*_AMBIGUOUS, *_CLEAR))
            self._known.add(job_id)
            self.ways[way] += 1
            self.failures[job_id] += way not in ("answers", "sends a gigabyte")
        if way in ("answers late", "never answers"):
            let_pass(2 * _TIMEOUT_SECONDS)
        if way == "never answers":
            return
        if way == "resets after the body":
            exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            exchange.connection.close()
        elif way == "drips":
            for byte in b"HTTP/1.1 200 OK\r\n":
                exchange.wfile.write(bytes([byte]))
                let_pass(0.2)
        elif way == "sends a gigabyte":
            exchange.send_response(200)
            exchange.send_header("Content-Length", str(2**30))
            exchange.end_headers()
            for _ in range(1024):
                exchange.wfile.write(bytes(2**20))
        elif way == "redirects":
            exchange.reply(302, Location="/elsewhere")
        elif way == "answers 503 with Retry-After":
            exchange.reply(503, Retry_After="1")
        else:
            exchange.reply(500 if way == "answers 500" else 204)


def mails(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` mails to a server that at first hangs up after the final dot, refuses for now, or takes them."""
    connection = arena.connection
    history.record(connection)
    with _UnsureSink() as sink:
        sink.chance = random.Random(seed)
        arena.pool(worker_processes=4, smtp_url=f"smtp://127.0.0.1:{sink.port}").ready()
        mail = {"to": ["a@example.com"], "subject": "s", "body": "b"}
        ids = put(connection, "send_email", *[mail] * rounds, max_attempts=10)
        jobs = [ended(connection, job_id, 60) for job_id in ids]
        received = Counter(_job_of(each.message["Message-ID"]) for each in sink.received)
    return {
        "seed": seed,
        "mails": rounds,
        "ways": dict(sink.ways),
        "not_sent": sum(job.status != "succeeded" for job in jobs),
        "received_twice": sum(count > 1 for count in received.values()),
        "received_twice_without_a_reason": sum(
            count > 1 + (sink.way_of[job_id] == "drops after the dot") for job_id, count in received.items()
        ),
        "message_ids_that_changed": len(received.keys() - set(ids)),
        **history.verdict(connection, ids),
    }


class _UnsureSink(SmtpSink):
    """Each message fails in some way when it comes first."""

    chance: random.Random

    def __enter__(self) -> "_UnsureSink":
        self.way_of: dict[str, str] = {}
        self.ways: Counter[str] = Counter()
        super().__enter__()
        return self

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        job_id = _job_of(message_from_bytes(envelope.original_content)["Message-ID"])
        self.drop_after_dot, self.data = False, None
        if job_id not in self.way_of:
            way = self.chance.choice(("drops after the dot", "refuses for now", "takes it"))
            self.way_of[job_id] = way
            self.ways[way] += 1
            self.drop_after_dot = way == "drops after the dot"
            self.data = "451 later" if way == "refuses for now" else None
        return await super().handle_DATA(server, session, envelope)


def _job_of(message_id: str) -> str:
    return message_id.strip("<>").partition("@")[0]
