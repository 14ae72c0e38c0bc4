"""Resolves TOML configs: inheritance, dotted overrides, and all errors reported at once."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError, create_model

from rlkit import plugins
from rlkit.config.explain import explanations
from rlkit.config.keys import upgraded
from rlkit.config.model import Model, merged, over_defaults, without_false
from rlkit.config.tables import SAVED, Config, EvaluationConfig, TrainConfig
from rlkit.errors import ConfigError

SAVED_LABEL = re.compile(rf"{SAVED}([\w.+=,/ -]{{1,200}})\n")  # the first line of a config that a run wrote
LARGEST = 2**20  # bytes of a config file
DEEPEST = 50  # levels of its tables and lists, and of `base`
NAMES = ("env.name", "agent.name")  # on which the other keys of these tables depend
BONUS = re.compile(r"agent\.(\w+\.)?bonus\.type")  # also of a level of h-DQN


def packaged() -> dict[str, Traversable]:
    """Name → file of every packaged config, e.g. "quickstart" or "minatar/breakout"."""
    found: dict[str, Traversable] = {}

    def collect(folder: Traversable, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda item: item.name):
            if entry.is_dir() and not entry.name.startswith("_"):
                collect(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".toml"):
                found.setdefault(prefix + entry.name.removesuffix(".toml"), entry)

    for point in plugins.installed(plugins.CONFIGS).values():
        beside = Path(__file__).parents[2] / point.value  # a folder `configs` on the search path may hide ours
        collect(beside if point.name == "rlkit" and beside.is_dir() else resources.files(point.value), "")
    return found


def read(source: str | Path, users: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """(label, raw tables) of a TOML file or of a packaged config's name, including those of its `base`.

    users: the configs that inherit from it. A file that a run wrote may have keys of an earlier version. Raises
    ConfigError.
    """
    if "\0" in str(source):
        raise ConfigError(f"{str(source)!r} is not the name of a config")
    path = Path(source)
    known = packaged()
    if path.is_file():
        text = _text(path)
        saved = SAVED_LABEL.match(text)
        label = saved[1] if saved else path.stem
    elif str(source) in known:
        label, text = str(source), known[str(source)].read_text(encoding="utf-8")
    else:
        hint = plugins.nearest(str(source), list(known))
        asked = f"{users[-1]}: base: " if users else ""
        every = ", ".join(known)
        raise ConfigError(f"{asked}no config {str(source)!r}{hint}: neither a file nor a packaged config ({every})")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: numbers of 5,000 digits, 1,000 brackets
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    refuse_deep(tables, str(source))
    if text.startswith(SAVED):
        tables, _ = upgraded(tables)
    base = tables.pop("base", None)
    return label, tables if base is None else _on_top_of(base, tables, (*users, str(source)))


def _text(path: Path) -> str:
    """The text of a config file. Raises ConfigError if it is none, or much too long."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ConfigError(f"{path}: has {size:,} bytes; expected a config of at most {LARGEST:,}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8: {error}") from error


def refuse_deep(tables: Mapping[str, Any], label: str) -> None:
    """Raises ConfigError for tables nested so deeply that walking them would exceed Python's limit."""
    level: list[Any] = [tables]
    for _ in range(DEEPEST):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ConfigError(f"{label}: nested more than {DEEPEST} levels deep")


def _on_top_of(base: Any, tables: Mapping[str, Any], users: tuple[str, ...]) -> dict[str, Any]:
    """The tables of `base`, overridden by the keys of `tables`; see `merged`."""
    if not isinstance(base, str) or "\0" in base:
        raise ConfigError(f"{users[-1]}: base: expected the name of a packaged config or of a file, got {base!r}")
    source = _base_file(base, Path(users[-1])) or base
    if len(users) > DEEPEST:
        raise ConfigError(f"{users[0]}: base: more than {DEEPEST} configs inherit from one another")
    if source in users:
        raise ConfigError(f"{users[-1]}: base: {base!r} inherits from this config itself")
    return merged(read(source, users)[1], tables)


def _base_file(base: str, user: Path) -> str | None:
    """The file that `base` names beside the config `user`, with or without .toml; None for a packaged config."""
    if not user.is_file():
        return None
    names = [base] if base in packaged() else [base, f"{base}.toml"]
    return next((str(path.resolve()) for name in names if (path := user.parent / name).is_file()), None)


# Words of other languages that would be non-empty strings, and so true
NOT_TOML = {"True": "true", "False": "false", "None": "false, or leave the key out", "yes": "true", "no": "false",
            "on": "true", "off": "false", "null": "false, or leave the key out"}  # fmt: skip
WORD = re.compile(r"[\w./~][\w./~:+-]*")


def parse_override(text: str) -> tuple[str, Any]:
    """ "agent.learning_rate=1e-4" → ("agent.learning_rate", 0.0001).

    The value is TOML; a single word (breakout, cuda:1, runs/x) may lack its quotes. Raises ConfigError for other text.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not all(part for part in key.split(".")):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, for example agent.learning_rate=1e-4")
    with suppress(ValueError, RecursionError):  # TOMLDecodeError is a ValueError
        return key, tomllib.loads(f"value = {value}")["value"]
    meant = next((meant for word, meant in NOT_TOML.items() if word.lower() == value.lower()), None)
    wrong = f"--set {key}: {value[:60]!r} is not a value of TOML"
    if meant is not None:
        raise ConfigError(f"{wrong}; write {meant}")
    if not WORD.fullmatch(value) or _is_number(value):
        shown = f"numbers are 0.5 or 1e-4, lists [1, 2], texts have quotes: '{key}=\"text\"'"
        raise ConfigError(f"{wrong}; {shown}")
    return key, value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    """A value that JSON lacks as one that it has, for json.dumps. Raises ConfigError for what TOML cannot express."""
    if isinstance(value, datetime.date | datetime.time | Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    what = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise ConfigError(
        f"a config holds numbers, texts, lists and tables only, as TOML does; got a {what}: {value!r:.60}"
    )


def override(tables: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tables` with dotted keys set; another agent, environment or type of bonus starts its table anew."""
    changed: dict[str, Any] = json.loads(json.dumps(tables, default=_plain))
    for dotted, kind in values.items():
        if dotted in NAMES or BONUS.fullmatch(dotted):
            *parents, key = dotted.split(".")
            given = _inner(changed, parents)
            if given.get(key, "count" if key == "type" else None) != kind:
                given.clear()
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        table = changed
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {dotted}: {parent!r} is a value, not a table")
        table[last] = value
    return changed


def _inner(tables: Mapping[str, Any], parents: Sequence[str]) -> dict[str, Any]:
    """The table at `parents`, or an empty one if there is none."""
    table: Any = tables
    for parent in parents:
        table = table.get(parent) if isinstance(table, Mapping) else None
    return table if isinstance(table, dict) else {}


def resolve(label: str, tables: Mapping[str, Any]) -> Config:
    """Checks all tables at once. Raises ConfigError with a line per wrong key, which says what is allowed."""
    refuse_deep(tables, label)
    tables, problems = upgraded(tables)
    fields: dict[str, Any] = {
        "train": (TrainConfig, ...),
        "evaluation": (EvaluationConfig, EvaluationConfig()),
    }
    for table, group in (("env", plugins.ENVS), ("agent", plugins.AGENTS)):
        try:
            name = tables[table]["name"]
            fields[table] = (plugins.load(group, str(name)).config, ...)
        except (KeyError, TypeError):
            problems.append(
                f"{table}.name: missing; give [{table}] name = one of {', '.join(plugins.installed(group))}"
            )
        except ConfigError as error:
            problems.append(f"{table}.name: {error}")
        fields.setdefault(table, (dict[str, Any], {}))
    whole: type[BaseModel] = create_model("Config", __base__=Model, **fields)
    try:
        # JSON mode, since strict checking of Python values would refuse a list for a tuple
        complete = over_defaults(without_false(tables, [whole]), [whole])
        parsed = whole.model_validate_json(json.dumps(complete, default=_plain))
    except ValidationError as error:
        problems += explanations(error, whole)
    if problems:
        raise ConfigError(
            f"{label}: " + ("" if len(problems) == 1 else f"{len(problems)} problems:\n  ") + "\n  ".join(problems)
        )
    config = Config(label, **{name: getattr(parsed, name) for name in ("env", "agent", "train", "evaluation")})
    _ = config.evaluation_env  # raises if its keys are wrong
    return config


def load(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads, overrides and resolves a config file or a packaged config. Raises ConfigError."""
    label, tables = read(source)
    return resolve(label, override(tables, overrides or {}))
