"""Resolves TOML configs: inheritance, dotted overrides, and all errors reported at once."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError, create_model

from rlkit import plugins
from rlkit.config.keys import upgraded
from rlkit.config.model import Model, NestedError
from rlkit.config.tables import SAVED, Config, EvaluationConfig, TrainConfig
from rlkit.errors import ConfigError

SAVED_LABEL = re.compile(rf"{SAVED}([\w.+=,/ -]{{1,200}})\n")  # the first line of a config that a run wrote
LARGEST = 2**20  # bytes of a config file
DEEPEST = 50  # levels of its tables and lists


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
    """The tables of `base`, overridden by the keys of `tables`; nested tables are replaced as a whole."""
    if not isinstance(base, str) or "\0" in base:
        raise ConfigError(f"{users[-1]}: base: expected the name of a packaged config or of a file, got {base!r}")
    beside = (Path(users[-1]).parent / base).resolve()
    source = str(beside) if Path(users[-1]).is_file() and beside.is_file() else base
    if source in users:
        raise ConfigError(f"{users[-1]}: base: {base!r} inherits from this config itself")
    under = read(source, users)[1]
    alike = {name for name in under if isinstance(under[name], dict) and isinstance(tables.get(name), dict)}
    return {**under, **tables, **{name: {**under[name], **tables[name]} for name in alike}}


def parse_override(text: str) -> tuple[str, Any]:
    """ "agent.learning_rate=1e-4" → ("agent.learning_rate", 0.0001); any other text than a TOML value is a string."""
    key, equals, value = text.partition("=")
    if not equals or not all(part for part in key.strip().split(".")):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, for example agent.learning_rate=1e-4")
    try:
        return key.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--set {key.strip()}: not a value: {error}") from error


def override(tables: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tables` with dotted keys set."""
    changed: dict[str, Any] = json.loads(json.dumps(tables, default=str))
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        table = changed
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {dotted}: {parent!r} is a value, not a table")
        table[last] = value
    return changed


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
        parsed = whole.model_validate_json(json.dumps(tables, default=str))
    except ValidationError as error:
        problems += explanations(error, whole)
    if problems:
        raise ConfigError(
            f"{label}: " + ("" if len(problems) == 1 else f"{len(problems)} problems:\n  ") + "\n  ".join(problems)
        )
    return Config(label, **{name: getattr(parsed, name) for name in ("env", "agent", "train", "evaluation")})


def explanations(error: ValidationError, root: type[BaseModel], at: tuple[str, ...] = ()) -> list[str]:
    """One line for each of pydantic's errors, including those of nested tables; `at`: the table that `root` is of."""
    lines = []
    for detail in error.errors(include_url=False):
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, NestedError):
            lines += explanations(inner.error, inner.model, (*at, *map(str, detail["loc"])))
        else:
            lines.append(explain(dict(detail), root, at))
    return lines


def explain(detail: Mapping[str, Any], root: type[BaseModel], at: tuple[str, ...] = ()) -> str:
    """One line for one of pydantic's errors: the dotted key, what is wrong, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join([*at, *location])
    if detail["type"] == "extra_forbidden":
        allowed = _fields_at(root, location[:-1])
        return f"{key}: unknown key{plugins.nearest(location[-1], allowed)}; allowed: {', '.join(allowed)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    got = "" if detail["type"] == "missing" else f", got {json.dumps(detail['input'], default=str)[:80]}"
    return f"{key}: {message}{got}" if key else f"{message}{got}"


def _fields_at(root: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The field names of the model at `location` below `root`."""
    models = [root]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:  # other parts are union tags of pydantic and positions in lists
            models = [model for field in fields for model in _models_in(field.annotation)]
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def load(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads, overrides and resolves a config file or a packaged config. Raises ConfigError."""
    label, tables = read(source)
    return resolve(label, override(tables, overrides or {}))
