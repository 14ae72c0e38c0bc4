"""The output of a small network, computed by NumPy on the memory of its parameters.

For one observation, or a few, a call of torch costs more than the arithmetic of a small layer: 23 µs against 7 for
CartPole's network. Sums may round differently from torch's; equal inputs give equal results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.nn.actor_critic import ActorCritic
from rlkit.nn.conversions import Measured, Scaled
from rlkit.nn.encoders import Flat
from rlkit.nn.inputs import InputLayer
from rlkit.nn.qnetwork import QNetwork

LARGEST = 2**18  # multiply-adds of a layer for all observations; above, torch is used, whose threads are controlled


class HostNetwork:
    """A network of linear layers with ReLU or tanh between them, for observations that are vectors, on the CPU.

    Of several networks over the same inputs the outputs are concatenated.
    """

    def __init__(
        self, scaled: Scaled | Measured, chains: Sequence[Sequence[nn.Linear]], activation: type[nn.Module]
    ) -> None:
        """chains: the linear layers of each network."""
        self._scaled = scaled
        self._chains = chains
        self._activate = np.tanh if activation is nn.Tanh else partial(np.maximum, 0.0)
        self._size = max(layer.weight.numel() for layers in chains for layer in layers)
        self._bind()

    @classmethod
    def of(cls, network: QNetwork | ActorCritic) -> Self | None:
        """The same function, or None if the network has other layers, other `values`, or lies on another device."""
        inputs, known = network.inputs, type(network) in (QNetwork, ActorCritic)
        if not known or not isinstance(inputs, InputLayer) or inputs.joined or len(inputs.shape) != 1:
            return None
        if not isinstance(inputs.values, Scaled | Measured):
            return None
        chains, activations = [], set()
        for encoder, *parts in _bodies(network):
            linear, between = parts[::2], parts[1::2]
            plain = type(encoder) is Flat and len(linear) == len(between) + 1
            if not plain or any(type(part) is not nn.Linear or part.weight.device.type != "cpu" for part in linear):
                return None
            chains.append(linear)
            activations |= {type(part) for part in between}
        if len(activations) > 1 or not activations <= {nn.ReLU, nn.Tanh}:
            return None
        return cls(inputs.values, chains, next(iter(activations), nn.ReLU))  # type: ignore[arg-type]

    def _bind(self) -> None:
        """Reads the current arrays of the parameters, which a learner moves into one vector."""
        self._arrays = [[(_array(layer.weight).T, _array(layer.bias)) for layer in layers] for layers in self._chains]
        self._shift, self._factor = (
            None if each is None else _array(each) for each in (self._scaled.shift, self._scaled.factor)
        )
        self._address = self._chains[0][0].weight.data_ptr()

    def supports(self, count: int) -> bool:
        """Whether to use this for `count` observations at once."""
        return count * self._size <= LARGEST

    def __call__(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        """The network's output (N, ...) for raw observations (N, *O)."""
        if self._chains[0][0].weight.data_ptr() != self._address:
            self._bind()
        inputs: NDArray[np.float32] = obs.astype(np.float32, copy=False)
        if self._shift is not None:
            inputs = inputs - self._shift
        if self._factor is not None:
            inputs = inputs * self._factor
        outputs = [self._through(inputs, layers) for layers in self._arrays]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)

    def _through(
        self, values: NDArray[np.float32], layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]
    ) -> NDArray[np.float32]:
        *hidden, (weight, bias) = layers
        for matrix, offset in hidden:
            values = values @ matrix
            values += offset
            self._activate(values, out=values)
        values = values @ weight
        values += bias
        return values


def _bodies(network: QNetwork | ActorCritic) -> Iterator[list[nn.Module]]:
    """The encoder and the following layers of each network over the same inputs; no layers for other heads."""
    if isinstance(network, ActorCritic):
        yield from (list(body.children()) for body in network.bodies)
    else:
        yield [network.encoder, *(network.head if type(network.head) is nn.Sequential else [])]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().numpy()
    return array
