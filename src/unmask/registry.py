"""Registries without lists: the presence of a file is its registration; and late imports."""

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any


def late(module: str) -> Any:
    """Import a module where it is used: one that takes long to load and is rarely needed."""
    return importlib.import_module(module)


@cache
def discover(package: str, attribute: str) -> dict[str, Any]:
    """Collect `attribute` of every module of a package, by the `name` that each carries.

    Raises RuntimeError when a module lacks it or two carry the same name.
    """
    root: ModuleType = importlib.import_module(package)
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(root.__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        if not hasattr(module, attribute):
            raise RuntimeError(f"{module.__name__} does not define {attribute}")
        entry = getattr(module, attribute)
        if entry.name in found:
            raise RuntimeError(f"{module.__name__}: {attribute} {entry.name!r} exists already")
        found[entry.name] = entry
    return found
