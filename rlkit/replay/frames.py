"""The layout of stored observations: frames, and the stacks that are rebuilt from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlkit.errors import SpecError
from rlkit.replay.ring import Column
from rlkit.types import EnvSpec

MAX_STACK = 256  # the number of earlier frames is stored in one byte


class FrameLayout:
    """Takes the newest frame of a stacked observation, and rebuilds stacks from frames.

    Without a stack a frame is the whole observation. Raises SpecError if observations are not arrays, or if their
    stacked axis is not divisible by the stack's size.
    """

    def __init__(self, spec: EnvSpec) -> None:
        space, stack = spec.observation_space, spec.stack
        if space.shape is None or space.dtype is None:
            raise SpecError(f"replay: observations must be arrays of one shape and dtype, not {space}")
        self.obs_shape = tuple(int(length) for length in space.shape)
        self.size = 1 if stack is None else stack.size
        self.zero_padding = stack is not None and stack.padding == "zero"
        self._axis = 0
        self._newest: tuple[slice | int, ...] = ()
        frame_shape = list(self.obs_shape)
        if stack is not None:
            if not -len(frame_shape) <= stack.axis < len(frame_shape) or not 1 <= stack.size <= MAX_STACK:
                raise SpecError(
                    f"replay: cannot stack {stack.size} frames along axis {stack.axis} of observations {self.obs_shape}"
                )
            self._axis = stack.axis % len(frame_shape)
            length, rest = divmod(frame_shape[self._axis], stack.size)
            if rest or not length:
                raise SpecError(
                    f"replay: axis {stack.axis} of observations {self.obs_shape} is no multiple of {stack.size} frames"
                )
            here: slice | int = -1 if length == 1 else slice(-length, None)
            self._newest = (slice(None),) * (self._axis + 1) + (here,)
            frame_shape[self._axis : self._axis + 1] = [] if length == 1 else [length]
        self.frame = Column(tuple(frame_shape), space.dtype)

    def newest(self, obs: NDArray[Any]) -> NDArray[Any]:
        """(K, *frame): the newest frame of each observation (K, *O)."""
        return obs[self._newest] if self._newest else obs

    def join(self, frames: Tensor) -> Tensor:
        """(K, *O) from the frames of each stack, (K, size, *frame), the newest last."""
        # without a stack, or with one along the first axis, this is a view
        ordered = frames if self._axis == 0 else frames.movedim(1, 1 + self._axis)
        return ordered.reshape(len(frames), *self.obs_shape)


def stack_index(
    index: NDArray[np.int64], depth: NDArray[np.uint8], ages: NDArray[np.int64], num_envs: int
) -> NDArray[np.int64]:
    """(K, size) write numbers of the frames of the stacks at `index` (K,).

    `depth` (K, 1) is the number of earlier frames of the episode in each stack, at most size - 1; `ages` (size,) is
    size - 1 .. 0. For an age before the start of the episode, its first frame is returned.
    """
    stacks: NDArray[np.int64] = index[:, None] - num_envs * np.minimum(ages, depth)
    return stacks
