"""Sweep files: configs, seeds, and a grid, random draws or a search over dotted keys."""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from rlkit.config.explain import explanations
from rlkit.config.keys import flat
from rlkit.config.model import Model, NestedError
from rlkit.errors import ConfigError


class Range(Model):
    """Numbers between two bounds, log-uniform with `log`; integers if both bounds are integers."""

    low: float | int
    high: float | int
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low} must be below high {self.high}, and above 0 with log")
        return self

    def draw(self, rng: np.random.Generator) -> float | int:
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return round(value)
        return float(f"{value:.4g}")  # four digits: the name of a group must determine the value


def _values(value: Any) -> Any:
    """A table as a range; lists stay."""
    if not isinstance(value, Mapping):
        if isinstance(value, list | Range):
            return value
        raise ValueError("give a table with low and high, or a list of choices")
    try:
        return Range.model_validate_json(json.dumps(dict(value), default=str))
    except ValidationError as error:
        raise NestedError(Range, error) from error


Values: TypeAlias = Annotated[Range | list[Any], BeforeValidator(_values)]


class RandomDraws(Model):
    """Number of draws, their seed, and the range or the choices of each key."""

    draws: int = Field(ge=1, le=10_000)
    seed: int = Field(default=0, ge=0)
    keys: dict[str, Values]


class SearchConfig(Model):
    """The table `search` of `rlkit tune`: the objective, the sampler, and the range or choices of each key."""

    trials: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Settings to try; with the sampler grid by default all combinations.",
    )
    sampler: Literal["tpe", "random", "grid"] = Field(default="tpe", description="How settings are proposed.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of the sampler.")
    objective: Literal["final", "area", "steps_to_solve"] = Field(
        default="final",
        description="final: interquartile mean of the returns of the final evaluation. area: mean of the evaluation "
        "curve over all steps. steps_to_solve: environment steps until evaluation.stop is met, train.steps if never.",
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        default="median", description="What stops trials early, by their evaluations during training."
    )
    prune_from: int | None = Field(
        default=None, ge=0, description="Environment steps before which no trial is stopped; default train.steps / 4."
    )
    keys: dict[str, Values] = Field(min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> SearchConfig:
        if self.trials is None and self.sampler != "grid":
            raise ValueError(f"trials is missing: the sampler {self.sampler} proposes settings without end")
        return self


class SweepConfig(Model):
    """[grid], [random] or [search], over one config or several."""

    config: str | list[str]
    name: str | None = Field(default=None, pattern=r"^[\w.+-]+$")  # of its runs and results; None: that of the config
    seeds: str | int = 0
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] | None = None
    random: RandomDraws | None = None
    search: SearchConfig | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> SweepConfig:
        given = [name for name in ("grid", "random", "search") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of [grid], [random] and [search], not both {given[0]} and {given[1]}")
        keyed = self.random or self.search
        for key, values in ((keyed.keys if keyed else self.grid) or {}).items():
            if isinstance(values, list) and not values:
                raise ValueError(f"{key} has no values")
        return self

    def configs(self) -> list[str]:
        return [self.config] if isinstance(self.config, str) else self.config

    def settings(self) -> list[dict[str, Any]]:
        """The overrides of each point, including `set`; one point if nothing varies."""
        return [{**self.set, **point} for point in self.points()]

    def points(self) -> list[dict[str, Any]]:
        """The varied values of each point."""
        if self.random is not None:
            rng = np.random.default_rng(self.random.seed)
            return [self._draw(rng) for _ in range(self.random.draws)]
        grid = self.grid or {}
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def _draw(self, rng: np.random.Generator) -> dict[str, Any]:
        assert self.random is not None
        return {
            key: choice.draw(rng) if isinstance(choice, Range) else choice[int(rng.integers(len(choice)))]
            for key, choice in self.random.keys.items()
        }


def load_sweep(path: Path) -> SweepConfig:
    """Reads a sweep file. Keys may be quoted dotted names or nested tables. Raises ConfigError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no sweep file {str(path)!r}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for name in ("set", "grid"):
        if isinstance(tables.get(name), dict):
            tables[name] = flat(tables[name], is_value=lambda table: not table)  # {} removes what a base has
    for name in ("random", "search"):
        if isinstance(tables.get(name), dict) and isinstance(tables[name].get("keys"), dict):
            tables[name]["keys"] = flat(tables[name]["keys"], is_value=is_range)
    try:
        return SweepConfig.model_validate(tables, strict=True)
    except ValidationError as error:
        problems = explanations(error, SweepConfig)
        raise ConfigError(f"{path}: " + "\n  ".join(problems)) from error


def is_range(table: Mapping[str, Any]) -> bool:
    """Whether a table is the range of a number."""
    return bool({"low", "high"} & set(table))
