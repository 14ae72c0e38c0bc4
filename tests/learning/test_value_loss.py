"""Distributional losses and networks of somebody else's, written against the public interface alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit import (
    GradientSettings,
    LayerFactory,
    LearnerSettings,
    LossOutput,
    Mode,
    Networks,
    Observation,
    OptimizerConfig,
    QLearner,
    QLoss,
    QNetwork,
    TargetConfig,
    Transitions,
    ValueLoss,
    build_encoder,
    build_input,
    load_parameters,
)
from rlkit.exploration.q_policy import QPolicy
from rlkit.testing.states import difference, snapshot

SUPPORT = torch.linspace(0.0, 2.0, 5)  # (K,)


class AtomHead(nn.Module):
    """Features (B, F) -> logits of the atoms, (B, A, K)."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, actions * len(SUPPORT), bias=False)
        nn.init.zeros_(self.layer.weight)

    def forward(self, features: Tensor) -> Tensor:
        return self.layer(features).unflatten(1, (-1, len(SUPPORT)))

    def values(self, output: Tensor) -> Tensor:
        return (output.softmax(2) * SUPPORT).sum(2)


@dataclass(frozen=True)
class CategoricalLoss:
    """Bellemare et al. 2017, Algorithm 1; an adjustment moves the distribution of the chosen action."""

    double: bool = False
    random: bool = False

    def __call__(self, networks: Networks, batch: Transitions, rng: torch.Generator) -> LossOutput:
        rows = torch.arange(len(batch.action))
        output = networks.learn(*batch.obs)  # (B, A, K)
        target = networks.target(*batch.next_obs)  # (B, A, K)
        values = networks.values(target)  # (B, A)
        selector = networks.values(networks.online(*batch.next_obs)) if self.double else values
        chosen = batch.adjust(selector).argmax(1)  # (B,)
        moved = SUPPORT + (batch.adjust(values) - values)[rows, chosen, None]  # (B, K)
        moved = (batch.reward[:, None] + batch.discount[:, None] * moved).clamp(SUPPORT[0], SUPPORT[-1])
        share = (1 - (moved[:, :, None] - SUPPORT).abs() / (SUPPORT[1] - SUPPORT[0])).clamp(min=0)  # (B, K, K)
        projected = (target.softmax(2)[rows, chosen, :, None] * share).sum(1)  # (B, K)
        log_p = output[rows, batch.action].log_softmax(1)  # (B, K)
        loss = -(projected * log_p).sum(1)  # (B,)
        grad = torch.zeros_like(output)
        grad[rows, batch.action] = (batch.weight / len(rows))[:, None] * (log_p.exp() - projected)
        return LossOutput(output, grad, loss, lambda: {"loss/cross_entropy": (batch.weight * loss).mean()})


def atoms(states: int = 2) -> QNetwork:
    inputs = build_input(gym.spaces.Discrete(states))
    return QNetwork(inputs, build_encoder("mlp", (states,), LayerFactory()), AtomHead(states, 2))


def settings(loss: ValueLoss, every: int = 10, **changes: Any) -> LearnerSettings:
    gradient = GradientSettings(**({"learning_rate": 0.1, "optimizer": OptimizerConfig()} | changes))
    return LearnerSettings(gradient, TargetConfig(every=every), loss)


def batch(rows: list[tuple[int, int, float, float, int]], adjustment: Any = None) -> Transitions:
    """rows: (state, action, reward, discount, next state)."""
    obs, action, reward, discount, next_obs = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Transitions((obs,), action, reward, discount, (next_obs,), torch.ones(len(rows)), adjustment)


def test_a_categorical_loss_learns_the_distributions_of_returns() -> None:
    network = atoms()
    learner = QLearner(network, settings(CategoricalLoss(), learning_rate=0.2))
    every = batch(
        [
            (0, 0, 0.5, 0.0, 0),
            (0, 1, 0.0, 0.5, 1),  # half of what state 1 gives
            (1, 0, 0.0, 0.0, 0),
            (1, 0, 2.0, 0.0, 0),  # or 0: the mean, 1, is what makes this action the better one
            (1, 1, 0.75, 0.0, 0),  # between two atoms
        ]
    )
    first = learner.update(every)
    for _ in range(200):
        learner.update(every)
    output = network(torch.arange(2))
    half = 0.5
    expected = [[[0, 1, 0, 0, 0], [half, 0, half, 0, 0]], [[half, 0, 0, 0, half], [0, half, half, 0, 0]]]
    torch.testing.assert_close(output.softmax(2), torch.tensor(expected), atol=0.02, rtol=0)
    torch.testing.assert_close(network.values(output), torch.tensor([[0.5, 0.5], [1.0, 0.75]]), atol=0.02, rtol=0)
    assert first.priority.tolist() == pytest.approx([np.log(5)] * 5)  # the cross entropy with the uniform distribution
    assert {"loss/cross_entropy", "q/mean", "q/max", "gradient/norm"} == first.metrics.keys()
    assert first.metrics["q/mean"].item() == first.metrics["q/max"].item() == pytest.approx(1.0)  # values, not logits


@pytest.mark.parametrize(
    ("double", "added", "expected"),
    [
        (False, None, 1.0),  # half of 2
        (True, None, 0.5),  # half of the 1 that the target network gives to the online network's choice
        (False, (0.0, 2.0), 1.5),  # half of 1 + 2
        (True, (0.0, -np.inf), 1.0),  # the online network's choice is masked
    ],
)
def test_double_and_adjustments_see_values(double: bool, added: tuple[float, float] | None, expected: float) -> None:
    network = atoms()
    learner = QLearner(network, settings(CategoricalLoss(double), every=10_000))
    for each, means in ((network, [0.0, 2.0]), (learner.target, [2.0, 1.0])):
        with torch.no_grad():
            certain = 30.0 * (torch.tensor(means)[:, None] == SUPPORT)  # (A, K)
            each.get_parameter("head.layer.weight")[:, 1].copy_(certain.flatten())  # of state 1
    adjustment = None if added is None else lambda values: values + torch.tensor(added)
    for _ in range(100):
        learner.update(batch([(0, 0, 0.0, 0.5, 1)], adjustment))
    p = network(torch.zeros(1, dtype=torch.int64)).softmax(2)[0, 0]
    assert p[expected == SUPPORT].item() > 0.98


def test_policies_act_on_values() -> None:
    network = atoms(3)
    with torch.no_grad():
        network.get_parameter("head.layer.weight").copy_(torch.randn(10, 3, generator=torch.Generator().manual_seed(0)))
    policy = QPolicy(network, 2, torch.device("cpu"), None)
    observation = Observation(np.arange(3), {}, np.zeros(3, np.bool_))
    values = network.values(network(torch.arange(3))).detach().numpy()  # (N, A)
    np.testing.assert_array_equal(policy.action_values(observation, {}), values)
    action = policy.act(observation, {}, np.random.default_rng(0), Mode.EVALUATE).action
    np.testing.assert_array_equal(action, values.argmax(1))
    assert len(set(action.tolist())) == 2


class FractionNetwork(nn.Module):
    """One-hot states (B, S) and fractions (B, N) -> quantiles (B, N, A), linear in the fraction."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.slope = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, obs: Tensor, fractions: Tensor | None = None) -> Tensor:
        fractions = torch.full((len(obs), 1), 0.5) if fractions is None else fractions
        return self.level(obs)[:, None] + fractions[:, :, None] * self.slope(obs)[:, None]

    def values(self, output: Tensor) -> Tensor:
        return output.mean(1)


@dataclass(frozen=True)
class ImplicitQuantileLoss:
    """Dabney et al. 2018 without Huber's smoothing: fractions are drawn, the gradient is autograd's."""

    random: bool = True

    def __call__(self, networks: Networks, batch: Transitions, rng: torch.Generator) -> LossOutput:
        rows, (count, draws) = torch.arange(len(batch.action)), (len(batch.action), 8)
        fractions, next_fractions = torch.rand(2, count, draws, generator=rng)
        output = networks.learn(*batch.obs, fractions)  # (B, N, A)
        target = networks.target(*batch.next_obs, next_fractions)  # (B, N', A)
        chosen = batch.adjust(networks.values(target)).argmax(1)
        goal = batch.reward[:, None] + batch.discount[:, None] * target[rows, :, chosen]  # (B, N')
        with torch.enable_grad():
            error = goal[:, None] - output[rows, :, batch.action][:, :, None]  # (B, N, N')
            loss = (error * (fractions[:, :, None] - (error < 0).float())).mean(2).sum(1)  # (B,)
            grad = torch.autograd.grad((batch.weight * loss).mean(), output)[0]
        return LossOutput(output, grad, loss.detach(), dict)


def uniform_rewards(number: int) -> Transitions:
    """Rewards of state 0 spread evenly over [0, 2]; state 1 leads to state 0 and bootstraps half of it."""
    eye, size = torch.eye(2), 32
    state = torch.arange(size) % 2
    reward = torch.where(state == 0, (torch.arange(size) + number * 0.618) % 16 / 8, 0.0)
    discount = torch.where(state == 0, 0.0, 0.5)
    zero = torch.zeros(size, dtype=torch.int64)
    return Transitions(
        (eye[state],), zero, reward, discount, (eye[zero],), torch.ones(size), lambda q: q * q.new([1, 0])
    )


def test_a_loss_may_draw_arguments_of_the_network() -> None:
    network = FractionNetwork()
    stream = torch.Generator().manual_seed(0)
    learner = QLearner(network, settings(ImplicitQuantileLoss(), learning_rate=0.02), stream)
    for number in range(600):
        learner.update(uniform_rewards(number))
    quantiles = network(torch.eye(2), torch.tensor([[0.1, 0.5, 0.9]] * 2))[:, :, 0]
    expected = torch.tensor([[0.2, 1.0, 1.8], [0.1, 0.5, 0.9]])  # of uniform distributions on [0, 2] and [0, 1]
    torch.testing.assert_close(quantiles.detach(), expected, atol=0.1, rtol=0)


def test_the_stream_of_a_random_loss_is_part_of_the_state() -> None:
    learners, networks = [], []
    for seed in (0, 1):
        networks.append(FractionNetwork())
        learners.append(QLearner(networks[-1], settings(ImplicitQuantileLoss()), torch.Generator().manual_seed(seed)))
    saved: Any = None
    for number in range(8):
        if number == 4:
            saved = snapshot({"network": dict(networks[0].state_dict()), "learner": learners[0].state_dict()})
        learners[0].update(uniform_rewards(number))
    load_parameters(networks[1], saved["network"], "it")
    learners[1].load_state_dict(saved["learner"])
    for number in range(4, 8):
        learners[1].update(uniform_rewards(number))
    assert difference(dict(networks[0].state_dict()), dict(networks[1].state_dict())) is None
    assert difference(learners[0].state_dict(), learners[1].state_dict()) is None
    with pytest.raises(ValueError, match="ImplicitQuantileLoss draws random numbers"):
        QLearner(FractionNetwork(), settings(ImplicitQuantileLoss()))


@pytest.mark.parametrize("loss", [QLoss("huber"), CategoricalLoss()])
def test_a_loss_that_draws_nothing_adds_nothing_to_the_state(loss: ValueLoss) -> None:
    """Runs of version 0.1.0 resume."""
    assert list(QLearner(atoms(), settings(loss), torch.Generator()).state_dict()) == ["target", "optimizer", "updates"]


class HastyLoss:
    """Evaluates the online network before it learns, from the second update on."""

    random = False
    calls = 0

    def __call__(self, networks: Networks, batch: Transitions, rng: torch.Generator) -> LossOutput:
        self.calls += 1
        if self.calls > 1:
            networks.online(*batch.next_obs)
        return QLoss("huber")(networks, batch, rng)


def test_the_order_in_which_normalised_weights_can_be_shared_is_demanded() -> None:
    learner = QLearner(nn.Linear(2, 2), settings(HastyLoss()))
    learner.update(uniform_rewards(0))
    with pytest.raises(RuntimeError, match=r"HastyLoss must call networks\.learn before networks\.online"):
        learner.update(uniform_rewards(1))
