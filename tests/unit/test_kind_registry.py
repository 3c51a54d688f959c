"""Declaring kinds, loading them, and checking payloads against them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

import workerpool
from workerpool.kinds import registry as registry_module
from workerpool.kinds.registry import Kind, KindError, PayloadInvalid, Registry, UnknownKind, declare, kind, load
from workerpool.retry import Backoff

ROOT = Path(__file__).parents[2]


class Greeting(Schema):
    name = fields.String(required=True)
    times = fields.Integer(strict=True, load_default=1)
    friends = fields.List(fields.Nested(lambda: Greeting(only=("name",))))


def greet(payload: dict[str, Any], context: workerpool.Context) -> str:
    return f"{payload['name']} {context.attempt}"


@pytest.fixture(autouse=True)
def _what_is_declared_here_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    load()  # A module declares its kinds only when it is first imported, which must not happen inside.
    monkeypatch.setattr(registry_module, "_declared", dict(registry_module._declared))


def a_registry() -> Registry:
    return Registry(
        [Kind("greet", Greeting, greet), Kind("external", None, None), Kind("b", Greeting, greet, max_attempts=9)]
    )


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, since what is declared stays declared."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_shipped_kinds_load_and_only_external_has_no_handler() -> None:
    registry = load()
    shipped = {"send_email", "resize_image", "summarize_text", "webhook_delivery"}
    assert shipped | {"external"} <= set(registry.names())
    assert shipped <= set(registry.runnable())
    assert "external" not in registry.runnable()


def test_loading_the_kinds_loads_nothing_that_only_a_handler_needs() -> None:
    code = (
        "import sys; from workerpool.kinds.registry import load; load();"
        "heavy = {'PIL', 'smtplib', 'ssl', 'http.client', 'standardwebhooks', 'psycopg2', 'sql', 'prometheus_client'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run_python(code, ROOT).stdout.strip() == "[]"


def test_names_are_sorted_and_a_kind_is_found_by_its_name() -> None:
    registry = a_registry()
    assert registry.names() == ("b", "external", "greet")
    assert registry.runnable() == ("b", "greet")
    assert registry.get("b").max_attempts == 9


@pytest.mark.parametrize("name", ["nope", "", "GREET", None, []])
def test_a_name_nobody_declared_is_unknown_and_the_known_ones_are_named(name: Any) -> None:
    with pytest.raises(UnknownKind, match="known kinds: b, external, greet"):
        a_registry().get(name)
    with pytest.raises(UnknownKind):
        a_registry().check(name, {})


def test_a_checked_payload_comes_back_with_its_defaults() -> None:
    assert a_registry().check("greet", {"name": "Ann"}) == {"name": "Ann", "times": 1}


@pytest.mark.parametrize("payload", [None, 5, "x", [1, {"a": None}], {"any": {"thing": True}}])
def test_a_kind_without_a_schema_takes_any_json_unchanged(payload: Any) -> None:
    assert a_registry().check("external", payload) is payload


def test_every_problem_of_a_payload_is_told_at_once_with_its_path() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        a_registry().check("greet", {"times": "2", "extra": 1, "friends": [{"name": "Bo"}, {"nam": 1}]})
    assert set(caught.value.messages) == {
        "payload.name",
        "payload.times",
        "payload.extra",
        "payload.friends.1.name",
        "payload.friends.1.nam",
    }
    assert str(caught.value).startswith("payload validation failed for greet: ")
    assert "friends.1.nam: " in str(caught.value)


@pytest.mark.parametrize("payload", [None, 5, "x", [], [{}], True])
def test_a_payload_that_is_no_object_is_refused_by_a_kind_with_a_schema(payload: Any) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        a_registry().check("greet", payload)
    assert list(caught.value.messages) == ["payload"]


def test_the_answer_to_a_payload_of_hostile_field_names_stays_small_and_printable() -> None:
    payload = {f"\x1b[2J\ud800{'x' * 5000}{number}": 1 for number in range(2000)}
    with pytest.raises(PayloadInvalid) as caught:
        a_registry().check("greet", payload)
    assert len(str(caught.value)) <= 4000
    assert sum(map(len, caught.value.messages)) < 20_000
    str(caught.value).encode()
    assert "\x1b" not in "".join(caught.value.messages)


def test_a_declared_kind_carries_its_defaults() -> None:
    backoff = Backoff(base_seconds=2)
    kind("unit.defaults", payload=Greeting, queue="mail", max_attempts=7, timeout_seconds=1.5, backoff=backoff)(greet)
    found = load().get("unit.defaults")
    assert (found.queue, found.max_attempts, found.timeout_seconds, found.backoff) == ("mail", 7, 1.5, backoff)


def test_the_decorated_handler_stays_a_plain_function() -> None:
    assert kind("unit.plain", payload=Greeting)(greet) is greet


def test_the_same_function_may_be_declared_again() -> None:
    kind("unit.again", payload=Greeting)(greet)
    kind("unit.again", payload=Greeting, max_attempts=5)(greet)
    assert load().get("unit.again").max_attempts == 5


def test_a_name_taken_by_another_handler_is_refused_and_both_are_named() -> None:
    def other(_payload: Any, _context: Any) -> None:
        return None

    kind("unit.taken", payload=Greeting)(greet)
    with pytest.raises(KindError, match=r"'unit\.taken' is declared twice: in .*greet and in .*other"):
        kind("unit.taken", payload=Greeting)(other)
    with pytest.raises(KindError, match="declared twice"):
        kind("external", payload=Greeting)(greet)


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
        {"name": "x" * 101},
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


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError"),
        ("def", "cannot be imported: SyntaxError"),
        ("1/0", "cannot be imported: ZeroDivisionError"),
        ("from workerpool import kind\n@kind('x', payload=None)\ndef f(p, c): ...", "has no payload schema"),
        (
            "from marshmallow import Schema\nfrom workerpool import kind\n"
            "@kind('send_email', payload=Schema)\ndef f(p, c): ...",
            "'send_email' is declared twice",
        ),
    ],
)
def test_a_module_that_does_not_load_stops_the_start_with_the_reason(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "acme_jobs.py").write_text(source)
    ended = run_python("from workerpool.kinds.registry import load; load(['acme_jobs'])", tmp_path)
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 1
    assert last.startswith("workerpool.kinds.registry.KindError: acme_jobs")
    assert said in last


def test_a_wrong_setting_of_a_shipped_kind_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "mail.example.org")
    monkeypatch.setenv("WEBHOOK_ALLOW_NETS", "localhost")
    with pytest.raises(KindError, match=r"SMTP_URL: .*\nWEBHOOK_ALLOW_NETS: "):
        load()


def test_a_module_of_ones_own_brings_its_kinds(tmp_path: Path) -> None:
    (tmp_path / "acme_jobs.py").write_text(
        "from marshmallow import Schema, fields\n"
        "from workerpool import Backoff, Dead, Retry, kind\n"
        "class Shape(Schema):\n    n = fields.Integer(strict=True)\n"
        "@kind('acme.add', payload=Shape, backoff=Backoff(cap_seconds=5))\n"
        "def add(payload, context):\n    return payload['n'] + 1\n"
    )
    code = (
        "from workerpool.kinds.registry import load; r = load(['acme_jobs']);"
        "print('acme.add' in r.runnable(), r.get('acme.add').handler(r.check('acme.add', {'n': 1}), None))"
    )
    assert run_python(code, tmp_path).stdout.split() == ["True", "2"]


def test_what_authors_need_is_exported_and_nothing_else_is_found() -> None:
    words = {"Backoff", "Context", "Dead", "EnqueueRefused", "Retry", "SettingsError", "kind", "run"}
    assert set(workerpool.__all__) == words
    with pytest.raises(AttributeError, match="nothing"):
        workerpool.nothing  # noqa: B018
