"""Plug-ins by name: entry points, looked up lazily, or "package.module:attr"."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rlkit.errors import ConfigError

AGENTS = "rlkit.agents"
ENVS = "rlkit.envs"
GOALS = "rlkit.goals"
BONUSES = "rlkit.bonuses"
SINKS = "rlkit.sinks"
CONFIGS = "rlkit.configs"
NEEDED = {
    AGENTS: ("config", "agent", "policy", "describe"),
    ENVS: ("config", "make", "protocol"),
    SINKS: (),
    GOALS: (),
    BONUSES: (),
}

AGENT = ("initial_state", "act", "load_policy_state", "updates", "observe", "learn", "gauges", "state_dict",
         "load_state_dict")  # what rlkit.Agent has  # fmt: skip


def installed(group: str) -> dict[str, EntryPoint]:
    """Name → entry point of a group, sorted by name. Imports nothing."""
    return dict(_installed(group, tuple(sys.path)))


@functools.cache  # reading all distributions takes 20 ms; they change with the path
def _installed(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def packages() -> frozenset[str]:
    """The names of the outermost packages of rlkit and of all installed plug-ins. Imports nothing."""
    points = (point for group in (*NEEDED, CONFIGS) for point in installed(group).values())
    return frozenset({"rlkit", *(point.value.partition(":")[0].partition(".")[0] for point in points)})


def add_working_folder() -> None:
    """Lets "my_agent:plugin" find my_agent.py in the working folder, after all installed packages.

    A folder or file there that has the name of a plug-in's package must not hide it. Packages that are installed in
    editable mode come after the search path, so they are imported first.
    """
    for name in packages():
        if any(os.path.lexists(name + suffix) for suffix in ("", ".py")) and PathFinder.find_spec(name) is None:
            spec = importlib.util.find_spec(name)
            if spec is not None and os.path.realpath(os.path.dirname(spec.origin or "")) != os.path.realpath(name):
                importlib.import_module(name)
    if "" not in sys.path:
        sys.path.append("")


def nearest(word: str, known: list[str]) -> str:
    """ " (did you mean ...?)" if a known word is close, else ""."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def is_reference(path: str) -> bool:
    """Whether a text may name a module, or an object in one: "package.module" or "package.module:attr"."""
    module, colon, attribute = path.partition(":")
    parts = [*module.split("."), *(attribute.split(".") if colon else ())]
    return all(part.isidentifier() for part in parts)


def import_object(path: str) -> Any:
    """The object that "package.module:attr" names, or the module "package.module". Raises ConfigError if there is none.

    Other texts are refused, even where Python would find a file: `rlkit.runs.trust` reads the names by the same rule.
    """
    if not is_reference(path):
        raise ConfigError(f'{path!r} names no object: expected "package.module:attr"')
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split(".") if attribute else []:
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        missing = f"{path!r}: there is no module {error.name!r}"
        raise ConfigError(f"{missing}; run in the folder that has it, set PYTHONPATH, or install it") from error
    except AttributeError as error:
        raise ConfigError(f"{path!r}: module {module_name!r} has no {attribute!r}") from error
    except Exception as error:  # a user's module may raise anything when it is imported
        raised = f"{type(error).__name__}: {error}{raised_in(error)}"
        raise ConfigError(f"{path!r}: importing it failed: {raised}") from error
    return found


def raised_in(error: BaseException) -> str:
    """ " (in act, my_agent.py, line 12)": where in somebody's own code an error was raised; "" if nowhere."""
    others = (os.path.dirname(__file__) + os.sep, sysconfig.get_path("stdlib") + os.sep, "<")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(others) and "site-packages" not in frame.filename:
            return f" (in {frame.name}, {os.path.basename(frame.filename)}, line {frame.lineno})"
    return ""


def load(group: str, name: str) -> Any:
    """The plug-in `name` of `group`. Raises ConfigError with the known names if there is none."""
    if ":" in name:
        return _checked(group, name, import_object(name))
    known = installed(group)
    if name not in known:
        kind = group.partition(".")[2]
        raise ConfigError(
            f"no plug-in {name!r} among the {kind}{nearest(name, list(known))}; installed: {', '.join(known)}; "
            'or give "package.module:attr"'
        )
    try:
        return _checked(group, name, known[name].load())
    except ImportError as error:
        where = _where(known[name].value.partition(":")[0].partition(".")[0])
        raise ConfigError(f"plug-in {name!r} ({known[name].value}) cannot be imported: {error}{where}") from error


def _where(package: str) -> str:
    """Where a package was imported from: another one of its name may hide it."""
    module = sys.modules.get(package)
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
    return f"; {package} is {place}" if (place := next(filter(None, places), None)) else ""


def _checked(group: str, name: str, plugin: Any) -> Any:
    """`plugin`, if it has the attributes of its group; else raises ConfigError."""
    missing = [attribute for attribute in NEEDED[group] if not callable(getattr(plugin, attribute, None))]
    if missing:
        raise ConfigError(f"{name!r} is not a plug-in for {group}: it has no {', '.join(missing)}")
    if isinstance(plugin, type) and NEEDED[group]:
        raise ConfigError(f"{name!r} is a class; name an instance of it, as in plugin = {plugin.__name__}()")
    return plugin


def check_agent_parts(agent: object, name: str) -> None:
    """Raises ConfigError if an agent lacks an attribute of `rlkit.Agent`."""
    if missing := [attribute for attribute in AGENT if not hasattr(agent, attribute)]:
        raise ConfigError(f'agent "{name}": {type(agent).__name__} lacks {", ".join(missing)} (see rlkit.Agent)')
