"""Heads: from an encoder's features to an output for each action."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rlkit.nn.layers import LayerFactory


def dense(inputs: int, hidden: Sequence[int], outputs: int, factory: LayerFactory | None = None) -> nn.Sequential:
    """Fully connected layers (by default with ReLU between them), linear at the end: (B, inputs) -> (B, outputs)."""
    factory = factory or LayerFactory()
    layers: list[nn.Module] = []
    for number, size in enumerate(hidden, 1):
        layers += factory.linear(inputs, size, last=number == len(hidden))
        inputs = size
    return nn.Sequential(*layers, factory.output(inputs, outputs))


class DuelingHead(nn.Module):
    """q = value + advantage - mean(advantage), Wang et al. 2016, equation 9: (B, inputs) -> (B, A).

    All hidden layers except the last are shared; each stream has a last hidden layer of its own, as in the paper.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], num_actions: int, factory: LayerFactory | None = None
    ) -> None:
        super().__init__()
        factory = factory or LayerFactory()
        shared, streams = tuple(hidden[:-1]), tuple(hidden[-1:])
        self.shared = nn.Sequential()
        for size in shared:
            self.shared.extend(factory.linear(inputs, size))
            inputs = size
        self.value = dense(inputs, streams, 1, factory)
        self.advantage = dense(inputs, streams, num_actions, factory)

    def forward(self, features: Tensor) -> Tensor:
        features = self.shared(features)
        value: Tensor = self.value(features)  # (B, 1)
        advantage: Tensor = self.advantage(features)  # (B, A)
        return value + advantage - advantage.mean(1, keepdim=True)


def q_head(inputs: int, hidden: Sequence[int], num_actions: int, factory: LayerFactory, *, dueling: bool) -> nn.Module:
    """The fully connected part of a Q-network, (B, inputs) -> (B, A)."""
    make = DuelingHead if dueling else dense
    return make(inputs, hidden, num_actions, factory)


def values_of(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """The `values` of a head or network, from its output (B, ...) to action values (B, A); without it the identity."""
    values: Callable[[Tensor], Tensor] = getattr(module, "values", _identity)
    return values


def _identity(output: Tensor) -> Tensor:
    return output
