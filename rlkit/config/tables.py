"""The tables of a config that belong to no plug-in: train and evaluation; and the resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, model_validator

from rlkit.config.model import Model, PluginConfig

SAVED = "# experiment: "  # how a config begins that a run wrote


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
        default=("tensorboard", "images"),
        description='Where metrics go, besides the file metrics.jsonl of every run: names or "package.module:attr".',
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
    times: int = Field(default=1, ge=1, description="Consecutive evaluations that must reach it.")

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
        return f"{SAVED}{self.label}\n\n" + tomli_w.dumps(self.tables())
