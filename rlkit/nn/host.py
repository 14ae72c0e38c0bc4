"""Action values of a small network, computed by NumPy on the memory of its parameters.

For one observation, or a few, a call of torch costs more than the arithmetic of a small layer: 23 µs against 7 for
CartPole's network. Sums may round differently from torch's; equal inputs give equal results.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.nn.conversions import Scaled, Standardised
from rlkit.nn.encoders import Flat
from rlkit.nn.qnetwork import QNetwork

LARGEST = 2**18  # multiply-adds of a layer for all observations; above, torch is used, whose threads are controlled


class HostNetwork:
    """A network of linear layers with ReLU between them, for observations that are vectors, on the CPU."""

    def __init__(self, scaled: Scaled | Standardised, layers: list[nn.Linear]) -> None:
        self._scaled = scaled
        self._layers = layers
        self._size = max(layer.weight.numel() for layer in layers)
        self._bind()

    @classmethod
    def of(cls, network: QNetwork) -> Self | None:
        """The same function, or None if the network has other layers, other `values`, or lies on another device."""
        inputs, head = network.inputs, network.head
        parts = list(head) if type(head) is nn.Sequential else []
        expected = [nn.Linear, *[nn.ReLU, nn.Linear] * (len(parts) // 2)]
        plain = (
            type(network) is QNetwork
            and type(network.encoder) is Flat
            and isinstance(inputs.values, Scaled | Standardised)
            and len(inputs.shape) == 1
        )
        if not plain or [type(part) for part in parts] != expected or parts[0].weight.device.type != "cpu":
            return None
        return cls(inputs.values, parts[::2])  # type: ignore[arg-type]

    def _bind(self) -> None:
        """Reads the current arrays of the parameters, which a learner moves into one vector."""
        self._arrays = [(_array(layer.weight).T, _array(layer.bias)) for layer in self._layers]
        self._shift, self._factor = (
            None if each is None else _array(each) for each in (self._scaled.shift, self._scaled.factor)
        )
        self._address = self._layers[0].weight.data_ptr()

    def supports(self, count: int) -> bool:
        """Whether to use this for `count` observations at once."""
        return count * self._size <= LARGEST

    def __call__(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        """Action values (N, A) of raw observations (N, *O)."""
        if self._layers[0].weight.data_ptr() != self._address:
            self._bind()
        values: NDArray[np.float32] = obs.astype(np.float32, copy=False)
        if self._shift is not None:
            values = values - self._shift
        if self._factor is not None:
            values = values * self._factor
        *hidden, (weight, bias) = self._arrays
        for matrix, offset in hidden:
            values = values @ matrix
            values += offset
            np.maximum(values, 0.0, out=values)
        values = values @ weight
        values += bias
        return values


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().numpy()
    return array
