"""What can be said of a handler before it runs: whether calling it runs it at all, and where it was written."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any


def never_runs(handler: Callable[..., Any]) -> str | None:
    """What is wrong with a handler whose call only makes something that somebody would still have to run."""
    called = handler if inspect.isroutine(handler) or isinstance(handler, partial) else type(handler).__call__
    if inspect.iscoroutinefunction(called):
        return "must not be an async def: nobody would await it; make it a def and use asyncio.run(…) in it"
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        return "must not be a generator (yield): nobody would go through it; it must return its result"
    return None


def both(first: Callable[..., Any] | None, second: Callable[..., Any] | None) -> str:
    """Where two handlers come from, and what to do when it is one place."""
    said = f"in {_name(first)} and in {_name(second)}"
    if _place(first) is None or _place(first) != _place(second):
        return said
    return (
        f"{said}, which is one place that was run twice: import a module once and by one name, and do not name a"
        " program that calls workerpool.run() in KIND_MODULES"
    )


def _name(handler: Callable[..., Any] | None) -> str:
    if handler is None:
        return "a kind without a handler"
    name = f"{handler.__module__}.{getattr(handler, '__qualname__', type(handler).__qualname__)}"
    code = getattr(handler, "__code__", None)
    return f"{name} (line {code.co_firstlineno})" if code else name


def _place(handler: Callable[..., Any] | None) -> tuple[str, int] | None:
    code = getattr(handler, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else None
