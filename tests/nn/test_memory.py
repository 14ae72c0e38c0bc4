"""Recurrent layers against a loop over single steps and environments, with cells of torch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rlkit.errors import ConfigError
from rlkit.nn.actor_critic import build_actor_critic
from rlkit.nn.config import MemoryConfig, NetworkConfig
from rlkit.nn.memory import Memory, RecurrentNetwork
from rlkit.nn.qnetwork import build_q_network, build_value_network
from rlkit.nn.summary import example, summarise

SPACE = Box(-1, 1, (3,), np.float32)


def one_by_one(
    memory: Memory, inputs: Tensor, state: Tensor, resets: Tensor, restart: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same as the memory, each sequence by itself and step by step."""
    lstm = isinstance(memory.cell, nn.LSTM)
    cell = (nn.LSTMCell if lstm else nn.GRUCell)(inputs.shape[2], memory.size)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in memory.cell.state_dict().items()})
    outputs, states = torch.zeros(*inputs.shape[:2], memory.size), torch.zeros_like(state)
    for number in range(inputs.shape[1]):
        own = state[number]
        for step in range(len(inputs)):
            if resets[step, number]:
                own = torch.zeros_like(own) if restart is None else restart[number]
            parts = own.split(memory.size)
            after = cell(inputs[step, number], parts if lstm else own)
            own = torch.cat(after) if lstm else after
            outputs[step, number] = own[: memory.size]
        states[number] = own
    return outputs, states


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(["gru", "lstm"]),
    steps=st.integers(1, 7),
    often=st.sampled_from([0.0, 0.2, 0.7]),
    restarts=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sequences_equal_single_steps(kind: Any, steps: int, often: float, restarts: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    memory = Memory(MemoryConfig(type=kind, size=4), 2)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    inputs, state = drawn(steps, 3, 2).requires_grad_(), drawn(3, memory.state_size)
    resets = torch.rand((steps, 3), generator=generator) < often
    restart = drawn(3, memory.state_size) if restarts else None
    weight = drawn(steps, 3, 4)
    found = []
    for outputs, after in (
        memory(inputs, state, resets, restart),
        one_by_one(memory, inputs, state, resets, restart),
    ):
        (grad,) = torch.autograd.grad((weight * outputs).sum(), inputs)
        found.append((outputs, after, grad))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("burn_in", [0, 2])
def test_burn_in_brings_the_state_up_to_date_without_gradients(burn_in: int) -> None:
    """Sequence 1 begins only at step 1, with a stored state, and what comes before is without meaning."""
    torch.manual_seed(0)
    config = NetworkConfig(hidden=(5,), input="raw", memory=MemoryConfig(size=4))
    network = build_value_network(config, SPACE, 2)
    assert isinstance(network, RecurrentNetwork)
    obs, state, resets = torch.randn(5, 2, 3), torch.randn(2, 4), torch.zeros(5, 2, dtype=torch.bool)
    resets[1, 1] = True
    rows = torch.tensor([3, 0])  # sequence 1 at the second step after the burn-in, sequence 0 at the first
    seen = obs.clone().requires_grad_()
    output = network(seen, state, resets, None, state, rows, burn_in)
    for row, (end, begin, number) in zip(output, ((burn_in + 2, 1, 1), (burn_in + 1, 0, 0)), strict=True):
        expected = network(obs[begin:end, number : number + 1], state[number : number + 1])[-1]
        torch.testing.assert_close(row, expected)
    (grad,) = torch.autograd.grad(output.sum(), seen)
    used = grad.abs().sum(2) > 0  # (T, B)
    expected_use = torch.zeros(5, 2, dtype=torch.bool)
    expected_use[burn_in : burn_in + 1, 0], expected_use[max(burn_in, 1) : burn_in + 2, 1] = True, True
    assert torch.equal(used, expected_use)


def test_a_memory_keeps_float32_where_layers_are_rounded() -> None:
    memory, inputs = Memory(MemoryConfig(size=4), 2), torch.randn(5, 3, 2)
    expected, _ = memory(inputs, torch.zeros(3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = memory(inputs, torch.zeros(3, 4))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_the_horizon_sets_how_long_units_remember(kind: Any) -> None:
    """With no inputs, a unit keeps a share of 1 - 1/u of its value per step, u uniform in 1..horizon - 1."""
    torch.manual_seed(0)
    cell = Memory(MemoryConfig(type=kind, size=2000, horizon=51), 1).cell
    bias = (cell.bias_ih_l0 + cell.bias_hh_l0).detach().view(-1, 2000)
    forgetting = 1 - torch.sigmoid(bias[1])  # GRU: reset, update, new; LSTM: input, forget, cell, output
    steps = 1 / forgetting - 1
    assert steps.min() >= 0.99
    assert steps.max() <= 50.01
    assert steps.mean().item() == pytest.approx(25.5, abs=1.0)
    if kind == "lstm":
        torch.testing.assert_close(torch.sigmoid(bias[0]), forgetting)


def test_where_the_memory_stands() -> None:
    """Hidden layers, memory, output; of a dueling network the streams come after the memory."""
    config = NetworkConfig(hidden=(5, 6), normalisation="layer", memory=MemoryConfig(size=7, last_action=True))
    network = build_value_network(config, SPACE, 2)
    rows = summarise(network, *example(network, SPACE))
    assert [row.kind for row in rows if row.parameters] == [
        "linear 5", "LayerNorm", "linear 6", "LayerNorm", "GRU 7", "linear 2"
    ]  # fmt: skip
    assert [row.shape for row in rows if row.kind == "GRU 7"] == [(7,)]
    assert [row.multiply_adds for row in rows if row.kind == "GRU 7"] == [3 * 7 * (6 + 2 + 7)]
    dueling = build_value_network(config.model_copy(update={"dueling": True}), SPACE, 2)
    kinds = [row.kind for row in summarise(dueling, *example(dueling, SPACE)) if "Norm" not in row.kind]
    assert [kind for kind in kinds if kind not in ("Flat", "ReLU", "Scaled", "Measured")] == [
        "linear 5", "GRU 7", "linear 6", "linear 1", "linear 6", "linear 2"
    ]  # fmt: skip


def test_orthogonal_initialisation_is_by_gates() -> None:
    config = NetworkConfig(hidden=(4,), memory=MemoryConfig(type="lstm", size=6))
    network = build_actor_critic(config, SPACE, 2, 1, separate=True, orthogonal=True)
    assert isinstance(network, RecurrentNetwork)
    for body in network.bodies:
        for gate in body.memory.cell.weight_hh_l0.view(4, 6, 6):
            torch.testing.assert_close(gate @ gate.T, torch.eye(6), atol=1e-5, rtol=0)
    logits, value = (body.output.weight for body in network.bodies)
    assert [row.detach().norm().item() for row in (logits[0], value[0])] == pytest.approx([0.01, 1.0])


def test_who_keeps_no_state_is_refused_a_memory() -> None:
    with pytest.raises(ConfigError, match=r"network.memory: this agent does not keep the state of a memory"):
        build_q_network(NetworkConfig(memory=MemoryConfig()), SPACE, 2)
