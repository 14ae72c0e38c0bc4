"""The input layer of any observation: an array, or the parts of a Dict or Tuple, each by the rules of its own space.

Of structured observations the encoder receives the parts by name, images (B, C, H, W) and all else vectors (B, size).
`encoder = "auto"` is resolved here, where the observations are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from torch import Tensor, nn

from rlkit.errors import SpecError
from rlkit.nn.beside import input_space
from rlkit.nn.config import NetworkConfig
from rlkit.nn.encoders import LEAST_SIDE, image_encoder
from rlkit.nn.inputs import RULES, InputKind, InputLayer, Layout, build_input, describe_input
from rlkit.structure import Observed, Part, Structure
from rlkit.types import EnvSpec

Inputs: TypeAlias = "InputLayer | StructuredInput"


class StructuredInput(nn.Module):
    """Rows (B, size) of a structured observation -> its parts by name: images (B, C, H, W), all else (B, size of part).

    kind, layout: as of `build_input`, for the parts that they apply to; the rules of "auto" for the others. `shape` has
    the shapes of the parts, without B. Raises SpecError for parts that `build_input` does not support.
    """

    def __init__(self, structure: Structure, kind: InputKind = "auto", layout: Layout | None = None) -> None:
        super().__init__()
        self.structure = structure
        layers = [_part_input(part, kind, layout) for part in structure.parts]
        pairs = list(zip(structure.parts, layers, strict=True))
        self._flat = [not is_image(part.space, layer.shape) for part, layer in pairs]
        self.shape: Mapping[str, tuple[int, ...]] = {
            part.name: (math.prod(layer.shape),) if flat else layer.shape
            for flat, (part, layer) in zip(self._flat, pairs, strict=True)
        }
        self.layers = nn.ModuleList(layers)

    @property
    def measures(self) -> bool:
        """Whether mean and deviation of some part are to be measured, as of `InputLayer`."""
        return any(layer.measures for layer in self._layers)

    @property
    def _layers(self) -> list[InputLayer]:
        return [layer for layer in self.layers if isinstance(layer, InputLayer)]

    def initialise(self, obs: Tensor) -> None:
        """Fixes means and deviations of the measured parts from rows (K, size), as `InputLayer.initialise` does."""
        for layer, part in zip(self._layers, self.structure.split(obs).values(), strict=True):
            layer.initialise(part)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        parts = self.structure.split(rows)
        inputs = {}
        for layer, flat, (name, part) in zip(self.layers, self._flat, parts.items(), strict=True):
            values = layer(part)
            inputs[name] = values.flatten(1) if flat else values
        return inputs


def _part_input(part: Part, kind: InputKind, layout: Layout | None) -> InputLayer:
    try:
        return build_input(part.space, *_for_part(part.space, kind, layout))
    except SpecError as error:
        raise SpecError(f"observation {part.name!r}: {error}") from error


def _for_part(space: gym.Space[Any], kind: InputKind, layout: Layout | None) -> tuple[InputKind, Layout | None]:
    """What applies of kind and layout to a part: "pixels" and "codes" to bytes of rank 2 and more, others to a Box."""
    box = isinstance(space, gym.spaces.Box)
    picture = box and space.dtype == np.uint8 and len(space.shape or ()) >= 2
    if kind not in RULES and not (picture if kind in ("pixels", "codes") else box):
        kind = "auto"
    return kind, layout if len(space.shape or ()) == 3 else None


def observed(spec: EnvSpec) -> Observed:
    """What a network is built for: the structure of rows if there is one, else the observation space.

    For an observation with a byte beside it, `input_space`, which joins the byte to the observation.
    """
    space = input_space(spec)
    return space if spec.structure is None or isinstance(space, gym.spaces.Tuple) else spec.structure


def is_image(space: gym.Space[Any], shape: tuple[int, ...]) -> bool:
    """Whether convolutions suit observations of `space` that enter as `shape`, of at least LEAST_SIDE cells a side.

    Rank 2 is an image if it holds bytes; floats, such as stacked vectors, are not.
    """
    if isinstance(space, gym.spaces.Tuple):  # of `input_space`
        return is_image(space[0], shape)
    rank = len(space.shape or ())
    return len(shape) == 3 and min(shape[1:]) >= LEAST_SIDE and (rank > 2 or space.dtype == np.uint8)


def build_inputs(config: NetworkConfig, observed: Observed) -> tuple[Inputs, NetworkConfig]:
    """The input layer for what is observed, and the config with the encoder that "auto" stands for.

    For a structure "auto" remains: its parts differ. Raises SpecError if the config does not fit.
    """
    if isinstance(observed, Structure):
        return StructuredInput(observed, config.input_kind, config.layout), config
    inputs = build_input(observed, config.input_kind, config.layout)
    if config.encoder != "auto":
        return inputs, config
    encoder = image_encoder(inputs.shape) if is_image(observed, inputs.shape) else "mlp"
    return inputs, config.model_copy(update={"encoder": encoder})


def describe_inputs(observed: Observed, config: NetworkConfig, random_steps: int) -> str:
    """How observations enter, in words, of a structure a line for each part; see `describe_input`."""
    if not isinstance(observed, Structure):
        return describe_input(observed, config.input_kind, random_steps, config.layout)
    lines = []
    for part, shape in zip(observed.parts, StructuredInput(observed, config.input_kind).shape.values(), strict=True):
        kind, layout = _for_part(part.space, config.input_kind, config.layout)
        text = describe_input(part.space, kind, random_steps, layout)
        lines.append(f"{part.name}: {text}{'' if len(shape) == 1 else ', through convolutions'}")
    return "\n".join(lines)


def shape_text(shape: tuple[int, ...] | Mapping[str, tuple[int, ...]]) -> str:
    """The shape of inputs in words: "(4,)", "image (3, 84, 84), speed (1,)"."""
    return ", ".join(f"{name} {part}" for name, part in shape.items()) if isinstance(shape, Mapping) else str(shape)
