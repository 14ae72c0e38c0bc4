"""Sweep files: configs, seeds, and a grid or random draws over dotted keys."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from rlkit.config.keys import flat
from rlkit.config.load import explain
from rlkit.config.model import Model
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


class RandomDraws(Model):
    """Number of draws, their seed, and the range or the choices of each key."""

    draws: int = Field(ge=1, le=10_000)
    seed: int = Field(default=0, ge=0)
    keys: dict[str, Range | list[Any]]


class SweepConfig(Model):
    """[grid] or [random], over one config or several."""

    config: str | list[str]
    name: str | None = Field(default=None, pattern=r"^[\w.+-]+$")  # of its runs and results; None: that of the config
    seeds: str | int = 0
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] | None = None
    random: RandomDraws | None = None

    @model_validator(mode="after")
    def _not_both(self) -> SweepConfig:
        if self.grid is not None and self.random is not None:
            raise ValueError("give [grid] or [random], not both")
        for key, values in ((self.random.keys if self.random else self.grid) or {}).items():
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
            tables[name] = flat(tables[name])
    if isinstance(tables.get("random"), dict) and isinstance(tables["random"].get("keys"), dict):
        tables["random"]["keys"] = flat(tables["random"]["keys"], is_value=_is_range)
    try:
        return SweepConfig.model_validate(tables, strict=True)
    except ValidationError as error:
        problems = [explain(dict(detail), SweepConfig) for detail in error.errors(include_url=False)]
        raise ConfigError(f"{path}: " + "\n  ".join(problems)) from error


def _is_range(table: Mapping[str, Any]) -> bool:
    return bool({"low", "high"} & set(table))
