"""The kinds of the tests' pools: handlers that do on purpose what handlers do by accident.

Named in KIND_MODULES. Each notes its effects outside the database, see `effects`.
"""

import ctypes
import hashlib
import os
import re
import resource
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from marshmallow import INCLUDE, Schema, pre_load

from support.effects import Effects
from workerpool import Backoff, Context, Dead, Retry, kind

_effects = Effects.of_this_process()
_kept: list[bytes] = []


class Anything(Schema):
    class Meta:
        unknown = INCLUDE


@kind("note", payload=Anything)
def note(payload: dict[str, Any], context: Context) -> Any:
    """A quick job, or one that lasts `seconds`."""
    _effects.note(context, "ran")
    _pass(payload.get("seconds", 0))
    return payload.get("result")


@kind("gate", payload=Anything)
def gate(payload: dict[str, Any], context: Context) -> Any:
    """Runs until its gate is open. `looks`: it sees its cancel; `fails`: so it ends; `waits` false: it is quick."""
    _effects.note(context, "began")
    while payload.get("waits", True) and not _effects.is_open(context):
        if payload.get("looks"):
            context.check_cancelled()
        _pass(0.005)
    _effects.note(context, "ended")
    if payload.get("fails"):
        raise ValueError("no good")
    return {"attempt": context.attempt}


@kind("die", payload=Anything)
def die(payload: dict[str, Any], context: Context) -> Any:
    """Ends its process in the way of `how`, in its first `times` attempts. Without `how` it is a quick job."""
    _effects.note(context, "began")
    if "how" in payload and context.attempt <= payload.get("times", 100):
        _deaths[payload["how"]]()
    _effects.note(context, "ran")
    return payload.get("result")


@kind("stick", payload=Anything, backoff=Backoff(base_seconds=0.0, cap_seconds=0.0))
def stick(payload: dict[str, Any], context: Context) -> None:
    """Outruns its time in the way of `how`, in its first `times` attempts."""
    _effects.note(context, "began")
    if context.attempt <= payload.get("times", 100):
        _stuck[payload["how"]]()


@kind("give", payload=Anything)
def give(payload: dict[str, Any], context: Context) -> Any:
    """Returns something JSON or PostgreSQL may have no place for."""
    _effects.note(context, "ran")
    return _results[payload["what"]]


@kind("throw", payload=Anything, backoff=Backoff(base_seconds=0.0, cap_seconds=0.0))
def throw(payload: dict[str, Any], context: Context) -> Any:
    """Fails in the way of `what` as long as `attempt` is at most `times`."""
    _effects.note(context, "began")
    if context.attempt > payload.get("times", 100):
        return None
    if payload["what"] == "returns Retry":
        return Retry("later", after=0)
    raise _errors[payload["what"]](payload)


@kind("report", payload=Anything)
def report(payload: dict[str, Any], context: Context) -> None:
    """Says how far it is, `gap` seconds apart, and goes on when its gate is open. A value may name one of `give`'s."""
    for value in payload["values"]:
        context.progress(_results.get(value, value) if isinstance(value, str) else value)
        _pass(payload.get("gap", 0))
    _effects.note(context, "began")
    while not _effects.is_open(context):
        context.check_cancelled()
        _pass(0.005)


@kind("follow", payload=Anything, backoff=Backoff(base_seconds=0.0, cap_seconds=0.0), permanent_errors=LookupError)
def follow(payload: dict[str, Any], context: Context) -> Any:
    """Enqueues a `note` for each of `notes`, which holds the arguments that matter; then waits for its gate if it
    `waits`, and ends in the way of `then` as long as `attempt` is at most `times`.
    """
    _effects.note(context, "began")
    for arguments in payload["notes"]:
        context.enqueue(**{"kind": "note", "payload": {"of": context.job.id}, **arguments})
    _effects.note(context, "enqueued")
    while payload.get("waits") and not _effects.is_open(context):
        _pass(0.005)
    if "then" not in payload or context.attempt > payload.get("times", 100):
        return payload.get("result")
    return _ends[payload["then"]](context)


class Touchy(Schema):
    @pre_load
    def touch(self, data: dict[str, Any], **_: Any) -> NoReturn:
        raise LookupError(f"no {data}")


@kind("touchy", payload=Touchy)
def touchy(_payload: dict[str, Any], _context: Context) -> None:
    """Its schema fails in a way no schema should."""


@kind("grow", payload=Anything)
def grow(payload: dict[str, Any], context: Context) -> None:
    """Never gives back `mb` megabytes."""
    _effects.note(context, "ran")
    _kept.append(b"x" * (payload["mb"] * 2**20))


def _pass(seconds: float) -> None:
    select.select([], [], [], seconds)


# -- deaths -----------------------------------------------------------------------------------------------------------


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _read_null() -> None:
    ctypes.string_at(0)


def _overflow_the_stack() -> None:
    # Through C at each level, on a stack that cannot grow far, with no limit of Python's in the way.
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (256 * 1024, hard))
    sys.setrecursionlimit(10**6)
    _deeper(0)


def _deeper(_: int) -> int:
    return max(map(_deeper, (1, 2)))


def _outgrow_memory() -> None:
    while True:
        _kept.append(os.urandom(2**20))


_deaths: dict[str, Callable[[], None]] = {
    "kill -9": _kill_myself,
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(1)": lambda: os._exit(1),
    "os._exit(3)": lambda: os._exit(3),
    "segmentation fault": _read_null,
    "abort": os.abort,
    "stack overflow": _overflow_the_stack,
    "out of memory": _outgrow_memory,
}


# -- outrunning the deadline ------------------------------------------------------------------------------------------


def _swallow() -> NoReturn:
    while True:
        try:
            _pass(60)
        except BaseException:
            pass


def _swallow_once() -> None:
    try:
        _pass(60)
    except BaseException:
        pass


def _clean_up() -> None:
    try:
        _pass(60)
    finally:
        _pass(0.2)


def _derive_a_key() -> None:
    # Minutes in one call into C: no handler of Python's runs meanwhile.
    hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 2**31 - 1)


def _block_all_signals() -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        _pass(60)


_stuck: dict[str, Callable[[], None]] = {
    "sleeps": lambda: _pass(60),
    "cleans up": _clean_up,
    "swallows it once": _swallow_once,
    "swallows everything": _swallow,
    "a regular expression": lambda: _match("(a+)+$", "a" * 40 + "b"),
    "deep in C": _derive_a_key,
    "signals blocked": _block_all_signals,
}


def _match(pattern: str, text: str) -> None:
    re.match(pattern, text)


# -- results and errors -----------------------------------------------------------------------------------------------

_deep: list[Any] = []
# Deeper than any Python's JSON goes: 3.13 reads 9,000 levels, 3.11 a thousand.
for _ in range(12_000):
    _deep = [_deep]
_circle: list[Any] = []
_circle.append(_circle)

_results: dict[str, Any] = {
    "NUL": {"text": "a\0b", "k\0": 1},
    "a lone surrogate": {"text": "\ud800"},
    "NaN": float("nan"),
    "infinity": [float("inf")],
    "a set": {1, 2},
    "a huge text": "x" * (2 * 2**20),
    "a large text": "ä" * (400 * 2**10),
    "a huge number": 10**5000,
    "too deep": _deep,
    "a circle": _circle,
}


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


_errors: dict[str, Callable[[dict[str, Any]], BaseException]] = {
    "SystemExit": lambda _: SystemExit(3),
    "KeyboardInterrupt": lambda _: KeyboardInterrupt(),
    "GeneratorExit": lambda _: GeneratorExit(),
    "ValueError": lambda payload: ValueError(payload.get("text", "no good")),
    "no words": lambda _: Unspeakable(),
    "NUL": lambda _: ValueError("a\0b\ud800\x1b[31m"),
    "Retry": lambda payload: Retry("later", after=payload.get("after")),
    "Dead": lambda _: Dead("never"),
}

# -- ends of a job that has enqueued others ---------------------------------------------------------------------------


def _raise(error: BaseException) -> NoReturn:
    raise error


def _wait_to_be_cancelled(context: Context) -> NoReturn:
    while True:
        context.check_cancelled()
        _pass(0.005)


_ends: dict[str, Callable[[Context], Any]] = {
    "raises Dead": lambda _: _raise(Dead("never")),
    "returns Dead": lambda _: Dead("never"),
    "raises Retry": lambda _: _raise(Retry("later", after=0)),
    "returns Retry": lambda _: Retry("later", after=0),
    "fails": lambda _: _raise(ValueError("no good")),
    "fails for good": lambda _: _raise(KeyError("nowhere")),
    "SystemExit": lambda _: _raise(SystemExit(3)),
    "a result that is no JSON": lambda _: {1, 2},
    "sleeps": lambda _: _pass(60),
    "is killed": lambda _: _kill_myself(),
    "is cancelled": _wait_to_be_cancelled,
}
