"""`python -m support.guard_trials FOLDER`: every way to make a webhook reach what it must not, on a real network with a
real name server, at creation, at sending and at sending again. Prints what came of it as JSON. Started by `unshare`.
"""

import ipaddress
import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.forbidden_hosts import FORBIDDEN, HOSTS
from support.handlers import a_run
from support.waiting import until
from support.wire import Capture, NameServer, cable
from workerpool.kinds.address_guard import resolve
from workerpool.kinds.registry import PayloadInvalid, load
from workerpool.kinds.settings import KindSettings
from workerpool.kinds.webhook_delivery import deliver
from workerpool.outcomes import Dead, Retry

SECRET = f"whsec_{'a' * 43}="
OWN = ("185.0.0.2/24", "2a09::2/64")
# Public, not ours, and somebody answers there.
GOOD = ("185.0.0.1/24", "2a09::1/64")
DATABASE, MAIL = "185.0.0.7", "2a09::8"
SERVICES = {"db.test": [DATABASE], "mail.test": [MAIL]}
SETTINGS = {
    "WEBHOOK_SECRET": SECRET,
    "DATABASE_URL": "postgresql://u:p@db.test:5432/x",
    "SMTP_URL": "smtp+plain://mail.test",
}
PUBLIC4, PUBLIC6 = (address.partition("/")[0] for address in GOOD)
BAD = ("169.254.169.254", "127.0.0.1", "10.0.0.1", "fd00:ec2::254", "::1", "::ffff:10.0.0.1", OWN[0][:-3], DATABASE)
STAGES = ("create", "send", "retry")


def mixed() -> Iterator[list[str]]:
    """One bad answer among good ones, in every place."""
    for bad in BAD:
        for place in range(4):
            answers = [PUBLIC4, PUBLIC6, PUBLIC4]
            answers.insert(place, bad)
            yield answers


FIXED: dict[str, list[str]] = {
    "good.test": [PUBLIC4, PUBLIC6],
    **SERVICES,
    **{f"one{number}.test": [address] for number, address in enumerate(FORBIDDEN)},
    **{f"mixed{number}.test": answers for number, answers in enumerate(mixed())},
    **{f"alias{number}.test": [f"=one{number}.test"] for number in range(0, len(FORBIDDEN), 5)},
    "own4.test": [OWN[0].partition("/")[0]],
    "own6.test": [OWN[1].partition("/")[0]],
    "alias-of-database.test": ["=db.test"],
}
FLIPPING = {f"flip{number}.test": bad for number, bad in enumerate(BAD)}


def names(name: str, asked_before: int) -> Sequence[str]:
    """What the name server says: of those that flip every other time something else, and nothing stays valid."""
    if name in FLIPPING:
        return [FLIPPING[name] if asked_before % 2 else PUBLIC4]
    return FIXED.get(name, [])


def serve() -> None:
    """In the other namespace: takes every connection, answers, and redirects where the path says so."""

    def answer(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            where = request.split(b" ")[1].partition(b"?to=")[2] if b" " in request else b""
            head = b"302 Found\r\nLocation: " + where if where else b"204 No Content"
            connection.sendall(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def listen(port: int) -> None:
        with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128) as server:
            while True:
                threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()

    threading.Thread(target=listen, args=[443], daemon=True).start()
    listen(80)


class Trials:
    """What was tried, and what came of it."""

    def __init__(self) -> None:
        self.settings = KindSettings.from_env(SETTINGS)
        self.outcomes: Counter[str] = Counter()
        self.bypassed: list[str] = []
        self.count = 0

    def create(self, url: str) -> bool:
        """Whether such a job is refused."""
        try:
            load().check("webhook_delivery", {"url": url})
        except PayloadInvalid:
            return True
        return False

    def send(self, url: str, attempt: int, settings: KindSettings | None = None) -> str:
        """How a delivery ends."""
        payload = {"url": url, "timeout_seconds": 1}
        try:
            deliver(payload, a_run(attempt=attempt).context, settings or self.settings, resolve)
        except Dead:
            return "refused"
        except Retry:
            return "failed"
        return "delivered"

    def forbidden(self, url: str) -> None:
        """At no stage may anything be delivered."""
        for stage, attempt in zip(STAGES, (0, 1, 2), strict=True):
            self.count += 1
            if stage == "create":
                how = "refused" if self.create(url) else "left to sending"
            else:
                how = self.send(url, attempt)
                if how == "delivered":
                    self.bypassed.append(f"{stage} {url}")
            self.outcomes[f"{stage}: {how}"] += 1


def hosts() -> list[str]:
    literal = [OWN[0][:-3], f"[{OWN[1][:-3]}]", DATABASE, f"[{MAIL}]", "[::ffff:185.0.0.7]", "[64:ff9b::185.0.0.7]"]
    return [*HOSTS, *literal, *(name for name in FIXED if name != "good.test")]


def main() -> None:
    os.environ.update(SETTINGS)
    addresses = [each for each in FORBIDDEN if not ipaddress.ip_address(each).is_loopback]
    pid = cable(OWN, [*GOOD, DATABASE, MAIL, *addresses], serve)
    try:
        print(json.dumps(tried(Path(sys.argv[1]))))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def tried(folder: Path) -> dict[str, Any]:
    server, capture, trials = NameServer(folder, names), Capture(), Trials()
    until(lambda: trials.send("http://good.test/", 1) == "delivered", 20, "the other side answers")
    capture.since()
    for host in hosts():
        for scheme in ("http", "https"):
            trials.forbidden(f"{scheme}://{host}/")
    for bad in ("169.254.169.254", "[fd00:ec2::254]", "127.0.0.1", "10.0.0.1:80", "good.test"):
        assert trials.send(f"http://good.test/?to=http://{bad}/", 1) == "failed"
        trials.count += 1
    flips = Counter[str]()
    for name in FLIPPING:
        for attempt in range(1, 7):
            trials.count += 1
            flips[trials.send(f"http://{name}/", attempt)] += 1
    allowed = {PUBLIC4, PUBLIC6}
    packets = capture.since()
    to_good = sum(count for address, count in packets.items() if address in allowed)

    everything = KindSettings.from_env({**SETTINGS, "WEBHOOK_ALLOW_NETS": "0.0.0.0/0, ::/0"})
    control = Counter(
        trials.send(f"http://{host}/", 1, everything)
        for host in [
            *FLIPPING,
            "169.254.169.254",
            "[fd00:ec2::254]",
            "127.0.0.1",
            "2852039166",
            "10.1",
            DATABASE,
            "one5.test",
        ]
    )
    without_guard = [address for address in capture.since() if address not in allowed]
    return {
        "trials": trials.count,
        "outcomes": trials.outcomes,
        "bypassed": trials.bypassed,
        "flips": flips,
        "questions": server.asked.total(),
        "packets to allowed": to_good,
        "packets to forbidden": {address: n for address, n in packets.items() if address not in allowed},
        "control": control,
        "control reached": without_guard,
    }


if __name__ == "__main__":
    main()
