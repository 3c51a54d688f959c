"""What the jobs of a storm do. Each start of a handler is told to the sink, with its attempt and its fence.

`do` says how it goes on: `ok`, `fail` (its first `times` attempts), `dead`, `die` (takes its process with it), `cancel`
(looks for a cancel for as long as `seconds`).
"""

import ctypes
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from marshmallow import INCLUDE, Schema

from workerpool import Backoff, Context, Dead, kind

SINK = "WINDLASS_TEST_SINK"
_pause = threading.Event()
_connection: list[http.client.HTTPConnection] = []


class Anything(Schema):
    class Meta:
        unknown = INCLUDE


@kind("effect", payload=Anything, backoff=Backoff(base_seconds=0.05, cap_seconds=0.5))
def effect(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Tells the sink, then does as it is told."""
    _tell(context)
    do = payload.get("do", "ok")
    if do == "die":
        _deaths[payload["how"]]()
    until = time.monotonic() + payload.get("seconds", 0)
    while (left := until - time.monotonic()) > 0:
        if do == "cancel":
            context.check_cancelled()
        _pause.wait(min(left, 0.02))
    if do == "dead":
        raise Dead(f"no good: {payload['canary']}" if "canary" in payload else "no good")
    if do == "fail" and context.attempt <= payload.get("times", 1):
        raise ValueError("not yet")
    return {"n": payload["n"], "canary": payload.get("canary")}


def _tell(context: Context) -> None:
    told = json.dumps([context.job.id, context.attempt, context.job.fence, time.time()])
    if not _connection:
        host, _, port = os.environ[SINK].partition(":")
        _connection.append(http.client.HTTPConnection(host, int(port), timeout=10))
    try:
        _connection[0].request("POST", "/effect", told)
        _connection[0].getresponse().read()
    except (OSError, http.client.HTTPException):
        # An interrupt may have come in the middle of an exchange; a new one begins on a new connection.
        _connection.pop().close()
        raise


_deaths: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(0),
    "abort": os.abort,
}
