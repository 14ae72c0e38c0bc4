"""The keys of the h-DQN agent."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlkit.config.model import SWITCH, Model, PluginConfig
from rlkit.exploration.bonus import BonusTable
from rlkit.exploration.epsilon import EpsilonConfig
from rlkit.goals import GoalsConfig
from rlkit.learning.gradient import GradientConfig
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.learning.q_learner import LearnerSettings
from rlkit.learning.q_losses import QLoss
from rlkit.learning.target import TargetConfig
from rlkit.nn.config import NetworkConfig


class LevelConfig(GradientConfig):
    """The keys that both levels have: a Q-network and how it learns."""

    learning_rate: float = Field(1e-3, gt=0.0, description="Step size of the optimizer (Kulkarni et al.: 2.5e-4).")
    discount: float = Field(
        0.99,
        ge=0.0,
        le=1.0,
        description="gamma, the weight of a reward one step (or option) later. 0: only the next reward counts.",
    )
    batch_size: int = Field(
        64, ge=1, description="Windows (or options) sampled for one update (the authors' code: 256)."
    )
    double: bool = Field(
        False,
        description="The online network selects the next choice, the target network values it (van Hasselt 2016).",
    )
    loss: Literal["huber", "squared"] = Field(
        "huber", description="huber: linear beyond an error of 1; squared: half the squared error."
    )
    target: TargetConfig = Field(TargetConfig(), description="The target network.")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="The gradient step.")
    bonus: BonusTable = Field(
        None,
        description="Exploration bonus on this level, of the kind that its `type` names; false or left out: none; "
        'true: "count" with its defaults.',
    )

    @model_validator(mode="after")
    def _observes_no_counts(self) -> Self:
        if self.bonus is not None and self.bonus.observed:
            raise ValueError("bonus.observe_counts: h-DQN does not observe counts; ppo, pqn and dqn do")
        return self

    def learner(self) -> LearnerSettings:
        """The settings of the learner."""
        gradient = self.gradient(self.learning_rate, self.optimizer)
        return LearnerSettings(gradient, self.target, QLoss(self.loss, self.double))


class ControllerNetworkConfig(NetworkConfig):
    """The table `controller.network`."""

    goal: Literal["input", "heads"] = Field(
        "input",
        description="How the goal enters the network. input: as the goal space's code, a vector beside the encoder's "
        "features or a mask as an additional channel; heads: separate outputs for each goal.",
    )


class RewardConfig(Model):
    """The table `controller.reward`: the rewards of the intrinsic critic."""

    goal: float = Field(1.0, description="Reward for reaching the goal (the authors' code: 50).")
    step_cost: float = Field(0.0, ge=0.0, description="Subtracted at each step (the authors' code: 0.1 or 0.01).")
    death: float = Field(
        0.0, ge=0.0, description="Subtracted if the episode terminates without the goal (the authors' code: 200)."
    )


class HindsightConfig(Model):
    """The table `controller.hindsight`: relabelling steps with goals that were achieved later (HER)."""

    which: Literal["future", "final"] = Field(
        "future",
        description="future: a goal achieved in this step or later in the episode; final: one achieved in its last "
        "step (Andrychowicz et al. 2017, section 4.5).",
    )
    share: float = Field(
        0.5, ge=0.0, le=1.0, description="Fraction of windows of finished episodes that are relabelled (HER: 0.8)."
    )


class ControllerConfig(LevelConfig):
    """The table `controller`: Q1(s, a; g), which acts towards a goal."""

    updates_per_step: float = Field(
        0.25,
        gt=0.0,
        le=1000,
        description="Updates per environment step, as an exact decimal (the authors' code: 0.25).",
    )
    learning_starts: int = Field(
        1000,
        ge=0,
        description="Environment steps of random actions before the first update (the authors' code: 50,000).",
    )
    replay_capacity: int = Field(
        50_000,
        ge=2,
        description="Steps that the replay holds (Kulkarni et al.: 1,000,000); the oldest are overwritten.",
    )
    n_step: int = Field(
        1, ge=1, description="Number of rewards summed before bootstrapping, at most up to the option's end."
    )
    network: ControllerNetworkConfig = Field(ControllerNetworkConfig(), description="The Q-network.")
    epsilon: EpsilonConfig = Field(EpsilonConfig(), description="Epsilon-greedy exploration in training.")
    epsilon_by: Literal["schedule", "success"] = Field(
        "schedule",
        description="success: epsilon.end for goals that were reached in more than `mastered` of their latest 100 "
        "options, the schedule for other goals (Kulkarni et al.); schedule: the schedule for all goals.",
    )
    mastered: float = Field(
        0.9, ge=0.0, le=1.0, description="Fraction of successful options above which a goal is mastered."
    )
    reward: RewardConfig = Field(RewardConfig(), description="The intrinsic critic.")
    hindsight: Annotated[HindsightConfig | None, SWITCH] = Field(
        None, description="Relabelling with goals achieved later; false or left out: none, true: with its defaults."
    )

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.n_step >= self.replay_capacity:
            raise ValueError(
                f"controller.n_step = {self.n_step} must be smaller than replay_capacity = {self.replay_capacity}"
            )
        return self


class MetaConfig(LevelConfig):
    """The table `meta`: Q2(s, g), which chooses goals."""

    updates_per_option: float = Field(
        1.0,
        gt=0.0,
        le=1000,
        description="Updates per finished option, as an exact decimal (Algorithm 1: one per step).",
    )
    learning_starts: int = Field(
        100, ge=0, description="Options with random goals before the first update (the authors' code: 1000)."
    )
    capacity: int = Field(
        50_000,
        ge=2,
        description="Number of observations at option ends that the replay holds (Kulkarni et al.: 50,000 options).",
    )
    reward_clip: float = Field(
        0.0, ge=0.0, description="Each reward is clipped to [-x, x] before the option's sum. 0: raw rewards."
    )
    network: NetworkConfig = Field(NetworkConfig(), description="The Q-network.")
    epsilon: EpsilonConfig = Field(
        EpsilonConfig(),
        description="Epsilon-greedy choice of goals in training; its steps are environment steps after pre-training.",
    )

    @model_validator(mode="after")
    def _bonus_needs_no_actions(self) -> Self:
        if self.bonus is not None and self.bonus.needs_actions:
            raise ValueError(
                'meta.bonus counts states, not actions: set count_of = "state" (where an option begins) or '
                '"successor" (where it ends), and no optimism'
            )
        return self


class HDQNConfig(PluginConfig):
    """Hierarchical deep Q-learning (Kulkarni et al. 2016); the defaults suit small environments."""

    goals: GoalsConfig = Field(description="The goals to choose from.")
    option_discount: Literal["paper", "smdp"] = Field(
        "paper",
        description="Return of an option of k steps. paper: undiscounted sum of rewards, then gamma once; smdp: sum of "
        "gamma^i times reward i, then gamma^k.",
    )
    max_option_steps: int = Field(
        0,
        ge=0,
        description="Steps after which an option ends without its goal. 0: no limit (paper).",
    )
    repeat_goals: bool = Field(
        True, description="Whether a goal may be chosen twice in a row in an episode (paper: yes; authors' code: no)."
    )
    pretraining_steps: int = Field(
        0,
        ge=0,
        description="Environment steps with random goals at the beginning, in which only the controller learns.",
    )
    controller: ControllerConfig = Field(ControllerConfig(), description="The lower level.")
    meta: MetaConfig = Field(MetaConfig(), description="The upper level.")

    @model_validator(mode="after")
    def _networks_suit(self) -> Self:
        random_steps = self.controller.learning_starts  # of both levels: they see the same random play
        levels: tuple[tuple[str, ControllerConfig | MetaConfig], ...]
        levels = (("controller.", self.controller), ("meta.", self.meta))
        for at, level in levels:
            if level.network.memory is not None:
                raise ValueError(f"{at}network.memory: h-DQN does not keep the state of a memory; leave it out")
            level.network.validate_sizes(level.batch_size, random_steps, at=at, steps="controller.learning_starts")
            capacity = self.controller.replay_capacity
            level.network.validate_sizes(level.batch_size, capacity, at=at, steps="controller.replay_capacity")
        return self
