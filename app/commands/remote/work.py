"""What a worker over HTTP does with a job: runs a command over it, or just prints it."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.commands.processes import tell
from app.commands.remote.calls import Lease
from app.commands.remote.command import MOST_OUTPUT, Command, Ended
from app.commands.remote.guard import JOB_ID, Guard
from app.commands.remote.held import Held
from workerpool.kinds import documents
from workerpool.kinds.text import clean_text

log = logging.getLogger(__name__)

# Ours, and not for the commands: they would end up in whatever these start, print or report.
SECRETS = ("API_TOKEN", "ADMIN_TOKEN", "DATABASE_URL", "POSTGRES_PASSWORD", "SMTP_URL", "WEBHOOK_SECRET")

_SIMULATED_RETRY_MS = 2000


@dataclass(frozen=True)
class Outcome:
    """How a job is to be settled: `verb` ack, fail or release, and the fields of that call.

    `plain` is what is left of the fields when the service does not take them; `said` is for the log.
    """

    verb: str
    said: str
    fields: dict[str, Any] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)


Work = Callable[[Held], Outcome]


def release(said: str) -> Outcome:
    """Gives the job back, its attempt not counted; ends it if cancel was requested."""
    return Outcome("release", said)


def fail(why: str, more: str = "") -> Outcome:
    """The attempt failed; only `why` goes to the log, and both to the service."""
    reason = clean_text(f"{why}: {more}" if more else why)
    return Outcome("fail", why, {"reason": reason}, {"reason": clean_text(why)})


def print_job(held: Held) -> Outcome:
    """Prints the job as a line of JSON. A payload with `"fail": true` fails."""
    lease = held.lease
    shown = {
        "id": lease.id,
        "queue": lease.queue,
        "kind": lease.kind,
        "attempts": lease.attempt,
        "max_attempts": lease.max_attempts,
        "payload": lease.payload,
    }
    tell(json.dumps(shown, ensure_ascii=False))
    if isinstance(lease.payload, dict) and lease.payload.get("fail") is True:
        fields = {"reason": "simulated failure", "retry_ms": _SIMULATED_RETRY_MS}
        return Outcome("fail", "simulated failure", fields, fields)
    return Outcome("ack", "printed")


class RunCommand:
    """Runs one command per job: the payload on its standard input, its exit is the outcome."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environ = {name: value for name, value in environ.items() if name not in SECRETS}
        self._guard = Guard(self._environ)

    def __call__(self, held: Held) -> Outcome:
        """Answers when nothing of the command is left."""
        lease = held.lease
        run = f"{lease.id}/{lease.attempt}"
        payload = json.dumps(lease.payload, ensure_ascii=False).encode() + b"\n"
        self._guard.starting(run)
        try:
            command = Command(self._arguments, {**self._environ, **_told(lease)}, payload)
        except (OSError, ValueError) as error:
            self._guard.ended(run)
            return fail(f"cannot start the command: {error}")
        try:
            self._guard.started(run, command.group)
            ended = command.run(held, lease.timeout_seconds)
        finally:
            command.kill()
            self._guard.ended(run)
            command.forget()
        if ended.told and not ended.timed_out:
            # Even if it exited with 0: it may have left its work undone, as it was told.
            return release(f"was told to end, {ended}")
        return _outcome(lease, ended)

    def close(self) -> None:
        """Kills what still runs."""
        self._guard.close()


def _told(lease: Lease) -> dict[str, str]:
    return {
        JOB_ID: lease.id,
        "WINDLASS_KIND": lease.kind,
        "WINDLASS_QUEUE": lease.queue,
        "WINDLASS_ATTEMPT": str(lease.attempt),
        "WINDLASS_MAX_ATTEMPTS": str(lease.max_attempts),
    }


def _outcome(lease: Lease, ended: Ended) -> Outcome:
    if ended.code == 0:
        # Also when its time was over in the same moment: the work is done.
        return _done(lease, ended)
    why = f"timed out after {lease.timeout_seconds:g} s" if ended.timed_out else str(ended)
    return fail(why, ended.errors.decode("utf-8", "replace").strip())


def _done(lease: Lease, ended: Ended) -> Outcome:
    """Whatever it printed, its work is done: output that cannot be the result is left out."""
    if ended.output is not None and not ended.output.strip():
        return Outcome("ack", str(ended))
    try:
        if ended.output is None:
            raise documents.Unreadable(f"is larger than {MOST_OUTPUT} bytes")
        return Outcome("ack", str(ended), {"result": documents.read(ended.output)})
    except documents.Unreadable as problem:
        log.warning("%s: its output %s: acked without a result", lease, problem)
        return Outcome("ack", str(ended))
