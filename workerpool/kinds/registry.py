"""Which kinds exist: declaring one, loading the modules that declare them, checking a payload against its kind.

    @kind("resize_image", payload=ResizeImage)
    def resize_image(payload, context):
        ...

A kind exists once the module that declares it has been imported. Web and pool load the same modules, so what one
accepts the other can run.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from marshmallow import Schema, ValidationError

from workerpool.context import Context
from workerpool.kinds import handlers, shapes
from workerpool.kinds.bounds import LONGEST_TIMEOUT, MOST_ATTEMPTS, NAME, NAME_RULE
from workerpool.kinds.text import clean_text
from workerpool.outcomes import describe
from workerpool.retry import Backoff

Handler = Callable[[Any, Context], Any]

SHIPPED: Final = tuple(
    f"{__package__}.{name}" for name in ("send_email", "resize_image", "summarize_text", "webhook_delivery", "external")
)
_NAME: Final = re.compile(NAME, re.ASCII)
# A hostile payload chooses its own field names; the answer to it stays small all the same.
_MOST_MESSAGES: Final = 50
_LONGEST_PATH: Final = 200
_LONGEST_MESSAGE: Final = 4000


class KindError(Exception):
    """A kind cannot be declared or loaded; the process must not start. The text says why."""


class UnknownKind(Exception):
    """No kind of this name is registered. `name` is the name asked for."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(f"unknown kind {name!r}; known kinds: {', '.join(sorted(known))}")


class PayloadInvalid(Exception):
    """A payload is not of its kind's shape.

    `messages` maps a field path that starts with `payload` (`payload.to.1`) to what is wrong there.
    """

    def __init__(self, kind_name: str, messages: dict[str, list[str]]) -> None:
        self.kind = kind_name
        self.messages = messages
        said = "; ".join(
            f"{path.removeprefix('payload.')}: {text}" for path, texts in messages.items() for text in texts
        )
        super().__init__(clean_text(f"payload validation failed for {kind_name}: {said}", _LONGEST_MESSAGE))


@dataclass(frozen=True)
class Kind:
    """One kind of job. Without a `payload` schema any JSON is accepted; without a `handler` the pool never runs it.

    `timeout_seconds` None means JOB_TIMEOUT_SECONDS of whichever process enqueues. An error of one of the classes
    `permanent_errors` is not retried.
    """

    name: str
    payload: type[Schema] | None
    handler: Handler | None
    queue: str = "default"
    max_attempts: int = 3
    timeout_seconds: float | None = None
    backoff: Backoff = field(default_factory=Backoff)
    permanent_errors: tuple[type[Exception], ...] = ()


_declared: dict[str, Kind] = {}


def kind(
    name: str,
    *,
    payload: type[Schema],
    queue: str = "default",
    max_attempts: int = 3,
    timeout_seconds: float | None = None,
    backoff: Backoff | None = None,
    permanent_errors: type[Exception] | tuple[type[Exception], ...] = (),
) -> Callable[[Handler], Handler]:
    """Declare a kind: its name, its payload's shape and its defaults; decorates `handler(payload, context)`.

    The handler gets the payload as the schema loaded it and a `Context`; what it returns, any JSON value, becomes
    the job's result. It may return or raise `Retry` and `Dead`. Any other exception is a failure that is retried, after
    `backoff`, unless it is of a class in `permanent_errors`: then no other attempt could succeed and the job is dead.

    Raises KindError when the declaration is incomplete, out of range, or the name is taken.
    """
    errors = permanent_errors if isinstance(permanent_errors, tuple) else (permanent_errors,)

    def declared(handler: Handler) -> Handler:
        declare(
            Kind(
                name=name,
                payload=payload,
                handler=handler,
                queue=queue,
                max_attempts=max_attempts,
                timeout_seconds=timeout_seconds,
                backoff=backoff or Backoff(),
                permanent_errors=errors,
            )
        )
        return handler

    return declared


def declare(new: Kind) -> None:
    """Make a kind known to this process.

    Raises KindError when it is incomplete, out of range, or its name is taken.
    """
    if not isinstance(new.name, str) or not _NAME.fullmatch(new.name):
        raise KindError(f"kind {new.name!r}: a name is {NAME_RULE}")
    if new.handler is not None and not callable(new.handler):
        raise KindError(f"kind {new.name!r}: the handler must be a function of (payload, context)")
    if new.handler is not None and (wrong := handlers.never_runs(new.handler)):
        raise KindError(f"kind {new.name!r}: the handler {wrong}")
    if new.handler is not None and not _is_schema(new.payload):
        raise KindError(
            f"kind {new.name!r} has no payload schema: pass payload=, a subclass of marshmallow.Schema"
            f" (got {new.payload!r})"
        )
    if not isinstance(new.queue, str) or not _NAME.fullmatch(new.queue):
        raise KindError(f"kind {new.name!r}: queue {new.queue!r} must be {NAME_RULE}")
    if not _is_number(new.max_attempts, int) or not 1 <= new.max_attempts <= MOST_ATTEMPTS:
        raise KindError(f"kind {new.name!r}: max_attempts must be from 1 to {MOST_ATTEMPTS}")
    timeout = new.timeout_seconds
    if timeout is not None and not (_is_number(timeout, int | float) and 0 < timeout <= LONGEST_TIMEOUT):
        raise KindError(
            f"kind {new.name!r}: timeout_seconds must be greater than 0 and at most {LONGEST_TIMEOUT},"
            " or None for JOB_TIMEOUT_SECONDS"
        )
    if not isinstance(new.backoff, Backoff):
        raise KindError(f"kind {new.name!r}: backoff must be a Backoff(…), not {new.backoff!r}")
    for error in new.permanent_errors:
        if not isinstance(error, type) or not issubclass(error, Exception):
            raise KindError(f"kind {new.name!r}: permanent_errors must be classes of Exception; {error!r} is none")
    known = _declared.get(new.name)
    if known is not None:
        raise KindError(f"kind {new.name!r} is declared twice: {handlers.both(known.handler, new.handler)}")
    _declared[new.name] = new


class Registry:
    """The kinds of one process, fixed when it starts. Raises KindError when a kind's schema cannot be made."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds = {each.name: each for each in kinds}
        # Instantiating a schema costs many times one load of it.
        self._schemas = {
            name: _made(name, each.payload) if each.payload else None for name, each in self._kinds.items()
        }

    def names(self) -> tuple[str, ...]:
        """Every kind, sorted."""
        return tuple(sorted(self._kinds))

    def runnable(self) -> tuple[str, ...]:
        """The kinds that have a handler, sorted: all a worker may claim."""
        return tuple(sorted(name for name, each in self._kinds.items() if each.handler is not None))

    def get(self, name: str) -> Kind:
        """Raises UnknownKind."""
        try:
            return self._kinds[name]
        except (KeyError, TypeError):
            raise UnknownKind(name, self._kinds) from None

    def check(self, name: str, payload: Any) -> Any:
        """The payload as its kind's schema loads it, defaults filled in; unchanged for a kind without a schema.

        Raises UnknownKind, and PayloadInvalid with every problem at once.
        """
        try:
            schema = self._schemas[name]
        except (KeyError, TypeError):
            raise UnknownKind(name, self._kinds) from None
        if schema is None:
            return payload
        try:
            return schema.load(payload)
        except ValidationError as error:
            messages = islice(_flattened(error.messages).items(), _MOST_MESSAGES)
            bounded = {clean_text(path, _LONGEST_PATH): texts for path, texts in messages}
            raise PayloadInvalid(name, bounded) from None
        except Exception as error:
            # The type only: the text can hold what was in the payload.
            said = f"could not be checked: the schema of this kind raised {type(error).__name__}"
            raise PayloadInvalid(name, {"payload": [said]}) from None


def load(modules: Sequence[str] = ()) -> Registry:
    """Import the shipped kinds and `modules`, and return every kind declared in this process.

    Raises KindError with the reason when a module cannot be imported or declares a kind wrongly, and when a setting of
    the shipped kinds is wrong: better no start than a mail server's misspelt address found by the first job.
    """
    # Not above: `import workerpool`, which the supervisor and every author of a kind do, needs none of it.
    from workerpool.kinds import settings

    try:
        settings.current()
    except settings.SettingsError as error:
        raise KindError(str(error)) from error
    for module in (*SHIPPED, *modules):
        try:
            importlib.import_module(module)
        except KindError as error:
            raise KindError(f"{module}: {error}") from error
        except (Exception, SystemExit) as error:
            hint = "; check KIND_MODULES and what that module imports" if module not in SHIPPED else ""
            raise KindError(f"{module} cannot be imported: {describe(error)}{hint}") from error
    return Registry(_declared.values())


def _is_schema(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Schema)


def _is_number(value: Any, of: Any) -> bool:
    return isinstance(value, of) and not isinstance(value, bool)


def _made(name: str, schema: type[Schema]) -> Schema:
    try:
        return shapes.made(schema)
    except Exception as error:
        raise KindError(f"kind {name!r}: its schema {schema.__qualname__} cannot be used: {describe(error)}") from error


def _flattened(messages: Any, path: str = "payload") -> dict[str, list[str]]:
    """marshmallow's nested messages as one level: field path → texts."""
    if isinstance(messages, str):
        return {path: [messages]}
    if isinstance(messages, dict):
        flat: dict[str, list[str]] = {}
        for name, inner in messages.items():
            for where, texts in _flattened(inner, path if name == "_schema" else f"{path}.{name}").items():
                flat.setdefault(where, []).extend(texts)
        return flat
    if not isinstance(messages, Iterable):
        # An author's ValidationError may hold anything.
        return {path: [str(messages)]}
    if all(isinstance(each, str) for each in messages):
        return {path: list(messages)}
    return _flattened({str(index): each for index, each in enumerate(messages)}, path)
