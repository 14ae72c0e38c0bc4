"""The two Q-networks: one value for each goal, and one for each action under a goal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from agents.hdqn.config import ControllerNetworkConfig
from rlkit.errors import SpecError
from rlkit.goals import GoalSpace
from rlkit.nn.config import NetworkConfig
from rlkit.nn.encoders import build_encoder, default_hidden, output_size
from rlkit.nn.heads import q_head, values_of
from rlkit.nn.layers import LayerFactory
from rlkit.nn.qnetwork import QNetwork, build_q_network, refuse_idle, table_from_zero
from rlkit.nn.structured import Inputs, build_inputs, observed
from rlkit.types import EnvSpec


class GoalQNetwork(nn.Module):
    """Observations (B, *O) and goals (B,) -> an output (B, ...), of which `values` makes action values (B, A)."""

    def __init__(self, inputs: Inputs, encoder: nn.Module, head: nn.Module, codes: Tensor | None, actions: int) -> None:
        """codes: (G, K) vectors, (G, H, W) masks, or None if the head has values for all goals, (B, G * A)."""
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder
        self.head = head
        self._num_actions = actions
        self._values = values_of(head)
        self.codes: Tensor | None
        self.register_buffer("codes", codes, persistent=False)  # follows from the goal space
        self.masked = codes is not None and codes.dim() == 3  # goals are planes of the encoder's input

    def forward(self, obs: Tensor, goal: Tensor) -> Tensor:
        return self.of_inputs(self.inputs(obs), goal)

    def of_inputs(self, values: Tensor, goal: Tensor) -> Tensor:
        """The output (B, ...) of what the input layer returns, (B, *F), and goals (B,)."""
        if self.codes is not None and self.masked:
            values = torch.cat((values, self.codes[goal].unsqueeze(1)), 1)
        return self.of_features(self.encoder(values), goal)

    def of_features(self, features: Tensor, goal: Tensor) -> Tensor:
        """The output (B, ...) of the encoder's features (B, F), and goals (B,)."""
        if self.codes is not None and not self.masked:
            features = torch.cat((features, self.codes[goal]), 1)
        q: Tensor = self.head(features)
        if self.codes is None:
            batch = q.shape[0]  # not len(q), which torch.export takes for a constant
            q = q.view(batch, -1, self._num_actions, *q.shape[2:])[torch.arange(batch, device=q.device), goal]
        return q

    def values(self, output: Tensor) -> Tensor:
        """Action values (B, A) of an output (B, ...), which is the action values unless the head has `values`."""
        return self._values(output)


def controller_network(config: ControllerNetworkConfig, spec: EnvSpec, goals: GoalSpace) -> GoalQNetwork:
    """Q1 with fresh parameters. Raises SpecError if masks do not fit the images, ConfigError as Q2 does."""
    inputs, chosen = build_inputs(config, observed(spec))
    factory = LayerFactory.of(config)
    count, shape = len(goals.names), inputs.shape
    codes = torch.from_numpy(np.array(goals.encode(np.arange(count)))) if config.goal == "input" else None
    if codes is not None and codes.dim() == 3:
        if not isinstance(shape, tuple) or len(shape) != 3 or shape[1:] != tuple(codes.shape[1:]):
            raise SpecError(f"goal masks of {tuple(codes.shape[1:])} do not fit inputs of shape {shape} (C, H, W)")
        shape = (shape[0] + 1, *shape[1:])
    encoder = build_encoder(chosen.encoder, shape, factory)
    features = output_size(encoder) + (codes.shape[1] if codes is not None and codes.dim() == 2 else 0)
    hidden = default_hidden(chosen.encoder) if config.hidden is None else config.hidden
    outputs = spec.num_actions * (count if codes is None else 1)
    if codes is None and config.dueling:
        raise SpecError('controller.network: dueling streams need goal = "input"; heads would share one mean advantage')
    head = q_head(features, hidden, outputs, factory, dueling=config.dueling)
    refuse_idle(chosen)
    return table_from_zero(GoalQNetwork(inputs, encoder, head, codes, spec.num_actions).eval())


def meta_network(config: NetworkConfig, spec: EnvSpec, goals: GoalSpace) -> QNetwork:
    """Q2 with fresh parameters."""
    return build_q_network(config, observed(spec), len(goals.names))
