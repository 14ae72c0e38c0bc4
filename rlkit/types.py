"""The few types that cross the seams between environments, agents, replay and trainer.

Legend for the shape comments: N environments, B batch, n steps of a window, A actions, ``*O`` one observation's shape.
All are frozen: to change one, make a new one with `dataclasses.replace`. The arrays inside are never written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from rlkit.structure import Structure

ActorState: TypeAlias = Mapping[str, NDArray[Any]]
"""What a policy remembers from one act to the next, (N, ...) each; `act` resets the rows where ``first``."""

State: TypeAlias = Mapping[str, Any]
"""A nested mapping with str keys whose leaves are tensors, arrays, str, bool, int, float, None or lists of these."""


SCREEN = "screen"  # the signal of environments made for Purpose.RENDER: (N, H, W, 3) uint8
SCREEN_CELLS = "screen_cells"  # of these, if an observation (h, w, ...) does not show the whole screen: (N, h, w, 4)
#                                int, the box (top, left, bottom, right) of each cell on the screen; 0 if it has none
ACTION_MASK = "action_mask"  # the signal of an environment with a mask: (N, A) bool, the actions that are allowed


class Mode(Enum):
    """How to act. All work for an agent and for a policy alone.

    EXPLORE: as in training; EVALUATE: the best action; SAMPLE: draws from a policy that is probabilities over actions,
    without anything that is for exploring alone. Only agents that declare it (`HasSampling`) are asked to SAMPLE.
    """

    EXPLORE = "explore"
    EVALUATE = "evaluate"
    SAMPLE = "sample"


class Purpose(Enum):
    """Why environments are made. RENDER adds the signal "screen", (N, H, W, 3) uint8."""

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

    `axis` refers to one observation (without N). Frames before the start of an episode are zeros ("zero") or copies of
    its first frame ("repeat"). An axis of length `size` is absent in a frame:
    observation (4, 84, 84), axis 0, size 4 has frames (84, 84); observation (12, 84, 84) has frames (3, 84, 84).
    """

    axis: int
    size: int
    padding: Literal["zero", "repeat"]


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """Everything that an agent knows of its environments."""

    observation_space: gym.Space[Any]  #: of one environment, after preprocessing; for Dict and Tuple: of flat rows
    num_actions: int
    num_envs: int
    frame_skip: int = 1  #: emulator frames per step
    stack: Stack | None = None
    signals: Mapping[str, ArraySpec] = field(default_factory=dict)  #: side information, e.g. {"ram": (128,) uint8}
    action_names: tuple[str, ...] = ()  #: one per action, for display; () if the environment has no names
    world: str = ""  #: the game's name, for goals that belong to one game; "" if the family gives none
    observation_names: tuple[str, ...] = ()  #: one per entry of a vector, for display; () if there are no names
    structure: Structure | None = None  #: the layout of a flat row, if observations are a Dict or a Tuple
    steps_per_second: float | None = None  #: at which it is shown in videos; None if the environment states none


@dataclass(frozen=True, slots=True)
class Observation:
    """What `act` receives from all environments."""

    obs: NDArray[Any]  #: (N, *O)
    signals: Mapping[str, NDArray[Any]]  #: (N, ...) each; the engine never stores them
    first: NDArray[np.bool_]  #: (N,) whether an episode begins here
    #: (N,) what led here, random actions of an evaluation included; without meaning where `first`; None: not known
    last_action: NDArray[np.int64] | None = None
    last_reward: NDArray[np.float32] | None = None  #: (N,) raw; without meaning where `first`; None: not known


@dataclass(frozen=True, slots=True)
class ActorOutput:
    action: NDArray[np.int64]  #: (N,)
    state: ActorState  #: (N, ...) each, passed back to the next act
    extras: Mapping[str, NDArray[Any]]  #: (N, ...) each, passed unchanged to observe


@dataclass(frozen=True, slots=True)
class RawStep:
    """The result of one action in each environment; `first` of the observation is always False."""

    after: Observation
    reward: NDArray[np.float32]  #: (N,)
    discount: NDArray[np.float32]  #: (N,)
    terminated: NDArray[np.bool_]  #: (N,)
    truncated: NDArray[np.bool_]  #: (N,)
    crashed: NDArray[np.bool_] | None = (
        None  #: (N,) environments that failed in this step and are made anew; None: none
    )


@dataclass(frozen=True, slots=True)
class Window:
    """n consecutive steps from the replay, as tensors on the learner's device."""

    obs: Tensor  #: (B, *O) at the first step
    action: Tensor  #: (B, n) int64; the first one is learned about
    reward: Tensor  #: (B, n) float32, raw
    discount: Tensor  #: (B, n) float32
    #: (B,) int64, 1..n: how many of the n count. A window ends at an episode's end (terminated or not), at a cut by the
    #: agent, and at the newest step; values beyond are unspecified
    steps: Tensor
    next_obs: Tensor  #: (B, *O) after `steps` steps, to bootstrap from
    extras: Mapping[str, Tensor | NDArray[Any]]  #: (B, n, ...) each


@dataclass(frozen=True, slots=True)
class StepBatch:
    """One step of all environments. Every row is a real transition: none is a reset."""

    before: Observation
    action: NDArray[np.int64]  #: (N,)
    reward: NDArray[np.float32]  #: (N,) raw, never clipped
    discount: NDArray[np.float32]  #: (N,) 0 if nothing is bootstrapped (termination, a lost life if configured), else 1
    terminated: NDArray[np.bool_]  #: (N,)
    truncated: NDArray[np.bool_]  #: (N,)
    after: Observation  #: the true successor, on an episode's last step too; `first` is False
    extras: Mapping[str, NDArray[Any]]  #: (N, ...) what act returned; empty outside training

    @property
    def ended(self) -> NDArray[np.bool_]:
        """(N,) whether the episode is over, for either reason."""
        return self.terminated | self.truncated

    def windows(self, extras: Mapping[str, NDArray[Any]]) -> Window:
        """The step as N windows of one step, on the CPU, for an agent without a replay.

        extras: (N, ...) each, for example what a bonus returned for this step. They become tensors, as from a replay,
        but for unsigned integers of more than 8 bits. Shares memory: read only.
        """
        columns = {name: torch.from_numpy(getattr(self, name)[:, None]) for name in ("action", "reward", "discount")}
        return Window(
            obs=torch.from_numpy(self.before.obs),
            **columns,
            steps=torch.ones(len(self.action), dtype=torch.int64),
            next_obs=torch.from_numpy(self.after.obs),
            extras={name: _window_column(np.asarray(values)) for name, values in extras.items()},
        )


def _window_column(values: NDArray[Any]) -> Tensor | NDArray[Any]:
    """(N, ...) as (N, 1, ...)."""
    as_tensor = values.dtype.kind in "bif" or values.dtype == np.uint8
    return torch.from_numpy(values)[:, None] if as_tensor else values[:, None]


@dataclass(frozen=True, slots=True)
class Sequences:
    """T consecutive steps of one episode from the replay, as tensors on the learner's device.

    Before the mask the first valid step is repeated, beyond it the last one and the observation after it.
    """

    obs: Tensor  #: (B, T + 1, *O): obs[:, t + 1] is the true successor of step t, at an episode's end too
    action: Tensor  #: (B, T) int64
    reward: Tensor  #: (B, T) float32, raw
    discount: Tensor  #: (B, T) float32
    #: (B, T) bool: the valid steps, at least the one asked for. A sequence ends at an episode's end (terminated or
    #: not), at a cut by the agent, and at the newest step
    mask: Tensor
    #: (B,) bool: an episode begins with the first valid step. Without stacks it is also False for the oldest step of an
    #: environment, if the row before it was overwritten
    first: Tensor
    before: NDArray[np.int64]  #: (B,) valid steps before the one that was asked for
    steps: NDArray[np.int64]  #: (B,) valid steps from that one on
    extras: Mapping[str, Tensor | NDArray[Any]]  #: (B, T, ...) each


@dataclass(frozen=True, slots=True)
class Batch:
    window: Window
    index: NDArray[np.int64]  #: (B,) write numbers; priorities of rows that were overwritten since are dropped
    weight: Tensor  #: (B,) float32 importance weights; 1 for uniform sampling


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer of a network; a list of them is in the order of the forward pass."""

    name: str  #: its place in the network, "encoder.layers.0"
    kind: str  #: "conv 32 8x8/4, weight norm"
    shape: tuple[int, ...]  #: of the output for one observation
    parameters: int  #: number of learned parameters
    multiply_adds: int  #: per observation, of convolutions and linear layers; 0 for other layers


@dataclass(frozen=True, slots=True)
class Histogram:
    """Values whose distribution a sink can draw."""

    values: Tensor | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, (H, W, 3) uint8."""

    pixels: NDArray[np.uint8]


Metrics: TypeAlias = Mapping[str, Tensor | float | Histogram | Image]
"""Measurements by name, "group/what". Tensors stay on their device until they are written."""
