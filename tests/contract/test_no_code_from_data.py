"""Nothing of ours makes code or objects out of data, and what is installed fits together."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(ROOT) for room in ("app", "sql", "workerpool") for path in (ROOT / room).rglob("*.py"))
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "codeop"}
CALLS = {"eval", "exec", "compile", "__import__"}


def makers(source: str) -> Iterator[str]:
    """What in it can turn data into code or objects."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield node.func.id


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_data_becomes_code(path: Path) -> None:
    assert list(makers((ROOT / path).read_text())) == []


@pytest.mark.parametrize(
    "source", ["import pickle", "from yaml import load", "import marshal as m", "eval(x)", "exec(x)"]
)
def test_it_would_be_seen(source: str) -> None:
    assert list(makers(source))


def test_a_module_is_imported_by_name_only_where_settings_name_it() -> None:
    naming = [str(path) for path in FILES if "import_module" in (ROOT / path).read_text()]
    assert naming == ["workerpool/kinds/registry.py"]


def test_what_is_installed_fits_together() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
