"""Declaring a kind: what is refused before anything can rely on it."""

from functools import partial
from typing import Any

import pytest
from marshmallow import Schema, fields

from workerpool import Context
from workerpool.kinds.registry import Kind, KindError, Registry, declare, kind, load
from workerpool.retry import Backoff

pytestmark = pytest.mark.usefixtures("own_kinds")


class Greeting(Schema):
    name = fields.String(required=True)


def greet(payload: dict[str, Any], context: Context) -> str:
    return f"{payload['name']} {context.attempt}"


def test_a_declared_kind_carries_its_defaults() -> None:
    backoff = Backoff(base_seconds=2)
    kind("unit.defaults", payload=Greeting, queue="mail", max_attempts=7, timeout_seconds=1.5, backoff=backoff)(greet)
    found = load().get("unit.defaults")
    assert (found.queue, found.max_attempts, found.timeout_seconds, found.backoff) == ("mail", 7, 1.5, backoff)


def test_the_decorated_handler_stays_a_plain_function() -> None:
    assert kind("unit.plain", payload=Greeting)(greet) is greet


def test_a_name_taken_is_refused_and_both_places_are_named() -> None:
    def other(_payload: Any, _context: Any) -> None:
        return None

    kind("unit.taken", payload=Greeting)(greet)
    with pytest.raises(KindError, match=r"'unit\.taken' is declared twice: in .*greet \(line .*other \(line \d+\)$"):
        kind("unit.taken", payload=Greeting)(other)
    with pytest.raises(KindError, match="declared twice"):
        kind("external", payload=Greeting)(greet)


def test_two_functions_of_one_name_and_module_are_two_kinds_of_one_name() -> None:
    kind("unit.same", payload=Greeting)(greet)

    def other(_payload: Any, _context: Any) -> None:
        return None

    other.__qualname__, other.__module__ = greet.__qualname__, greet.__module__
    with pytest.raises(KindError, match=r"is declared twice: in .*greet \(line \d+\) and in .*greet \(line \d+\)$"):
        kind("unit.same", payload=Greeting, max_attempts=9)(other)
    assert load().get("unit.same").max_attempts == 3


def test_one_function_declared_twice_is_refused_too_and_what_may_be_the_cause_is_said() -> None:
    kind("unit.again", payload=Greeting)(greet)
    with pytest.raises(KindError, match="one place that was run twice: import a module once"):
        kind("unit.again", payload=Greeting)(greet)


def _nested(schema: Any) -> type[Schema]:
    return Schema.from_dict({"inner": fields.Dict(values=fields.List(schema))})


class NeedsArguments(Schema):
    def __init__(self, flavour: str, **options: Any) -> None:
        super().__init__(**options)
        self.flavour = flavour


class Tree(Schema):
    children = fields.List(fields.Nested(lambda: Tree()))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (NeedsArguments, r"its schema NeedsArguments cannot be used: TypeError: .*'flavour'"),
        (_nested(fields.Nested(NeedsArguments)), "TypeError: .*'flavour'"),
        (_nested(fields.Nested("NowhereToBeFound")), "RegistryError: .*'NowhereToBeFound'"),
        (_nested(fields.Nested(Greeting, only=("surname",))), "ValueError: .*surname"),
    ],
)
def test_a_schema_that_cannot_be_made_stops_the_start(schema: type[Schema], said: str) -> None:
    kind("unit.unmade", payload=schema)(greet)
    with pytest.raises(KindError, match=rf"kind 'unit\.unmade': .*{said}"):
        load()


def test_a_schema_that_nests_itself_is_made() -> None:
    tree = {"children": [{"children": []}]}
    assert Registry([Kind("tree", Tree, greet)]).check("tree", tree) == tree


async def awaited(_payload: Any, _context: Any) -> None: ...


async def awaited_each(_payload: Any, _context: Any) -> Any:
    yield 1


def yields(_payload: Any, _context: Any) -> Any:
    yield 1


class AwaitedObject:
    async def __call__(self, _payload: Any, _context: Any) -> None: ...

    async def method(self, _payload: Any, _context: Any) -> None: ...


class CalledObject:
    def __call__(self, _payload: Any, _context: Any) -> None: ...


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (awaited, "must not be an async def"),
        (AwaitedObject(), "must not be an async def"),
        (AwaitedObject().method, "must not be an async def"),
        (partial(awaited, 1), "must not be an async def"),
        (awaited_each, "must not be a generator"),
        (yields, "must not be a generator"),
    ],
)
def test_a_handler_whose_call_runs_nothing_is_refused(handler: Any, said: str) -> None:
    with pytest.raises(KindError, match=rf"kind 'unit\.never': the handler {said}"):
        kind("unit.never", payload=Greeting)(handler)


@pytest.mark.parametrize("handler", [CalledObject(), CalledObject().__call__, partial(greet), print])
def test_anything_else_that_can_be_called_may_handle(handler: Any) -> None:
    assert kind("unit.called", payload=Greeting)(handler) is handler
    with pytest.raises(KindError, match="declared twice"):
        kind("unit.called", payload=Greeting)(greet)


@pytest.mark.parametrize("schema", [None, dict, Greeting(), "Greeting"])
def test_a_kind_without_a_payload_schema_is_refused(schema: Any) -> None:
    with pytest.raises(KindError, match="has no payload schema"):
        kind("unit.shapeless", payload=schema)(greet)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "ä"},
        {"name": "x" * 129},
        {"name": ".."},
        {"name": 5},
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"max_attempts": True},
        {"timeout_seconds": 0},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("nan")},
        {"timeout_seconds": float("inf")},
        {"timeout_seconds": 604_801},
        {"timeout_seconds": "60"},
        {"max_attempts": "3"},
        {"queue": ""},
        {"queue": "two words"},
        {"queue": "q\n"},
        {"queue": "x" * 129},
        {"queue": "."},
        {"queue": None},
        {"backoff": 5},
        {"handler": "greet"},
    ],
)
def test_a_declaration_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(KindError):
        declare(Kind(**{"name": "unit.wrong", "payload": Greeting, "handler": greet, **wrong}))


@pytest.mark.parametrize("errors", [LookupError, (LookupError, ZeroDivisionError), ()])
def test_permanent_errors_are_one_class_or_several(errors: Any) -> None:
    kind("unit.permanent", payload=Greeting, permanent_errors=errors)(greet)
    assert load().get("unit.permanent").permanent_errors == (errors if isinstance(errors, tuple) else (errors,))


@pytest.mark.parametrize(
    "errors", ["LookupError", LookupError(), BaseException, KeyboardInterrupt, (LookupError, 5), [LookupError], None]
)
def test_permanent_errors_that_are_no_classes_of_exception_are_refused(errors: Any) -> None:
    with pytest.raises(KindError, match=r"'unit\.permanent': permanent_errors must be classes of Exception"):
        kind("unit.permanent", payload=Greeting, permanent_errors=errors)(greet)
