"""The keys of the PPO agent."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlkit.config.model import SWITCH, Model, PluginConfig
from rlkit.errors import ConfigError
from rlkit.exploration.bonus import BonusTable
from rlkit.learning.gradient import GradientSettings
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.learning.policy_losses import ClippedSurrogate
from rlkit.learning.rollouts import AnnealConfig, RolloutConfig
from rlkit.nn.config import NetworkConfig


class PPOAnnealConfig(AnnealConfig):
    """The table `anneal`: learning rate and clip range fall linearly over the run."""

    clip: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="Final clip range as a fraction of clip (Schulman et al. 2017, Atari: towards 0). 1: constant.",
    )

    def factors(self, env_steps: int) -> tuple[float, float]:
        """The factors of learning rate and clip range for the rollout that begins after `env_steps` steps."""
        return self.factor(env_steps, self.learning_rate), self.factor(env_steps, self.clip)


class BonusValueConfig(Model):
    """The table `bonus_value`: a value of its own for the bonus (Burda et al. 2019, section 2.3)."""

    discount: float = Field(
        0.99, ge=0.0, le=1.0, description="gamma of bonuses (Burda et al.: 0.99, with 0.999 for rewards)."
    )
    weight: float = Field(
        0.5,
        ge=0.0,
        description="Weight of the bonuses' advantages beside the rewards' (Burda et al.: 1 beside 2). 0: no effect on "
        "the policy.",
    )
    episodic: bool = Field(
        False,
        description="Whether returns of bonuses end with the episode. false: they continue in the next one, so that an "
        "early end of an episode is no loss.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.discount == 1.0 and not self.episodic:
            raise ValueError(
                "bonus_value.discount = 1 with episodic = false sums the bonuses of the whole run, without a bound; "
                "use a discount below 1, or episodic = true"
            )
        return self


class PPOConfig(PluginConfig, RolloutConfig):
    """Proximal policy optimisation. The defaults suit small environments; the README lists the papers' values."""

    epochs: int = Field(
        10,
        ge=1,
        description="Passes over each rollout (Schulman et al. 2017: 10; Atari: 3). Many use data longer, but move the "
        "network far from the one that acted.",
    )
    learning_rate: float = Field(
        3e-4, gt=0.0, description="Step size of the optimizer (Schulman et al. 2017: 3e-4; Atari: 2.5e-4)."
    )
    discount: float = Field(
        0.99,
        ge=0.0,
        le=1.0,
        description="gamma, the weight of a reward one step later. 0: only the next reward counts; 1: all rewards "
        "count equally, which is stable only if episodes end.",
    )
    gae_lambda: float = Field(
        0.95,
        ge=0.0,
        le=1.0,
        description="lambda of generalised advantage estimation (Schulman et al. 2016). 0: one-step advantages, with "
        "the bias of the values; 1: sums of rewards to the end of the episode or rollout, with their variance.",
    )
    clip: float = Field(
        0.2,
        gt=0.0,
        description="epsilon: the ratio of new to old probability is clipped to 1 +- this (Schulman et al. 2017: 0.2; "
        "Atari: 0.1). Small: slow, safe; large: no limit on how far the policy moves.",
    )
    entropy_weight: float = Field(
        0.01,
        ge=0.0,
        description="Weight of the policy's entropy in the objective (Atari: 0.01). 0: the policy may become "
        "deterministic early; large: it stays random.",
    )
    value_weight: float = Field(
        0.5,
        ge=0.0,
        description="Weight of the values' loss, half the squared error (authors' code: 0.5). 0: values stay random",
    )
    value_clip: float = Field(
        0.0,
        ge=0.0,
        description="Values move at most this far from those before the update, in units of returns (authors' code: as "
        "clip). 0: no limit.",
    )
    normalise_advantages: Literal["minibatch", "rollout", "none"] = Field(
        "minibatch",
        description="Advantages get mean 0 and deviation 1 over each minibatch (authors' code), once over the rollout, "
        "or not at all; then the size of rewards matters.",
    )
    max_kl: float | None = Field(
        None,
        gt=0.0,
        description="No further epoch of a rollout after one whose mean KL divergence of the new policy from the old "
        "one exceeds this (0.01 to 0.05). Left out: all epochs are made.",
    )
    max_grad_norm: float = Field(
        0.5,
        ge=0.0,
        description="Largest norm of the gradient over all parameters; a longer one is scaled down to it (authors' "
        "code: 0.5). 0: no limit.",
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
    overlap: bool = Field(
        False,
        description="Learn from a rollout in a thread of its own while the next one is collected. Faster if a core is "
        "free for it. The parameters that act are then one rollout older. Not with max_kl.",
    )
    separate_networks: bool = Field(
        False,
        description="Policy and value are two networks of the table network. false: one network, whose last layer has "
        "a unit for each action and one for the value.",
    )
    initialisation: Literal["orthogonal", "uniform"] = Field(
        "orthogonal",
        description="orthogonal: gain sqrt(2), 0.01 for the policy's outputs, 1 for the value, biases 0 (authors' "
        "code), except of your own encoder; uniform: PyTorch's default. Normalised weights are initialised from the "
        "first rollout instead.",
    )
    network: NetworkConfig = Field(NetworkConfig(), description="The network, or both networks.")
    optimizer: OptimizerConfig = Field(OptimizerConfig(eps=1e-5), description="The gradient step.")
    anneal: PPOAnnealConfig | None = Field(
        None, description="Linear decay of learning rate and clip range; left out: both are constant."
    )
    bonus: BonusTable = Field(
        None,
        description='Exploration bonus, of the kind that its `type` names; false or left out: none; true: "count" with '
        "its defaults.",
    )

    bonus_value: Annotated[BonusValueConfig | None, SWITCH] = Field(
        None,
        description="A second value, of bonuses alone; false or left out: one value of the sum of rewards and bonuses, "
        "true: with its defaults.",
    )

    @model_validator(mode="after")
    def _values_a_bonus(self) -> Self:
        if self.bonus_value is not None and self.bonus is None:
            raise ValueError("bonus_value needs a bonus to value: add the table bonus, or leave it out")
        return self

    @model_validator(mode="after")
    def _updates_are_known(self) -> Self:
        if self.overlap and self.max_kl is not None:
            raise ValueError("overlap needs to know the number of updates when they begin, which max_kl decides later")
        return self

    @model_validator(mode="after")
    def _network_suits(self) -> Self:
        if self.network.dueling:
            raise ValueError("network.dueling applies to action values, which PPO does not learn; leave it out")
        return self

    def parts(self, num_envs: int) -> int:
        """The number of minibatches of an epoch. Raises ConfigError if they are too small for this config."""
        count, steps = self.minibatch_count(num_envs, self.network), self.length(num_envs) * num_envs
        smallest = {"minibatch": steps // count, "rollout": steps, "none": 2}[self.normalise_advantages]
        if smallest < 2:
            raise ConfigError(
                f'normalise_advantages = "{self.normalise_advantages}" needs 2 steps or more at once, but '
                f'{self.rollout_text(num_envs)} in {count} minibatches has {smallest}; use larger ones, or "none"'
            )
        return count

    @property
    def num_values(self) -> int:
        """V, the number of values of a state."""
        return 1 if self.bonus_value is None else 2

    def gradient_settings(self) -> GradientSettings:
        """The settings of the optimizer steps."""
        return self.gradient(self.learning_rate, self.optimizer, self.precision or "float32")

    def loss(self) -> ClippedSurrogate:
        """The loss before any annealing."""
        return ClippedSurrogate(self.clip, self.entropy_weight, self.value_weight, self.value_clip)
