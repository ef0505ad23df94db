"""Finds what plugs itself in: modules in a folder, so that nobody edits a list."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType


def names_in(package: ModuleType) -> list[str]:
    """Names of the modules directly in a package, without importing them; private ones are left out."""
    found = pkgutil.iter_modules(package.__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def modules_in(package: ModuleType) -> Iterator[ModuleType]:
    """The modules directly in a package, imported, in order of their names."""
    for name in names_in(package):
        yield import_module(f"{package.__name__}.{name}")
