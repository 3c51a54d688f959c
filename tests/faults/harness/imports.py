"""Code that is to run in a process of the service as soon as it has imported a module."""

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from support.processes import ROOT


def python_path(*, planted: bool) -> str:
    """PYTHONPATH of a process that imports what tests have; if `planted`, it begins with `planted/sitecustomize.py`."""
    return os.pathsep.join(map(str, (ROOT, ROOT / "tests", *([Path(__file__).parent / "planted"] * planted))))


def after_import(module: str, then: Callable[[], None]) -> None:
    """Calls `then` when `module` has been imported: not before, since what a module imports may be read from the
    environment that the program has yet to set.
    """
    if module in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _AfterImport(module, then))


class _AfterImport(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, then: Callable[[], None]) -> None:
        self._module, self._then = module, then

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            # The patches import it by its name.
            sys.modules[name] = module
            self._then()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
