"""Which modules a config names, and which of them run code that the user did not install or write here."""

from __future__ import annotations

import importlib.util
import site
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlkit import plugins

READ = ("name", "type")  # keys whose modules are imported when a config is read; the others when it is used


def named_modules(tables: Mapping[str, Any]) -> list[str]:
    """The modules that are imported where the config is used, sorted. Imports nothing."""
    return sorted({module for _, module in _references(tables)})


def _references(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, module) of each reference."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _references(item, str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item, key)
    elif isinstance(value, str) and (module := _module_in(value, key)):
        yield key, module


def _module_in(value: str, key: str) -> str:
    """The module that a value may name: by rlkit's rule, or, before a colon, any that exists ("my-worlds:World-v0")."""
    module, colon, _ = value.partition(":")
    if key == "register" or (colon and (plugins.is_reference(value) or _place(module) is not None)):
        return module
    return ""


def safe_to_read(tables: Mapping[str, Any], allowed: Collection[str] = ()) -> bool:
    """Whether the config can be resolved without importing a module that it names, apart from `allowed` ones.

    Modules of installed plug-ins do not count: rlkit imports these for their names, too.
    """
    return all(
        module in allowed or _is_of_a_plugin(module) or (key not in READ and _is_installed(module))
        for key, module in _references(tables)
    )


def foreign(tables: Mapping[str, Any], run: Path) -> dict[str, str]:
    """Module → where it is, for those that are neither installed nor in the working folder, or are part of the run."""
    found = {}
    for module in named_modules(tables):
        if _is_of_a_plugin(module) or _is_installed(module):
            continue
        place = _place(module)
        if place is None:
            continue
        root = place.parent if place.name == "__init__.py" else place
        if root.parent != Path.cwd().resolve() or place.is_relative_to(run.resolve()):
            found[module] = str(place)
    return found


def _is_of_a_plugin(module: str) -> bool:
    return module.partition(".")[0] in plugins.packages()


def _is_installed(module: str) -> bool:
    folders = [Path(folder).resolve() for folder in (*site.getsitepackages(), site.getusersitepackages())]
    place = _place(module)
    return place is not None and any(place.is_relative_to(folder) for folder in folders)


def _place(module: str) -> Path | None:
    """The file of a module's outermost package, or None if there is none. Imports nothing."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    place = spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), spec.origin)
    return Path(str(place)).resolve()
