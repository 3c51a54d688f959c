"""Declaring kinds, loading them, and checking payloads against them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

import workerpool
from workerpool.kinds.registry import Kind, KindError, PayloadInvalid, Registry, UnknownKind, load

ROOT = Path(__file__).parents[2]


class Greeting(Schema):
    name = fields.String(required=True)
    times = fields.Integer(strict=True, load_default=1)
    friends = fields.List(fields.Nested(lambda: Greeting(only=("name",))))


def greet(payload: dict[str, Any], context: workerpool.Context) -> str:
    return f"{payload['name']} {context.attempt}"


def a_registry() -> Registry:
    return Registry(
        [Kind("greet", Greeting, greet), Kind("external", None, None), Kind("b", Greeting, greet, max_attempts=9)]
    )


def run_python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, since what is declared stays declared."""
    return subprocess.run(
        [sys.executable, *arguments],
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
    assert run_python("-c", code, folder=ROOT).stdout.strip() == "[]"


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


def _raises(error: Exception) -> type[Schema]:
    def fail(_value: Any) -> None:
        raise error

    return Schema.from_dict({"n": fields.Raw(validate=fail)})


@pytest.mark.parametrize("error", [ZeroDivisionError("it holds a secret"), RecursionError("it holds a secret")])
def test_a_schema_whose_code_fails_refuses_the_payload_by_the_errors_type_alone(error: Exception) -> None:
    registry = Registry([Kind("buggy", _raises(error), greet)])
    with pytest.raises(PayloadInvalid) as caught:
        registry.check("buggy", {"n": 5})
    said = f"could not be checked: the schema of this kind raised {type(error).__name__}"
    assert caught.value.messages == {"payload": [said]}
    assert str(caught.value) == f"payload validation failed for buggy: payload: {said}"


def test_a_refusal_of_an_authors_own_shape_is_told_as_text() -> None:
    registry = Registry([Kind("odd", _raises(ValidationError([1, {"a": 2.5}])), greet)])  # type: ignore[list-item]
    with pytest.raises(PayloadInvalid) as caught:
        registry.check("odd", {"n": 5})
    assert caught.value.messages == {"payload.n.0": ["1"], "payload.n.1.a": ["2.5"]}


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
    ended = run_python("-c", "from workerpool.kinds.registry import load; load(['acme_jobs'])", folder=tmp_path)
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 1
    assert last.startswith("workerpool.kinds.registry.KindError: acme_jobs")
    assert said in last


def test_a_program_that_is_named_as_a_module_of_kinds_too_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from marshmallow import Schema\nfrom workerpool import kind\n"
        "@kind('unit.program', payload=Schema)\ndef handle(p, c): ...\n"
        "if __name__ == '__main__':\n"
        "    from workerpool.kinds.registry import load\n    load(['program'])\n"
    )
    ended = run_python("program.py", folder=tmp_path)
    last = ended.stderr.strip().splitlines()[-1]
    assert "declared twice: in __main__.handle (line 3) and in program.handle (line 3), which is one place" in last
    assert last.endswith("do not name a program that calls workerpool.run() in KIND_MODULES")


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
    assert run_python("-c", code, folder=tmp_path).stdout.split() == ["True", "2"]


def test_what_authors_need_is_exported_and_nothing_else_is_found() -> None:
    words = {"Backoff", "Context", "Dead", "EnqueueRefused", "Retry", "SettingsError", "kind", "run"}
    assert set(workerpool.__all__) == words
    with pytest.raises(AttributeError, match="nothing"):
        workerpool.nothing  # noqa: B018
