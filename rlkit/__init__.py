"""rlkit: reinforcement-learning agents that explore, with a shared training loop, replay and exact resume.

Everything that an author of an agent, environment, bonus, goal space, encoder, loss or sink needs is importable from
here or from `rlkit.testing`. Other import paths may change in any version.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlkit.agent import (
        Agent,
        AgentContext,
        AgentPlugin,
        HasNetworks,
        HasPacing,
        HasSampling,
        HasScores,
        HasWarmStart,
        Pacing,
        Policy,
        ScoreFunction,
    )
    from rlkit.config.model import SWITCH, Model, PluginConfig
    from rlkit.devices import to_device
    from rlkit.environments import Environments, EnvPlugin
    from rlkit.errors import CapacityError, ConfigError, RlkitError, RunError, SpecError, WorkerError
    from rlkit.exploration.adjustment import Adjustment, mask
    from rlkit.exploration.bonus import BonusConfig, BonusTable, bonus_columns, build_actor, build_bonus
    from rlkit.exploration.count.config import CountConfig
    from rlkit.exploration.epsilon import EpsilonConfig, epsilon_greedy
    from rlkit.exploration.protocol import Actor, Bonus, NoBonus
    from rlkit.goals import GoalsConfig, GoalSpace, build_goals, one_hot, require_signal
    from rlkit.learning.gradient import Gradient, GradientConfig, GradientSettings
    from rlkit.learning.optimizers import OptimizerConfig, load_optimizer, optimizer_state
    from rlkit.learning.q_learner import LearnerOutput, LearnerSettings, QLearner
    from rlkit.learning.q_losses import QLoss
    from rlkit.learning.returns import clip_reward, gae, lambda_return, n_step_return
    from rlkit.learning.target import TargetConfig, TargetNetwork
    from rlkit.learning.value_loss import LossOutput, Networks, Transitions, ValueLoss
    from rlkit.memory import require_memory
    from rlkit.metrics.meters import Row, Sink
    from rlkit.metrics.sinks import SinkContext
    from rlkit.nn.config import NetworkConfig
    from rlkit.nn.encoders import build_encoder
    from rlkit.nn.heads import q_head
    from rlkit.nn.inputs import build_input, to_tensor
    from rlkit.nn.layers import LayerFactory
    from rlkit.nn.parameters import load_parameters, parameter_state
    from rlkit.nn.qnetwork import QNetwork, build_q_network
    from rlkit.nn.structured import StructuredInput, observed
    from rlkit.nn.summary import summarise
    from rlkit.pacing import Ratio
    from rlkit.replay import Column, Hindsight, OptionStore, Prioritised, Replay, Trajectory, TrajectoryBatch
    from rlkit.report.frames import load_curves, load_results
    from rlkit.runs.api import resume, train
    from rlkit.runs.evaluate import evaluate_run
    from rlkit.runs.policy import LoadedPolicy, load_policy
    from rlkit.seeding import Streams, torch_seeded
    from rlkit.structure import Structure
    from rlkit.types import (
        ActorOutput,
        ActorState,
        ArraySpec,
        Batch,
        EnvSpec,
        Histogram,
        Image,
        LayerSummary,
        Metrics,
        Mode,
        Observation,
        Purpose,
        RawStep,
        Sequences,
        Stack,
        State,
        StepBatch,
        Window,
    )
    from rlkit.vector.driver import VectorEnvironments

__version__ = "0.3.0.dev0"

_NAMES = {
    "rlkit.agent": (
        "Agent",
        "AgentContext",
        "AgentPlugin",
        "HasNetworks",
        "HasPacing",
        "HasSampling",
        "HasScores",
        "HasWarmStart",
        "Pacing",
        "Policy",
        "ScoreFunction",
    ),
    "rlkit.config.model": ("Model", "PluginConfig", "SWITCH"),
    "rlkit.devices": ("to_device",),
    "rlkit.environments": ("EnvPlugin", "Environments"),
    "rlkit.errors": ("CapacityError", "ConfigError", "RlkitError", "RunError", "SpecError", "WorkerError"),
    "rlkit.exploration.adjustment": ("Adjustment", "mask"),
    "rlkit.exploration.bonus": ("BonusConfig", "BonusTable", "bonus_columns", "build_actor", "build_bonus"),
    "rlkit.exploration.count.config": ("CountConfig",),
    "rlkit.exploration.protocol": ("Actor", "Bonus", "NoBonus"),
    "rlkit.exploration.epsilon": ("EpsilonConfig", "epsilon_greedy"),
    "rlkit.goals": ("GoalSpace", "GoalsConfig", "build_goals", "one_hot", "require_signal"),
    "rlkit.learning.gradient": ("Gradient", "GradientConfig", "GradientSettings"),
    "rlkit.learning.optimizers": ("OptimizerConfig", "load_optimizer", "optimizer_state"),
    "rlkit.learning.q_learner": ("LearnerOutput", "LearnerSettings", "QLearner"),
    "rlkit.learning.q_losses": ("QLoss",),
    "rlkit.learning.returns": ("clip_reward", "gae", "lambda_return", "n_step_return"),
    "rlkit.learning.target": ("TargetConfig", "TargetNetwork"),
    "rlkit.learning.value_loss": ("LossOutput", "Networks", "Transitions", "ValueLoss"),
    "rlkit.memory": ("require_memory",),
    "rlkit.metrics.meters": ("Row", "Sink"),
    "rlkit.metrics.sinks": ("SinkContext",),
    "rlkit.nn.config": ("NetworkConfig",),
    "rlkit.nn.encoders": ("build_encoder",),
    "rlkit.nn.heads": ("q_head",),
    "rlkit.nn.inputs": ("build_input", "to_tensor"),
    "rlkit.nn.structured": ("StructuredInput", "observed"),
    "rlkit.nn.layers": ("LayerFactory",),
    "rlkit.nn.parameters": ("load_parameters", "parameter_state"),
    "rlkit.nn.qnetwork": ("QNetwork", "build_q_network"),
    "rlkit.nn.summary": ("summarise",),
    "rlkit.pacing": ("Ratio",),
    "rlkit.replay": ("Column", "Hindsight", "OptionStore", "Prioritised", "Replay", "Trajectory", "TrajectoryBatch"),
    "rlkit.report.frames": ("load_curves", "load_results"),
    "rlkit.runs.api": ("resume", "train"),
    "rlkit.runs.evaluate": ("evaluate_run",),
    "rlkit.runs.policy": ("LoadedPolicy", "load_policy"),
    "rlkit.seeding": ("Streams", "torch_seeded"),
    "rlkit.structure": ("Structure",),
    "rlkit.types": (
        "ActorOutput",
        "ActorState",
        "ArraySpec",
        "Batch",
        "EnvSpec",
        "Histogram",
        "Image",
        "LayerSummary",
        "Metrics",
        "Mode",
        "Observation",
        "Purpose",
        "RawStep",
        "Sequences",
        "Stack",
        "State",
        "StepBatch",
        "Window",
    ),
    "rlkit.vector.driver": ("VectorEnvironments",),
}
"""Module → public names. A name is imported when it is first used, so `import rlkit` alone does not import torch."""

_MODULE = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "SWITCH",
    "Actor",
    "ActorOutput",
    "ActorState",
    "Adjustment",
    "Agent",
    "AgentContext",
    "AgentPlugin",
    "ArraySpec",
    "Batch",
    "Bonus",
    "BonusConfig",
    "BonusTable",
    "CapacityError",
    "Column",
    "ConfigError",
    "CountConfig",
    "EnvPlugin",
    "EnvSpec",
    "Environments",
    "EpsilonConfig",
    "GoalSpace",
    "GoalsConfig",
    "Gradient",
    "GradientConfig",
    "GradientSettings",
    "HasNetworks",
    "HasPacing",
    "HasSampling",
    "HasScores",
    "HasWarmStart",
    "Hindsight",
    "Histogram",
    "Image",
    "LayerFactory",
    "LayerSummary",
    "LearnerOutput",
    "LearnerSettings",
    "LoadedPolicy",
    "LossOutput",
    "Metrics",
    "Mode",
    "Model",
    "NetworkConfig",
    "Networks",
    "NoBonus",
    "Observation",
    "OptimizerConfig",
    "OptionStore",
    "Pacing",
    "PluginConfig",
    "Policy",
    "Prioritised",
    "Purpose",
    "QLearner",
    "QLoss",
    "QNetwork",
    "Ratio",
    "RawStep",
    "Replay",
    "RlkitError",
    "Row",
    "RunError",
    "ScoreFunction",
    "Sequences",
    "Sink",
    "SinkContext",
    "SpecError",
    "Stack",
    "State",
    "StepBatch",
    "Streams",
    "Structure",
    "StructuredInput",
    "TargetConfig",
    "TargetNetwork",
    "Trajectory",
    "TrajectoryBatch",
    "Transitions",
    "ValueLoss",
    "VectorEnvironments",
    "Window",
    "WorkerError",
    "bonus_columns",
    "build_actor",
    "build_bonus",
    "build_encoder",
    "build_goals",
    "build_input",
    "build_q_network",
    "clip_reward",
    "epsilon_greedy",
    "evaluate_run",
    "gae",
    "lambda_return",
    "load_curves",
    "load_optimizer",
    "load_parameters",
    "load_policy",
    "load_results",
    "mask",
    "n_step_return",
    "observed",
    "one_hot",
    "optimizer_state",
    "parameter_state",
    "q_head",
    "require_memory",
    "require_signal",
    "resume",
    "summarise",
    "to_device",
    "to_tensor",
    "torch_seeded",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'rlkit' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
