"""The keys of the PQN agent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlkit.config.model import SWITCH, PluginConfig
from rlkit.exploration.bonus import BonusTable
from rlkit.exploration.epsilon import EpsilonConfig
from rlkit.learning.gradient import GradientSettings
from rlkit.learning.optimizers import OptimizerConfig, OptimizerType
from rlkit.learning.rollouts import RolloutConfig
from rlkit.learning.softmax import SoftmaxConfig
from rlkit.nn.config import NetworkConfig, Normalisation


class PQNNetworkConfig(NetworkConfig):
    """The table `network` of PQN: as of other agents, but layer normalisation is the default."""

    normalisation: Normalisation | Literal["none"] = Field(  # type: ignore[assignment]  # never None, which a saved config leaves out
        "layer",
        description='"layer" (Gallici et al. 2024, whose code takes channels alone): of each hidden layer before its '
        'activation, over channels, height and width of images; "none": none, with which PQN may diverge; the others '
        "as of other agents.",
    )

    def plain(self) -> NetworkConfig:
        """The same table as of other agents."""
        return NetworkConfig(**self.model_dump())


class PQNOptimizerConfig(OptimizerConfig):
    """The table `optimizer` of PQN: as of other agents, but RAdam is the default."""

    type: OptimizerType = Field(
        "radam",
        description="Update rule: radam (Liu et al. 2020; Gallici et al. 2024), adam and adamax (Kingma and Ba 2015), "
        "rmsprop (Tieleman and Hinton 2012), sgd.",
    )


class PQNConfig(PluginConfig, RolloutConfig):
    """Parallelised Q-network. The defaults suit small environments; the README lists the paper's values."""

    learning_rate: float = Field(
        5e-4, gt=0.0, description="Step size of the optimizer (Gallici et al. 2024: 2.5e-4 on Atari, 5e-4 on MinAtar)."
    )
    discount: float = Field(
        0.99,
        ge=0.0,
        le=1.0,
        description="gamma, the weight of a reward one step later. 0: only the next reward counts; 1: all rewards "
        "count equally, which is stable only if episodes end.",
    )
    q_lambda: float = Field(
        0.65,
        ge=0.0,
        le=1.0,
        description="lambda of Q(lambda) (Gallici et al. 2024: 0.65). 0: one-step targets, with the bias of "
        "the values; 1: sums of rewards to the end of the episode or rollout, random actions included.",
    )
    reward_clip: float = Field(
        0.0,
        ge=0.0,
        description="Each reward is clipped to [-x, x] when learning (Atari: 1). 0: raw rewards. Scores are never "
        "clipped.",
    )
    precision: Literal["float32", "bfloat16"] | None = Field(
        None,
        description="Precision of the network's layers when learning. bfloat16 is faster on processors that support "
        "it, and rounds values to 3 digits; parameters, losses and the acting policy keep float32. Left out: float32.",
    )
    network: PQNNetworkConfig = Field(PQNNetworkConfig(), description="The Q-network.")
    optimizer: PQNOptimizerConfig = Field(PQNOptimizerConfig(), description="The gradient step.")
    epsilon: EpsilonConfig = Field(
        EpsilonConfig(), description="Epsilon-greedy exploration in training; its steps count from the first one."
    )
    softmax: Annotated[SoftmaxConfig | None, SWITCH] = Field(
        None,
        description="Soft choice: actions that are not random by epsilon are drawn from softmax(Q / tau), and values "
        "bootstrap with this distribution (expected Sarsa). false or left out: greedy, true: with its defaults.",
    )
    bonus: BonusTable = Field(
        None,
        description='Exploration bonus, of the kind that its `type` names; false or left out: none; true: "count" with '
        "its defaults.",
    )

    def parts(self, num_envs: int) -> int:
        """The number of minibatches of an epoch. Raises ConfigError if they are too small for this config."""
        return self.minibatch_count(num_envs, self.network.plain())

    def gradient_settings(self) -> GradientSettings:
        """The settings of the optimizer steps."""
        return self.gradient(self.learning_rate, self.optimizer, self.precision or "float32")
