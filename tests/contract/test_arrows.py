"""The rooms and the doors between them, as read from the import statements."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "sql", "workerpool")
FILES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
# The half that forks and watches; it knows no job and no database.
PROCESS_HALF = {
    f"workerpool.{name}"
    for name in ("supervisor", "crew", "ladder", "child", "signals", "respawn", "board", "cell", "errors")
}
# What `import workerpool` itself loads: the words authors of kinds use.
FOR_AUTHORS = {f"workerpool.{name}" for name in ("context", "outcomes", "retry")} | {"workerpool"}
LINES = 300
SQL = re.compile(
    r"\bselect\b.*\bfrom\b|\binsert\s+into\b|\bdelete\s+from\b|\bupdate\s+\S+\s+set\b|\bon\s+conflict\b"
    r"|\b(create|alter|drop|truncate)\s+(table|index|schema|view|function|database|sequence)\b"
    r"|^\s*select\s+\S|^\s*(un)?listen\s+\w+\s*;?\s*$|^\s*notify\s+\w+\s*[,;]|^\s*set\s+(local\s+)?\w+\s*(=|to\b)",
    re.IGNORECASE | re.DOTALL,
)


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Every module `path` names in an import, wherever in the file it stands."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


MODULES = {module_of(path) for path in FILES}
IMPORTS = {module_of(path): set(imports_of(path)) for path in FILES}


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offenders(importers: str, *forbidden: str, but: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """(importer, imported) pairs that go from `importers` to `forbidden`, save those to `but`."""
    return {
        (module, imported)
        for module, names in IMPORTS.items()
        for imported in names
        if within(module, importers) and within(imported, *forbidden) and not within(imported, *but)
    }


def reached_from(module: str) -> set[str]:
    """Our modules that are loaded when `module` is."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        found |= waiting
        waiting = {name for one in waiting for name in IMPORTS[one] & MODULES} - found
    return found


def test_there_is_something_to_look_at() -> None:
    assert {"app.routes.jobs", "sql.leases", "workerpool.supervisor"} <= MODULES


def test_sql_imports_the_standard_library_and_psycopg2_only() -> None:
    allowed = {*sys.stdlib_module_names, "psycopg2", "sql"}
    named = {(module, name) for module, names in IMPORTS.items() if within(module, "sql") for name in names}
    assert {pair for pair in named if pair[1].split(".")[0] not in allowed} == set()


def test_the_pool_never_imports_the_web() -> None:
    assert offenders("workerpool", "app") == set()


def test_the_web_imports_of_the_pool_only_its_kinds_and_how_metric_files_are_read() -> None:
    assert offenders("app", "workerpool", but=("workerpool.kinds", "workerpool.metric_files")) == set()
    assert IMPORTS["workerpool.metric_files"] & MODULES == set()


def test_leases_are_touched_by_one_service_of_the_web_only() -> None:
    assert {pair for pair in offenders("app", "sql.leases") if pair[0] != "app.services.leases"} == set()


def test_kinds_know_neither_database_nor_processes() -> None:
    assert offenders("workerpool.kinds", "sql") == set()
    assert {
        module for module in MODULES if within(module, "workerpool.kinds") and reached_from(module) & PROCESS_HALF
    } == set()


def test_the_process_half_opens_no_connection() -> None:
    assert PROCESS_HALF <= MODULES
    for module in PROCESS_HALF:
        assert {name for name in reached_from(module) if within(name, "sql")} == set()
        assert not {name for name in IMPORTS[module] if within(name, "psycopg2")}


def test_services_know_no_flask() -> None:
    assert offenders("app.services", "flask", "flask_smorest", "werkzeug") == set()


def test_the_command_line_loads_neither_pool_nor_routes() -> None:
    loaded = loaded_with("app.cli")
    assert "app.commands.up" in loaded
    assert {name for name in loaded if within(name, "app.routes", "flask")} == set()
    pool = {name for name in loaded if within(name, "workerpool") and not within(name, "workerpool.kinds")}
    assert pool <= FOR_AUTHORS


def test_authors_of_kinds_load_nothing_heavy() -> None:
    heavy = ("sql", "psycopg2", "prometheus_client", "PIL", "flask", "gunicorn")
    assert {name for name in loaded_with("workerpool") if within(name, *heavy)} == set()


def loaded_with(module: str) -> set[str]:
    """What a fresh interpreter has loaded after it imported `module`."""
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_holds_one_subject(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LINES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_sql_text_stands_in_sql_files_only(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    }
    assert {text for text in strings if SQL.search(text)} == set()
