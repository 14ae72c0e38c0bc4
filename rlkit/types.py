"""The few types that cross the seams between environments, agents, replay and trainer.

Legend for the shape comments: N environments, B batch, n steps of a window, A actions, ``*O`` one observation's shape.
All are frozen: a changed value is a new object (`dataclasses.replace`), and the arrays inside are never written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from rlkit.structure import Structure

ActorState: TypeAlias = Mapping[str, NDArray[Any]]
"""What an actor carries from one act to the next, (N, ...) each; a row is renewed by `act` where ``first``."""

State: TypeAlias = Mapping[str, Any]
"""A nested mapping with str keys whose leaves are tensors, arrays, str, bool, int, float, None or lists of these."""


class Mode(Enum):
    """How to act. EXPLORE is an agent's business; a bare policy answers EVALUATE."""

    EXPLORE = "explore"
    EVALUATE = "evaluate"


class Purpose(Enum):
    """What environments are made for. RENDER adds the signal "screen", (N, H, W, 3) uint8."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    RENDER = "render"


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Shape of one environment's array (without N) and its dtype."""

    shape: tuple[int, ...]
    dtype: DTypeLike


@dataclass(frozen=True, slots=True)
class Stack:
    """How an observation is stacked from frames: `size` frames along `axis`, the newest last.

    `axis` counts within one observation (without N). Before an episode's `size`-th frame the missing ones are zeros
    ("zero") or copies of the episode's first frame ("repeat"). An axis of length `size` disappears in a frame:
    observation (4, 84, 84), axis 0, size 4 has frames (84, 84); observation (12, 84, 84) has frames (3, 84, 84).
    """

    axis: int
    size: int
    padding: Literal["zero", "repeat"]


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """All that an agent may know of its environment."""

    observation_space: gym.Space[Any]  # of one environment, after preprocessing; of Dict and Tuple: the flat rows
    num_actions: int
    num_envs: int
    frame_skip: int = 1  # emulator frames a step
    stack: Stack | None = None
    signals: Mapping[str, ArraySpec] = field(default_factory=dict)  # side information, e.g. {"ram": (128,) uint8}
    action_names: tuple[str, ...] = ()  # one an action where the environment has names for them; for people to read
    world: str = ""  # its name, for goals that belong to one game; "" where the family gives none
    structure: Structure | None = None  # what lies where in a row, where the environment's space is a Dict or a Tuple


@dataclass(frozen=True, slots=True)
class Observation:
    """What `act` sees of all environments."""

    obs: NDArray[Any]  # (N, *O)
    signals: Mapping[str, NDArray[Any]]  # (N, ...) each; never stored by the engine
    first: NDArray[np.bool_]  # (N,) an episode begins here


@dataclass(frozen=True, slots=True)
class ActorOutput:
    action: NDArray[np.int64]  # (N,)
    state: ActorState  # (N, ...) each, passed back to the next act
    extras: Mapping[str, NDArray[Any]]  # (N, ...) each, handed unchanged to observe


@dataclass(frozen=True, slots=True)
class RawStep:
    """What environments answer to one action; `first` of the observation is always False."""

    after: Observation
    reward: NDArray[np.float32]  # (N,)
    discount: NDArray[np.float32]  # (N,)
    terminated: NDArray[np.bool_]  # (N,)
    truncated: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True, slots=True)
class StepBatch:
    """One step of all environments; every row is a real transition."""

    before: Observation
    action: NDArray[np.int64]  # (N,)
    reward: NDArray[np.float32]  # (N,) as the environment gave it: never clipped here
    discount: NDArray[np.float32]  # (N,) 0 where the value ends (terminated, or a life lost if so configured), else 1
    terminated: NDArray[np.bool_]  # (N,)
    truncated: NDArray[np.bool_]  # (N,)
    after: Observation  # the true successor, on an episode's last step too; `first` is False
    extras: Mapping[str, NDArray[Any]]  # (N, ...) what act gave; empty outside training

    @property
    def ended(self) -> NDArray[np.bool_]:
        """(N,) the episode is over, for either reason."""
        return self.terminated | self.truncated


@dataclass(frozen=True, slots=True)
class Window:
    """n consecutive steps from the replay; tensors on the learner's device."""

    obs: Tensor  # (B, *O) at the first step
    action: Tensor  # (B, n) int64; the first one is the one to learn about
    reward: Tensor  # (B, n) float32, raw
    discount: Tensor  # (B, n) float32
    steps: Tensor  # (B,) int64, 1..n: how many of the n count. An episode's end (terminated or not), a cut by the
    #                agent, or the newest step ends a window; what lies beyond is unspecified
    next_obs: Tensor  # (B, *O) after `steps` steps: where to bootstrap
    extras: Mapping[str, Tensor | NDArray[Any]]  # (B, n, ...) each


@dataclass(frozen=True, slots=True)
class Sequences:
    """T consecutive steps from the replay, each sequence from a single episode; tensors on the learner's device.

    Steps outside the mask repeat the last one inside it, and their observations the one that it led to.
    """

    obs: Tensor  # (B, T + 1, *O): obs[:, t + 1] is the true successor of step t, at an episode's end too
    action: Tensor  # (B, T) int64
    reward: Tensor  # (B, T) float32, raw
    discount: Tensor  # (B, T) float32
    mask: Tensor  # (B, T) bool: the steps that count; the first one always does. An episode's end (terminated or not),
    #               a cut by the agent, or the newest step ends a sequence
    first: Tensor  # (B,) bool: the sequence begins with its episode. False too for an environment's oldest step, if
    #                what came before it is overwritten and observations are no stacks
    extras: Mapping[str, Tensor | NDArray[Any]]  # (B, T, ...) each


@dataclass(frozen=True, slots=True)
class Batch:
    window: Window
    index: NDArray[np.int64]  # (B,) a row's write number: priorities of rows since overwritten are dropped
    weight: Tensor  # (B,) float32 importance weights, 1 where sampling is uniform


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer, in the order of the forward pass."""

    name: str  # where it is in the network, "encoder.layers.0"
    kind: str  # "conv 32 8x8/4, weight norm"
    shape: tuple[int, ...]  # of its output for one observation
    parameters: int  # learned numbers
    multiply_adds: int  # for one observation, of convolutions and linear layers; 0 for all else


@dataclass(frozen=True, slots=True)
class Histogram:
    """Values whose distribution a sink may draw."""

    values: Tensor | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, (H, W, 3) uint8."""

    pixels: NDArray[np.uint8]


Metrics: TypeAlias = Mapping[str, Tensor | float | Histogram | Image]
"""Measurements by name, "group/what"; tensors stay on their device until they are written."""
