"""The protocols of agents: what the trainer, the evaluation and the plug-in registry call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.config.model import PluginConfig
from rlkit.seeding import Streams
from rlkit.types import ActorOutput, ActorState, EnvSpec, LayerSummary, Metrics, Mode, Observation, State, StepBatch

C = TypeVar("C", bound=PluginConfig)

Pacing: TypeAlias = Literal["environment steps", "rollouts"]
"""When an agent learns.

"environment steps": the number of updates is a function of the number of environment steps, whatever the number of
environments. "rollouts": updates come after every T steps of all environments, and at no other time.
"""


class Policy(Protocol):
    """Acts, without a replay or an optimizer: enough to evaluate, to export, and to explore in another process."""

    def initial_state(self, num_envs: int) -> ActorState:
        """The actor state before the first act, (num_envs, ...) each; {} if the policy has no memory."""

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        """Actions for all N environments. Only `rng` changes: the policy does not."""

    def load_policy_state(self, state: State) -> None:
        """Loads the subtree "policy" of an agent's state_dict. Raises ConfigError if it does not fit."""


class Agent(Policy, Protocol):
    """A policy that learns."""

    @property
    def updates(self) -> int:
        """Gradient updates so far."""

    def observe(self, step: StepBatch) -> None:
        """Receives one training step of all environments; called once per step, in order."""

    def learn(self) -> Metrics:
        """Makes the updates that are due for the steps observed so far, possibly none; returns metrics."""

    def gauges(self) -> Metrics:
        """Current readings (epsilon, replay fill); called only when metrics are written."""

    def state_dict(self) -> State:
        """Everything that influences the future. The subtree "policy" is what a Policy needs, to explore as well.

        May share memory with the agent.
        """

    def load_state_dict(self, state: State) -> None:
        """Loads a state_dict of an agent of the same config and spec. Raises ConfigError if it does not fit."""


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What the engine passes to an agent besides its config and the environment's spec."""

    streams: Streams  # named random streams; the state_dict must hold the generators made from them
    device: torch.device


class AgentPlugin(Protocol[C]):
    """Makes an agent. It is named in the entry-point group ``rlkit.agents`` or as "package.module:attr"."""

    config: type[C]

    def policy(self, config: C, spec: EnvSpec, device: torch.device) -> Policy:
        """A policy with arbitrary parameters; `load_policy_state` follows."""

    def agent(self, config: C, spec: EnvSpec, context: AgentContext) -> Agent:
        """A new agent. Raises SpecError if the spec is not supported, CapacityError if memory is too small."""

    def describe(self, config: C, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        """What `rlkit check` prints for a run of `env_steps`: network, replay memory, updates. Makes no replay."""


@runtime_checkable
class HasNetworks(Protocol):
    """The plug-in of an agent that has networks to show."""

    def networks(self, config: PluginConfig, spec: EnvSpec) -> Mapping[str, list[LayerSummary]]:
        """The layers of each network, by its name, for `rlkit describe`. Raises as `AgentPlugin.agent` does."""


@runtime_checkable
class HasSampling(Protocol):
    """The plug-in of an agent whose policy can act in `Mode.SAMPLE`, with all configs or some; else it cannot."""

    def samples(self, config: Any) -> bool:
        """Whether the policy of this config is probabilities over actions."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A policy as one module: raw observations (B, *O), and more inputs by name, to scores (B, A); the best acts.

    With `outputs`, the module returns a tuple: the scores, and these, such as the memory after the step.
    """

    module: torch.nn.Module
    scores: str  # what they are: "values" or "logits"
    inputs: Mapping[str, torch.Tensor] = field(default_factory=dict)  # besides "observation": an example (1, ...) each
    outputs: tuple[str, ...] = ()  # besides the scores, (B, ...) each
    given: Callable[[Observation, ActorState], Mapping[str, NDArray[Any]]] | None = (
        None  # the `inputs` (N, ...) with which `act` acts on an observation in the state before it
    )


@runtime_checkable
class HasExport(Protocol):
    """A policy that `rlkit export` can write: its best action follows from the observation and arrays of numbers."""

    def exported(self) -> Exported: ...


@runtime_checkable
class HasWarmStart(Protocol):
    """An agent that can begin with what another run has learned (`train.warm_start`)."""

    def warm_start(self, state: State, parts: Collection[str]) -> None:
        """Takes over the parameters of a policy, and `parts`: "replay", "bonus". Called once, before the first step.

        state: the state_dict of an agent of this kind, only its entry "policy" if there are no parts. Exploration,
        optimizer, pacing and random streams stay new. Raises ConfigError for what does not fit and for parts that the
        agent lacks.
        """


@runtime_checkable
class HasPacing(Protocol):
    """The plug-in of an agent that declares its pacing; without this attribute it is "environment steps"."""

    @property
    def pacing(self) -> Pacing: ...


@dataclass(frozen=True, slots=True)
class ScoreFunction:
    """The scores of K outputs as a differentiable function of N observations: action values, logits, a state's value.

    Scores are before a softmax. `function(encode(obs), *context)` are the scores of float observations.
    """

    name: str  # "action values"
    labels: tuple[str, ...]  # of the K outputs; () if they are the actions
    chosen: NDArray[np.int64]  # (N,) the output that acting takes
    encode: Callable[[Tensor], Tensor]  # observations (M, *O) -> what the layers read, float (M, d) or (M, C, H, W)
    function: Callable[..., Tensor]  # (M, d) or (M, C, H, W), and the context (M, ...) -> (M, K)
    module: nn.Module  # whose layers `function` calls
    context: tuple[Tensor, ...] = ()  # (N, ...) each, what else the scores depend on, such as a goal
    entries: NDArray[np.int64] | None = (
        None  # (d,) the entry of the observation that an input belongs to; None: its own
    )


@runtime_checkable
class HasScores(Protocol):
    """A policy that offers its networks to `rlkit explain`, `attack` and `probe`."""

    def score_functions(self, observation: Observation, state: ActorState) -> Sequence[ScoreFunction]:
        """The function whose output is acted on first, then others, in the state before `act`.

        Raises SpecError for networks that are not supported.
        """
