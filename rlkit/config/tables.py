"""The tables `train` and `evaluation`, and the resolved configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, ValidationError, model_validator

from rlkit.config.model import Kwargs, Model, PluginConfig
from rlkit.errors import ConfigError

SAVED = "# experiment: "  # the beginning of a config that a run wrote


class VisitsConfig(Model):
    """The table `visits`: counts positions, two numbers of a signal, over a grid of cells."""

    signal: str = Field(default="state", description="The environment's signal that holds the position.")
    columns: tuple[int, int] = Field(
        default=(0, 1),
        description="Indices in the signal of the horizontal position and of the vertical one (downwards).",
    )
    low: tuple[float, float] = Field(
        description="Lower bounds, horizontal and vertical; positions outside count in the nearest cell."
    )
    high: tuple[float, float] = Field(description="Upper bounds. For integers from 0 to n - 1: low 0, high n.")
    cells: tuple[int, int] = Field(description="Number of cells, horizontal and vertical.")

    @model_validator(mode="after")
    def _is_a_rectangle(self) -> Self:
        if min(self.cells) < 1 or not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"visits need low < high and at least one cell, got {self.low}, {self.high}, {self.cells}")
        return self


class WarmStartConfig(Model):
    """The table `warm_start`: training begins with the policy of another run."""

    run: str = Field(description="Directory of the other run. It is read once; the new run does not need it later.")
    checkpoint: str = Field(default="last", description='Its policy: "last", "best", or the step of a checkpoint.')
    replay: bool = Field(
        default=False,
        description="Whether its replay is taken over too; capacity, environments and bonus must be the same.",
    )
    bonus: bool = Field(
        default=False,
        description="Whether the state of its bonus is taken over, such as visit counts; its keys must be the same.",
    )
    experiment: str | None = Field(default=None, description="Its experiment; set when the run is made.")
    digest: str | None = Field(default=None, description="The digest of its config; set when the run is made.")
    env_steps: int | None = Field(default=None, description="The step of its policy; set when the run is made.")


class ActorsConfig(Model):
    """The table `train.actors`: the training environments are on other processes or machines, the learner is here."""

    count: int = Field(default=1, ge=1, le=1024, description="Actors; each has train.num_envs / count environments.")
    on: Literal["ray"] = Field(default="ray", description="What starts them; needs the extra `cluster`.")
    address: str | None = Field(
        default=None, description="HOST:PORT of a Ray cluster. Default: the one that runs here, else this machine."
    )
    cpus: float = Field(default=1.0, gt=0, description="Cores that each actor reserves; less than 1 if it waits much.")
    push_every: int = Field(
        default=16, ge=1, description="Steps of each environment after which an actor gets new parameters."
    )
    epsilon: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Each actor explores with an epsilon of its own: actor i of n with epsilon^(1 + 7 i / (n - 1)) "
        "(Horgan et al. 2018, with 0.4). Default: all have the agent's.",
    )

    def epsilons(self) -> list[float]:
        """One per actor; [] if they have the agent's."""
        if self.epsilon is None:
            return []
        last = max(1, self.count - 1)
        return [self.epsilon ** (1 + 7 * number / last) for number in range(self.count)]


class TrainConfig(Model):
    """Length of training, seed, device, logging and checkpoints."""

    steps: int = Field(gt=0, description="Environment steps in total, over all environments.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of all random streams of the run.")
    num_envs: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Environments stepped together. The updates per step do not change; the data get older.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description='"auto" is the first of cuda, mps and cpu that exists. Or "cpu", "cuda", "cuda:1", "mps".',
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="CPU threads of torch. 1 is fastest for small networks, and on cores that do other work too: "
        "threads that share a core can be several times slower than one. Exact repetition needs the same number.",
    )
    reward_scale: float = Field(
        default=1.0,
        description="Factor of the environment's rewards in what the agent learns from, before it clips them and adds "
        "bonuses. 0: exploration alone. Scores and logged returns stay raw.",
    )
    log_every: int = Field(default=1000, ge=1, description="Environment steps between two rows of metrics.")
    checkpoint_every: int = Field(
        default=10_000, ge=0, description="Environment steps between checkpoints; 0: only at the end and when stopped."
    )
    keep_checkpoints: int = Field(default=2, ge=1, description="Number of newest checkpoints kept on disk.")
    reseed_after: int = Field(
        default=10_000,
        ge=1,
        description="Steps of one environment after which its next episode begins from a new seed. Resuming replays at "
        "most this many steps and one episode: with small values it is fast, with large ones re-seeding is rare.",
    )
    action_log_size: int = Field(
        default=1000,
        ge=0,
        description="Megabytes of closed action logs, from which training episodes can be played again, that a run "
        "keeps (4 bytes per step); the oldest are removed. Logs with a record, the best episode, or the first positive "
        "reward always stay. 0: only these.",
    )
    sinks: tuple[str, ...] = Field(
        default=("tensorboard", "images"),
        description='Metric sinks besides metrics.jsonl, which every run writes: names or "package.module:attr".',
    )
    warm_start: WarmStartConfig | None = Field(
        default=None,
        description="Begins with the policy of another run, instead of a random one. Default: no. False: an inherited "
        "table is dropped.",
    )
    actors: ActorsConfig | None = Field(
        default=None,
        description="Actors on other machines. Such runs cannot be repeated exactly, and resume with new episodes. "
        "Default: none, the environments are stepped here.",
    )
    visits: VisitsConfig | None = Field(
        default=None,
        description="Draws the positions that training visited, at each evaluation. Default: no picture. False: an "
        "inherited table is dropped.",
    )

    @model_validator(mode="after")
    def _actors_share_the_environments(self) -> Self:
        if self.actors is not None and self.num_envs % self.actors.count:
            raise ValueError(
                f"train.num_envs = {self.num_envs} must be a multiple of train.actors.count = {self.actors.count}"
            )
        return self


class StopConfig(Model):
    """The table `stop`: ends training before `train.steps` if the task is solved."""

    key: Literal["return_mean", "return_median", "return_iqm", "return_min", "success_rate"] = Field(
        default="return_mean",
        description='Score of an evaluation that counts; success_rate needs an environment with the signal "success".',
    )
    at_least: float = Field(description="The score at which the task counts as solved.")
    times: int = Field(
        default=1,
        ge=1,
        description="Consecutive evaluations required. All play the same episodes: a policy has to stay good, "
        "not to be good in other episodes.",
    )

    def solved(self, curve: Sequence[Mapping[str, float]]) -> bool:
        """Whether the newest `times` evaluations in `curve` all reach the score."""
        newest = curve[-self.times :]
        return len(newest) == self.times and all(row[self.key] >= self.at_least for row in newest)


class EvaluationConfig(Model):
    """How a policy is evaluated: in environments of its own, from fixed seeds, without exploration bonus."""

    every: int = Field(default=0, ge=0, description="Environment steps between evaluations; 0: only at the end.")
    episodes: int = Field(default=20, ge=1, description="Episodes of an evaluation during training.")
    final_episodes: int = Field(default=100, ge=1, description="Episodes of the evaluation at the end of training.")
    num_envs: int = Field(default=1, ge=1, le=4096, description="Environments evaluated together.")
    epsilon: float = Field(default=0.0, ge=0, le=1, description="Probability of a random action; 0 is greedy.")
    sample: bool = Field(
        default=False,
        description="Whether actions are drawn from the policy, if it is probabilities over actions (ppo; dqn and pqn "
        "with the table softmax). false: the best action. A policy without memory may have to sample, where one view "
        "stands for many situations.",
    )
    env: Kwargs = Field(
        default_factory=dict,
        description="Keys of [env] that are different in evaluations, such as { kwargs = { level = 9 } }; tables are "
        "replaced as a whole. Spaces must be the same. Default: none.",
    )
    stop: StopConfig | None = Field(
        default=None, description="When to end training early. Default: never. False: an inherited table is dropped."
    )

    @model_validator(mode="after")
    def _can_stop(self) -> Self:
        if self.stop is not None and not self.every:
            raise ValueError("evaluation.stop needs evaluation.every > 0: it is checked at each evaluation")
        return self


@dataclass(frozen=True, slots=True)
class Config:
    """A resolved configuration: all values are set and all plug-ins exist."""

    label: str  # name of the experiment: the file name without suffix; packaged configs keep their "/"
    env: PluginConfig
    agent: PluginConfig
    train: TrainConfig
    evaluation: EvaluationConfig

    @property
    def evaluation_env(self) -> PluginConfig:
        """The table env of evaluations. Raises ConfigError for keys that it cannot have."""
        given = self.evaluation.env
        if not given:
            return self.env
        try:
            merged = {**self.env.model_dump(mode="json", exclude_none=True), **given}
            return type(self.env).model_validate_json(json.dumps(merged))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, ("evaluation.env", *first["loc"])))
            raise ConfigError(f"{self.label}: {key}: {first['msg']}") from error

    def tables(self) -> dict[str, Any]:
        """All tables, without the label, as plain data that TOML can represent."""
        names = ("env", "agent", "train", "evaluation")
        return {name: getattr(self, name).model_dump(mode="json", exclude_none=True) for name in names}

    def to_toml(self) -> str:
        return f"{SAVED}{self.label}\n\n" + tomli_w.dumps(self.tables())
