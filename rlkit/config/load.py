"""Configuration: TOML into frozen, strictly checked models, with dotted overrides and every mistake named at once."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self, get_args

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

from rlkit import plugins
from rlkit.errors import ConfigError


class Model(BaseModel):
    """A frozen table of a config; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, strict=True)


def _switched(value: Any) -> Any:
    return ({} if value else None) if isinstance(value, bool) else value


SWITCH = BeforeValidator(_switched)
"""For `Annotated[Table | None, SWITCH]`: true is the table with its defaults and false none, so --set can switch it."""


class PluginConfig(Model):
    """The base of every plug-in's table: which plug-in, by entry-point name or "package.module:attr"."""

    name: str = Field(description='Name of the plug-in, or "package.module:attr".')


class VisitsConfig(Model):
    """The table `visits`: two numbers of a signal, and the rectangle in which they are counted."""

    signal: str = Field(default="state", description="The environment's signal that holds the position.")
    columns: tuple[int, int] = Field(
        default=(0, 1), description="Places in the signal of the numbers drawn rightwards and downwards."
    )
    low: tuple[float, float] = Field(description="Least values, rightwards and downwards; beyond counts as the edge.")
    high: tuple[float, float] = Field(description="Greatest values. For whole numbers 0 to n - 1: low 0, high n.")
    cells: tuple[int, int] = Field(description="Into how many cells to cut, rightwards and downwards.")

    @model_validator(mode="after")
    def _is_a_rectangle(self) -> Self:
        if min(self.cells) < 1 or not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"visits need low < high and at least one cell, got {self.low}, {self.high}, {self.cells}")
        return self


class TrainConfig(Model):
    """How long to train, on what, and what to write down."""

    steps: int = Field(gt=0, description="Environment steps in total, over all environments.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="The root of all randomness of the run.")
    num_envs: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Environments stepped together. Updates per step stay the same; more environments make data older.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description='"auto" takes cuda, then mps, then cpu; or "cpu", "cuda", "cuda:1", "mps".',
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="torch's CPU threads. 1 is fastest for small networks; bit-exact repetition needs the same number.",
    )
    log_every: int = Field(default=1000, ge=1, description="Environment steps between two rows of metrics.")
    checkpoint_every: int = Field(
        default=10_000, ge=0, description="Environment steps between checkpoints; 0: only at the end and when stopped."
    )
    keep_checkpoints: int = Field(default=2, ge=1, description="How many of the newest checkpoints stay on disk.")
    reseed_after: int = Field(
        default=10_000,
        ge=1,
        description="Steps of one environment after which its next episode begins from a new seed. Resuming plays back "
        "at most this many steps and one episode: small values resume fast, large ones re-seed rarely.",
    )
    sinks: tuple[str, ...] = Field(
        default=("tensorboard", "jsonl", "images"), description='Where metrics go: names or "package.module:attr".'
    )
    visits: VisitsConfig | None = Field(
        default=None, description="A picture of where training has been, made with each evaluation; left out: none."
    )


class StopConfig(Model):
    """The table `stop`: ends training before `train.steps` once the task is solved."""

    key: Literal["return_mean", "return_median", "return_iqm", "return_min", "success_rate"] = Field(
        default="return_mean",
        description='What to look at in each evaluation; success_rate needs an environment with the signal "success".',
    )
    at_least: float = Field(description="The value at which it counts as solved.")
    times: int = Field(default=1, ge=1, description="Evaluations running that must reach it.")

    def solved(self, curve: Sequence[Mapping[str, float]]) -> bool:
        """Whether the newest evaluations in `curve` all reach it."""
        newest = curve[-self.times :]
        return len(newest) == self.times and all(row[self.key] >= self.at_least for row in newest)


class EvaluationConfig(Model):
    """How a policy is scored: episodes of its own environments, from fixed seeds, without exploration bonus."""

    every: int = Field(default=0, ge=0, description="Environment steps between evaluations; 0: only at the end.")
    episodes: int = Field(default=20, ge=1, description="Episodes of an evaluation while training.")
    final_episodes: int = Field(default=100, ge=1, description="Episodes of the evaluation at the end of training.")
    num_envs: int = Field(default=1, ge=1, le=4096, description="Environments evaluated together.")
    epsilon: float = Field(default=0.0, ge=0, le=1, description="Share of uniformly random actions; 0 is greedy.")
    stop: StopConfig | None = Field(default=None, description="When to end training early; left out: never.")

    @model_validator(mode="after")
    def _looks(self) -> Self:
        if self.stop is not None and not self.every:
            raise ValueError("evaluation.stop needs evaluation.every > 0: it is asked at each evaluation")
        return self


@dataclass(frozen=True, slots=True)
class Config:
    """A resolved configuration: every value is set, and every plug-in exists."""

    label: str  # the experiment's name: the file's name without ending, "/" kept for packaged ones
    env: PluginConfig
    agent: PluginConfig
    train: TrainConfig
    evaluation: EvaluationConfig

    def tables(self) -> dict[str, Any]:
        """Everything but the label, as plain data that TOML can hold."""
        names = ("env", "agent", "train", "evaluation")
        return {name: getattr(self, name).model_dump(mode="json", exclude_none=True) for name in names}

    def to_toml(self) -> str:
        return f"# experiment: {self.label}\n\n" + tomli_w.dumps(self.tables())

    def digest(self) -> str:
        """12 hex digits that differ where two experiments differ; seed, device, threads and sinks do not count."""
        tables = self.tables()
        for key in ("seed", "device", "threads", "sinks", "log_every", "checkpoint_every", "keep_checkpoints"):
            tables["train"].pop(key)
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:12]


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
        collect(resources.files(point.value), "")
    return found


def read(source: str | Path, users: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """(label, raw tables) of a TOML file or a packaged config's name, on top of those of its `base`.

    users: the configs whose base it is. Raises ConfigError.
    """
    path = Path(source)
    known = packaged()
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not a text file in UTF-8: {error}") from error
        first = text.partition("\n")[0]
        label = first.removeprefix("# experiment: ") if first.startswith("# experiment: ") else path.stem
    elif str(source) in known:
        label, text = str(source), known[str(source)].read_text(encoding="utf-8")
    else:
        hint = plugins.nearest(str(source), list(known))
        asked = f"{users[-1]}: base: " if users else ""
        every = ", ".join(known)
        raise ConfigError(f"{asked}no config {str(source)!r}{hint}: neither a file nor a packaged one ({every})")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    base = tables.pop("base", None)
    return label, tables if base is None else _on_top_of(base, tables, (*users, str(source)))


def _on_top_of(base: Any, tables: Mapping[str, Any], users: tuple[str, ...]) -> dict[str, Any]:
    """The tables of `base` where keys that are given replace its values, a table within a table as a whole."""
    if not isinstance(base, str):
        raise ConfigError(f"{users[-1]}: base: expected a packaged config's name or a file's, got {base!r}")
    beside = (Path(users[-1]).parent / base).resolve()
    source = str(beside) if Path(users[-1]).is_file() and beside.is_file() else base
    if source in users:
        raise ConfigError(f"{users[-1]}: base: {base!r} is made from this config itself")
    under = read(source, users)[1]
    alike = {name for name in under if isinstance(under[name], dict) and isinstance(tables.get(name), dict)}
    return {**under, **tables, **{name: {**under[name], **tables[name]} for name in alike}}


def parse_override(text: str) -> tuple[str, Any]:
    """ "agent.learning_rate=1e-4" → ("agent.learning_rate", 0.0001); what is no TOML value is taken as a string."""
    key, equals, value = text.partition("=")
    if not equals or not all(part for part in key.strip().split(".")):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, for example agent.learning_rate=1e-4")
    try:
        return key.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


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
    """Checks everything at once. Raises ConfigError that names each wrong key and what is allowed."""
    problems: list[str] = []
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
        problems += [explain(dict(detail), whole) for detail in error.errors(include_url=False)]
    if problems:
        raise ConfigError(
            f"{label}: " + ("" if len(problems) == 1 else f"{len(problems)} problems:\n  ") + "\n  ".join(problems)
        )
    return Config(label, **{name: getattr(parsed, name) for name in ("env", "agent", "train", "evaluation")})


def explain(detail: Mapping[str, Any], root: type[BaseModel]) -> str:
    """One line for one of pydantic's errors: the dotted key, what is wrong, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        allowed = _fields_at(root, location[:-1])
        return f"{key}: unknown key{plugins.nearest(location[-1], allowed)}; allowed: {', '.join(allowed)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    got = "" if detail["type"] == "missing" else f", got {json.dumps(detail['input'], default=str)[:80]}"
    return f"{key}: {message}{got}" if key else f"{message}{got}"


def _fields_at(root: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The field names of the model that lies at `location` below `root`."""
    models = [root]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:  # parts that are no field are pydantic's union tags and list positions
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
