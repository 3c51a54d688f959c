"""README's table of settings, deploy/env.example and the code that reads the environment say the same."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
from support.documents import ROOT, Document, table_rows

from app.cli import cli
from app.commands.remote.cli import RemoteSettings
from app.settings import AppSettings
from workerpool.kinds.environment import Environment
from workerpool.kinds.settings import KindSettings
from workerpool.settings import PoolSettings

_URL = {"DATABASE_URL": "postgresql://windlass@127.0.0.1:5432/windlass"}
# Between `windlass up` and what it starts.
_INTERNAL = {"WINDLASS_UP"}
# Told in words, because they depend on the machine.
_IN_WORDS = {"WORKER_PROCESSES": "cores"}
# POLL_INTERVAL_MS is the pool's too, whose default the table has.
_OF_REMOTE = {"QUEUE_NAME", "CONCURRENCY", "LEASE_MS"}
_EXAMPLE = re.compile(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$")


@pytest.fixture
def variables_of_the_code(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every variable that web, pool, kinds or command ask for."""
    asked: set[str] = set()
    read = Environment.read

    def noting(environment: Environment, name: str, *rest: Any) -> Any:
        asked.add(name)
        return read(environment, name, *rest)

    monkeypatch.setattr(Environment, "read", noting)
    for settings in (AppSettings, PoolSettings, KindSettings, RemoteSettings):
        settings.from_env(_URL)
    return asked | set(_options()) | set(_read_elsewhere())


def _options() -> dict[str, Any]:
    """The variables of the command's options, those of subcommands too, and their defaults."""
    found: dict[str, Any] = {}
    commands: list[click.Command] = [cli]
    while commands:
        command = commands.pop()
        found |= {str(option.envvar): option.default for option in command.params if getattr(option, "envvar", None)}
        commands += command.commands.values() if isinstance(command, click.Group) else ()
    return found


def _read_elsewhere() -> Iterator[str]:
    for room in ("app", "sql", "workerpool"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            yield from re.findall(r"environ(?:\.get\(|\[)\"(WINDLASS_\w+|\w+_DIR)\"", text)


def _defaults_of_the_code() -> dict[str, str]:
    web = AppSettings.from_env(_URL)
    found = {name.upper(): value for name, value in dataclasses.asdict(web).items()}
    found["API_BIND_ADDR"] = found.pop("BIND")
    pool = PoolSettings.from_env(_URL)
    found |= {field.name.upper(): getattr(pool, field.name) for field in dataclasses.fields(pool)}
    kinds = KindSettings.from_env({})
    found |= {
        "IMAGE_MAX_PIXELS": kinds.image_max_pixels,
        "WEBHOOK_ALLOW_PORTS": sorted(kinds.webhook_allow_ports),
    }
    found |= {name: default for name, default in _options().items() if name in _OF_REMOTE}
    return {name: _shown(value) for name, value in found.items() if name not in _URL}


def _shown(value: Any) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return str(int(value))
        case (str(host), int(port)):
            return f"{host}:{port}"
        case list() | tuple():
            return ",".join(map(str, value))
        case float():
            return f"{value:g}"
    return str(value)


def _readme() -> dict[str, str]:
    rows = table_rows(Document("README.md").section("Settings"))
    return {name.strip("`"): default.strip("`") for name, default, _ in rows}


def _examples() -> dict[str, tuple[bool, str]]:
    """name → whether it is set there, and the value."""
    lines = (ROOT / "deploy/env.example").read_text(encoding="utf-8").splitlines()
    found = [match for match in map(_EXAMPLE.match, lines) if match]
    return {match[2]: (match[1] == "", match[3]) for match in found}


def test_the_readme_names_every_variable_and_no_other(variables_of_the_code: set[str]) -> None:
    assert set(_readme()) == variables_of_the_code - _INTERNAL


def test_the_example_names_every_variable_and_those_of_compose() -> None:
    compose = (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
    of_compose = set(re.findall(r"\$\{(\w+)", compose))
    assert set(_examples()) == set(_readme()) | of_compose


def test_the_readme_tells_the_defaults_of_the_code() -> None:
    told = _readme()
    defaults = {name: value for name, value in _defaults_of_the_code().items() if name in told}
    assert {"API_BIND_ADDR", "LEASE_SECONDS", "WEBHOOK_ALLOW_PORTS"} <= set(defaults)
    assert {name: told[name] for name in defaults} == defaults | _IN_WORDS


def test_the_example_shows_the_defaults_of_the_code() -> None:
    defaults = {name: value for name, value in _defaults_of_the_code().items() if value and name not in _IN_WORDS}
    shown = {name: value for name, (_, value) in _examples().items() if name in defaults}
    assert shown == defaults


def test_each_variable_of_the_example_has_a_line_that_says_what_it_does() -> None:
    lines = (ROOT / "deploy/env.example").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        if _EXAMPLE.match(line):
            assert re.match(r"# \w.{8,}", before), line


def test_the_example_sets_no_secret() -> None:
    assert {value for is_set, value in _examples().values() if is_set} == {""}


def test_the_procfile_starts_each_role_by_its_command() -> None:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == ["release: windlass migrate", "web: windlass web", "worker: windlass worker"]
