"""How many jobs a second does `POST /jobs` accept, and how soon? `python -m bench.post --clients 1,8`

Clients that each enqueue one job a request over a keep-alive connection ask the real web service (gunicorn with
`--processes` workers and its own threads) for `--seconds`; each job is on disk before it is answered. They are of the
kind `summarize_text`, so that a payload is checked, and come without a key, or each with a new one in the header
`Idempotency-Key`. All clients are one thread (bench.clients), which is no bottleneck: beside its rate and its times
each case shows how many cores the clients and the web service used; the rest is the database's.

At 8 clients without a key 1,600 requests/s, 99 of 100 answered within 20 ms, are the least that should come out.
"""

import itertools
import json
import secrets

from bench import clients, database, report
from bench.web import Web

_JOB = {"kind": "summarize_text", "payload": {"text": "A winch lifts loads. A windlass is a winch.", "sentences": 1}}
_WARM_SECONDS = 0.5


def measure(found: report.Report, web: Web, count: int, keyed: bool, seconds: float) -> None:
    """One case."""
    body = json.dumps(_JOB).encode()
    plain = clients.request(web.host, "/jobs", body)

    def next_request() -> bytes:
        if not keyed:
            return plain
        return clients.request(web.host, "/jobs", body, Idempotency_Key=secrets.token_hex(8))

    address = (web.host, web.port)
    clients.ask(address, count, min(seconds, _WARM_SECONDS), 201, next_request)
    used = web.cpu_seconds()
    answered = clients.ask(address, count, seconds, 201, next_request)
    found.add(
        {"clients": count, "key": "new" if keyed else "none"},
        {
            "requests/s": len(answered.milliseconds) / answered.seconds,
            **clients.percentiles(answered.milliseconds),
            "web cores": (web.cpu_seconds() - used) / answered.seconds,
            "client cores": answered.cores,
        },
    )


def main() -> None:
    """Prints a line per case and round."""
    asked = report.asked(__doc__, clients=((1, 8), (2,)), processes=(2, 1), seconds=(5.0, 0.2))
    found = report.Report("post", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            with server.fresh() as url, Web(url, workers=asked.processes) as web:
                for keyed, count in itertools.product((False, True), asked.clients):
                    measure(found, web, count, keyed, asked.seconds)
    found.finish()


if __name__ == "__main__":
    main()
