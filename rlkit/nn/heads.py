"""From features to one value for each action."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def dense(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Fully connected layers with ReLU between them, linear at the end: (B, inputs) -> (B, outputs)."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.ReLU()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class DuelingHead(nn.Module):
    """q = value + advantage - mean(advantage), Wang et al. 2016, equation 9: (B, inputs) -> (B, A).

    All hidden layers but the last are shared; the last one is there twice, once for each stream, as in the paper.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], num_actions: int) -> None:
        super().__init__()
        shared, streams = tuple(hidden[:-1]), tuple(hidden[-1:])
        self.shared = nn.Sequential()
        for size in shared:
            self.shared.extend([nn.Linear(inputs, size), nn.ReLU()])
            inputs = size
        self.value = dense(inputs, streams, 1)
        self.advantage = dense(inputs, streams, num_actions)

    def forward(self, features: Tensor) -> Tensor:
        features = self.shared(features)
        value: Tensor = self.value(features)  # (B, 1)
        advantage: Tensor = self.advantage(features)  # (B, A)
        return value + advantage - advantage.mean(1, keepdim=True)


def q_head(inputs: int, hidden: Sequence[int], num_actions: int, *, dueling: bool) -> nn.Module:
    """The fully connected part of a Q-network, (B, inputs) -> (B, A)."""
    return DuelingHead(inputs, hidden, num_actions) if dueling else dense(inputs, hidden, num_actions)
