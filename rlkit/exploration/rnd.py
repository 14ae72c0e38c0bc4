"""Random network distillation (Burda et al. 2019): a bonus for observations that a predictor does not know yet.

The predictor learns the outputs of a network with random parameters on the observations that the agent meets. Its error
is small for observations like those seen often. Noise that the predictor cannot learn keeps its bonus.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from rlkit.errors import SpecError
from rlkit.exploration.bonus import BonusConfig
from rlkit.exploration.moments import RunningMoments
from rlkit.exploration.protocol import Bonus
from rlkit.learning.gradient import Gradient, GradientSettings
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.nn.config import NetworkConfig
from rlkit.nn.encoders import build_encoder, default_hidden, output_size
from rlkit.nn.heads import dense
from rlkit.nn.inputs import InputLayer, to_tensor
from rlkit.nn.layers import LayerFactory
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.structured import build_inputs
from rlkit.replay import Column, Replay, Trajectory
from rlkit.seeding import Streams, torch_seeded
from rlkit.types import EnvSpec, Metrics, State, StepBatch, Window

LARGEST_INPUT = 5.0  # standardised inputs are clipped to +- this


class RNDConfig(BonusConfig):
    """Random network distillation (Burda et al. 2019): pays for observations that a predictor does not know yet."""

    type: Literal["rnd"] = Field("rnd", description="Kind of the bonus: random network distillation.")
    beta: float = Field(
        0.1,
        ge=0.0,
        description="The bonus where the error equals its unit, the standard deviation of discounted sums of errors, "
        "in units of (clipped) reward (Burda et al.: 0.5, with values of its own). 0: no bonus; too large: the agent "
        "prefers exploring.",
    )
    discount: float = Field(
        0.99,
        ge=0.0,
        lt=1.0,
        description="Discount of the sums of errors whose deviation is the unit (Burda et al.: 0.99).",
    )
    outputs: int = Field(
        64, ge=1, description="Outputs of the random network (Burda et al.: 512). Few: errors vanish early."
    )
    learning_rate: float = Field(1e-4, gt=0.0, description="Step size of Adam for the predictor (Burda et al.: 1e-4).")
    batch_size: int = Field(
        256, ge=2, description="Steps, over all environments, after which the predictor makes one update from them."
    )
    share: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="Share of the steps that the predictor learns from (Burda et al.: 0.25 of those of 128 "
        "environments, in 4 epochs). Small: states stay interesting for longer.",
    )
    encoder: str = Field(
        "mlp",
        description="The layers before the fully connected ones, as network.encoder of an agent. Inputs are "
        'standardised by their running mean and deviation, except those of "cells".',
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None,
        strict=False,  # accepts a list, which TOML has
        description="Units of the fully connected layers; the predictor has the last one twice more. Left out: as "
        "network.hidden of an agent with this encoder.",
    )

    @property
    def _network(self) -> NetworkConfig:
        return NetworkConfig(encoder=self.encoder, hidden=self.hidden, input="auto")

    @model_validator(mode="after")
    def _known_encoder(self) -> Self:
        _ = self._network  # raises for an unknown one
        return self

    def columns(self) -> dict[str, Column]:
        return {"error": Column((), np.float32, latest=True)}

    def validate_for(self, spec: EnvSpec, warm_up: int) -> None:
        super().validate_for(spec, warm_up)
        if not isinstance(spec.observation_space, gym.spaces.Box):
            raise SpecError(
                f'bonus: type = "rnd" needs observations of numbers (Box), not {spec.observation_space}, whose states '
                'can be counted: use type = "count"'
            )
        with torch_seeded(0):
            self._networks(spec)

    def summary(self) -> str:
        return f"{self.beta:g} * error of random network distillation; {self.outputs} outputs"

    def build(self, spec: EnvSpec, streams: Streams, replay: Replay | Trajectory | None, warm_up: int) -> RNDBonus:
        self.validate_for(spec, warm_up)
        with torch_seeded(streams.seed("networks")):
            inputs, target, predictor = self._networks(spec)
        return RNDBonus(self, inputs, target, predictor, spec.num_envs, streams.generator("share"))

    def _networks(self, spec: EnvSpec) -> tuple[InputLayer, nn.Module, nn.Module]:
        """Input layer, random network and predictor, with fresh parameters from torch's global generator."""
        config = self._network
        inputs, config = build_inputs(config, spec.observation_space)
        assert isinstance(inputs, InputLayer)  # of rows
        hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
        networks = []
        for units in (hidden, (*hidden, *hidden[-1:], *hidden[-1:])):
            factory = LayerFactory.of(config)
            encoder = build_encoder(config.encoder, inputs.shape, factory)
            networks.append(nn.Sequential(encoder, dense(output_size(encoder), units, self.outputs, factory)).eval())
        return inputs, networks[0].requires_grad_(False), networks[1]


class RNDBonus(Bonus):
    """Pays beta * error / deviation, with the predictor's error when the step was made and the deviation of now.

    The networks run on the CPU, where observations come from. The deviation is that of discounted sums of errors, which
    run on over the ends of episodes, as in the paper.
    """

    def __init__(
        self,
        config: RNDConfig,
        inputs: InputLayer,
        target: nn.Module,
        predictor: nn.Module,
        num_envs: int,
        rng: np.random.Generator,
    ) -> None:
        """rng: chooses the steps to learn from."""
        self._config = config
        self._inputs, self._target, self._predictor = inputs, target, predictor
        self.gradient = Gradient(predictor, GradientSettings(config.learning_rate, OptimizerConfig()))
        self._rng = rng
        self._moments = None if config.encoder == "cells" else RunningMoments(inputs.shape)
        self._sums = RunningMoments()
        self._sum = np.zeros(num_envs)  # (N,) discounted errors of each environment
        self._waiting: list[NDArray[Any]] = []  # observations (N, *O) to learn from
        self._metrics: dict[str, Any] = {}

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        obs = step.after.obs
        if self._moments is not None:
            self._moments.update(self._inputs(to_tensor(obs, torch.device("cpu"))).numpy())
        with torch.inference_mode():
            x = self._standardised(obs)
            error = (self._predictor(x) - self._target(x)).square().mean(1).numpy()  # (N,)
        self._sum = self._config.discount * self._sum + error
        self._sums.update(self._sum)
        self._waiting.append(obs.copy())
        self._metrics["explore/bonus"] = self._scale() * float(error.mean())
        return {"error": error}

    def _standardised(self, obs: NDArray[Any]) -> Tensor:
        """The networks' inputs (K, *shape) of observations (K, *O)."""
        x: Tensor = self._inputs(to_tensor(obs, torch.device("cpu")))
        if self._moments is None:
            return x
        mean, deviation = (
            torch.as_tensor(each, dtype=x.dtype) for each in (self._moments.mean, self._moments.deviation)
        )
        return ((x - mean) / deviation).clamp(-LARGEST_INPUT, LARGEST_INPUT)

    def _scale(self) -> float:
        """The bonus of an error of 1, by the deviation of now."""
        return self._config.beta / float(self._sums.deviation)

    def learn(self) -> Metrics:
        """Makes an update of the predictor for each full batch of new steps."""
        metrics, self._metrics = self._metrics, {}
        if sum(map(len, self._waiting)) >= self._config.batch_size:
            rows, size = np.concatenate(self._waiting), self._config.batch_size
            whole = len(rows) // size * size
            for batch in np.split(rows[:whole], whole // size):
                metrics |= self._update(batch)
            self._waiting = [rows[whole:]]
        return metrics

    def _update(self, obs: NDArray[Any]) -> Metrics:
        chosen = obs[self._rng.random(len(obs)) < self._config.share]
        if not len(chosen):
            return {}
        x = self._standardised(chosen)
        output = self.gradient.forward(x)
        error = output.detach() - self._target_of(x)
        self.gradient.step(output, 2.0 * error / error.numel(), (x,))
        return {"loss/rnd": error.square().mean()}

    def _target_of(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            target: Tensor = self._target(x)
            return target

    def add(self, reward: Tensor, window: Window) -> Tensor:
        error = torch.as_tensor(window.extras["error"]).to(reward.device, non_blocking=True)
        return reward + self._scale() * error

    def state_dict(self) -> State:
        return {
            "target": parameter_state(self._target),
            "predictor": parameter_state(self._predictor),
            "gradient": self.gradient.state_dict(),
            "moments": None if self._moments is None else self._moments.state_dict(),
            "sums": self._sums.state_dict(),
            "sum": self._sum,
            "waiting": np.concatenate(self._waiting) if self._waiting else None,
            "rng": self._rng.bit_generator.state,
            "metrics": dict(self._metrics),
        }

    def load_state_dict(self, state: State) -> None:
        load_parameters(self._target, state["target"], "the state of random network distillation")
        load_parameters(self._predictor, state["predictor"], "the state of random network distillation")
        self.gradient.load_state_dict(state["gradient"])
        if self._moments is not None:
            self._moments.load_state_dict(state["moments"])
        self._sums.load_state_dict(state["sums"])
        self._sum = np.array(state["sum"])
        self._waiting = [] if state["waiting"] is None else [np.array(state["waiting"])]
        self._rng.bit_generator.state = state["rng"]
        self._metrics = dict(state["metrics"])
