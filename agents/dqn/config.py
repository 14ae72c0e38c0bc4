"""The keys of the DQN agent."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlkit.config.model import SWITCH, Model, PluginConfig
from rlkit.exploration.bonus import BonusTable
from rlkit.exploration.epsilon import EpsilonConfig
from rlkit.learning.gradient import GradientConfig
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.learning.q_learner import LearnerSettings
from rlkit.learning.q_losses import QLoss
from rlkit.learning.softmax import Softmax, SoftmaxConfig
from rlkit.learning.target import TargetConfig
from rlkit.nn.config import NetworkConfig

SEQUENCE_STEPS, BURN_IN_STEPS = 40, 20  # by default


class PrioritisedConfig(Model):
    """The table `prioritised`: sampling in proportion to |TD error|^alpha (Schaul et al. 2016), not uniformly."""

    alpha: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        description="Exponent of the priorities (Schaul et al.: 0.6). 0: uniform; 1: proportional to the error.",
    )
    beta: float = Field(
        0.4,
        ge=0.0,
        le=1.0,
        description="Exponent of the importance weights at the first update. 0: no correction; 1: a full one.",
    )
    beta_updates: int = Field(
        10_000,
        ge=0,
        description="Updates over which beta rises linearly to 1. 0: beta is 1 from the start. Usually all updates of "
        "the run.",
    )
    eps: float = Field(
        1e-6, gt=0.0, description="Added to |TD error|, in units of value, so that every step can be sampled."
    )

    def beta_at(self, updates: int) -> float:
        """Beta after `updates` updates."""
        return 1.0 if updates >= self.beta_updates else self.beta + (1.0 - self.beta) * updates / self.beta_updates


class DQNConfig(PluginConfig, GradientConfig):
    """Deep Q-learning. The defaults suit small environments such as CartPole; Atari needs the papers' values."""

    learning_rate: float = Field(
        1e-3,
        gt=0.0,
        description="Step size of the optimizer (Mnih et al. 2015: 2.5e-4 with rmsprop; large ones diverge).",
    )
    discount: float = Field(
        0.99,
        ge=0.0,
        le=1.0,
        description="gamma, the weight of a reward one step later. 0: only the next reward counts; 1: all rewards "
        "count equally, which is stable only if episodes end.",
    )
    batch_size: int = Field(
        64,
        ge=1,
        description="Windows sampled from the replay for one update (Mnih et al.: 32); with network.memory sequences "
        "(Kapturowski et al.: 64).",
    )
    updates_per_step: float = Field(
        0.25,
        gt=0.0,
        le=1000,
        description="Updates per environment step, counted over all environments, as an exact decimal (Mnih et al.: "
        "0.25). Larger values learn more from the same data, take longer, and can overfit early data.",
    )
    learning_starts: int = Field(
        1000,
        ge=0,
        description="Environment steps of uniformly random actions before the first update and before epsilon decays "
        "(Mnih et al.: 50,000). 0: learn from the first step.",
    )
    replay_capacity: int = Field(
        50_000,
        ge=2,
        description="Steps that the replay holds, over all environments (Mnih et al.: 1,000,000); the oldest are "
        "overwritten.",
    )
    n_step: int = Field(
        3,
        ge=1,
        description="Number of rewards summed before bootstrapping (Sutton 1988; Rainbow: 3). 1: one-step targets; "
        "large: rewards propagate faster, with a bias from the actions of older policies.",
    )
    monte_carlo: float | None = Field(
        None,
        gt=0.0,
        le=1.0,
        description="Weight of the return to the end of the episode in targets, beside the bootstrapped one (Ostrovski "
        "et al. 2017: 0.1). Carries rare rewards back at once, with a bias from the actions of older policies. Left "
        "out: none.",
    )
    sequence_steps: int | None = Field(
        None,
        ge=1,
        description="With network.memory: steps of a sequence that are learned from, fewer where the episode ends "
        "(Kapturowski et al. 2019: 80). Gradients do not go further back. Left out: 40.",
    )
    burn_in_steps: int | None = Field(
        None,
        ge=0,
        description="With network.memory: steps before these that bring the stored state up to date, without loss and "
        "gradient (Kapturowski et al. 2019: 40). 0: the stored state as it is. Left out: 20.",
    )
    double: bool = Field(
        True,
        description="The online network selects the next action, the target network values it (van Hasselt 2016).",
    )
    loss: Literal["huber", "squared"] = Field(
        "huber",
        description="huber: linear beyond an error of 1, Mnih et al.'s clipped error; squared: half the squared error, "
        "which fits means but is sensitive to outliers.",
    )
    reward_clip: float = Field(
        0.0,
        ge=0.0,
        description="Each reward is clipped to [-x, x] when learning, before the n-step sum (Mnih et al.: 1). 0: raw "
        "rewards. Scores are never clipped.",
    )
    precision: Literal["float32", "bfloat16"] | None = Field(
        None,
        description="Precision of the network's layers when learning. bfloat16 is faster on processors that support "
        "it, and rounds values to 3 digits; parameters, losses and the acting policy keep float32. Left out: float32.",
    )
    network: NetworkConfig = Field(NetworkConfig(), description="The Q-network.")
    target: TargetConfig = Field(
        TargetConfig(every=1, tau=0.01),
        description="The target network. Left out: every = 1, tau = 0.01. A table without tau copies the network.",
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="The gradient step.")
    epsilon: EpsilonConfig = Field(EpsilonConfig(), description="Epsilon-greedy exploration in training.")
    softmax: Annotated[SoftmaxConfig | None, SWITCH] = Field(
        None,
        description="Soft choice: actions that are not random by epsilon are drawn from softmax(Q / tau), and values "
        "bootstrap with this distribution (expected Sarsa). false or left out: greedy, true: with its defaults.",
    )
    prioritised: Annotated[PrioritisedConfig | None, SWITCH] = Field(
        None, description="Prioritised replay; false or left out: uniform, true: with its defaults."
    )
    bonus: BonusTable = Field(
        None,
        description='Exploration bonus, of the kind that its `type` names; false or left out: none; true: "count" with '
        "its defaults.",
    )

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.n_step >= self.replay_capacity:
            raise ValueError(
                f"n_step = {self.n_step} must be smaller than replay_capacity = {self.replay_capacity}: "
                "a window must fit into the replay"
            )
        return self

    @model_validator(mode="after")
    def _network_suits(self) -> Self:
        for key in ("sequence_steps", "burn_in_steps"):
            if getattr(self, key) is not None and self.network.memory is None:
                raise ValueError(f"{key} is of networks with memory: add network.memory, or leave it out")
        if self.monte_carlo is not None and self.network.memory is not None:
            raise ValueError("monte_carlo mixes targets of windows, not of sequences: leave out it or network.memory")
        self.network.validate_sizes(self.batch_size, self.learning_starts)
        self.network.validate_sizes(self.batch_size, self.replay_capacity, steps="replay_capacity")
        return self

    @property
    def sequence(self) -> tuple[int, int]:
        """Steps of burn-in, and steps learned from, with a memory."""
        return (
            BURN_IN_STEPS if self.burn_in_steps is None else self.burn_in_steps,
            self.sequence_steps or SEQUENCE_STEPS,
        )

    def learner(self, softmax: Softmax | None) -> LearnerSettings:
        """The settings of the learner; softmax: that of the policy."""
        gradient = self.gradient(self.learning_rate, self.optimizer, self.precision or "float32")
        return LearnerSettings(gradient, self.target, QLoss(self.loss, self.double, softmax))
