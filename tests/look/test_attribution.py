"""Attributions of trained policies: sound where the answer is known, and different where the network is."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from agents.hdqn import plugin as hdqn
from agents.ppo import plugin as ppo
from rlkit.agent import ScoreFunction
from rlkit.errors import SpecError
from rlkit.look.attribution import METHODS, attribute, reduced
from rlkit.look.playing import Moment, load_for_looking, play, require_scores
from rlkit.nn.scores import actor_critic_scores, q_scores
from rlkit.runs.policy import LoadedPolicy
from rlkit.types import EnvSpec, Observation

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def seen(name: str) -> tuple[LoadedPolicy, list[Moment]]:
    """A policy of the repository, and the steps of an episode."""
    loaded, moments = load_for_looking(ROOT / "pretrained" / name), []
    play(loaded, 1, moments.append, render=False)
    return loaded, moments


@pytest.fixture(scope="module")
def cartpole() -> tuple[LoadedPolicy, list[Moment]]:
    return seen("cartpole")


@pytest.fixture(scope="module")
def breakout() -> tuple[LoadedPolicy, list[Moment]]:
    return seen("minatar-breakout")


def function_of(found: tuple[LoadedPolicy, list[Moment]], step: int = 20) -> tuple[ScoreFunction, torch.Tensor]:
    """The first score function at a step, and its input."""
    loaded, moments = found
    function = require_scores(loaded).score_functions(moments[step].observation, {})[0]
    return function, function.encode(torch.from_numpy(moments[step].observation.obs)).detach()


def exact(found: tuple[LoadedPolicy, list[Moment]]) -> tuple[ScoreFunction, torch.Tensor]:
    """The same in double precision: values are near 100."""
    function, inputs = function_of(found)
    double = copy.deepcopy(function.module).double()
    return replace(function, function=lambda x: double.head(double.encoder(x)), module=double), inputs.double()  # type: ignore[operator, union-attr]


def scores(function: ScoreFunction, inputs: torch.Tensor) -> float:
    """The score of the chosen output of the first row."""
    with torch.no_grad():
        return float(function.function(inputs, *function.context)[0, int(function.chosen[0])])


@pytest.mark.parametrize("method", METHODS)
def test_an_input_that_the_network_is_blind_to_has_no_attribution(method: Any, cartpole: Any) -> None:
    function, inputs = function_of(cartpole)
    mean = torch.tensor([0.1, -0.2, 0.05, 0.3])

    def blind(values: torch.Tensor) -> torch.Tensor:
        return function.function(values * torch.tensor([1.0, 1.0, 0.0, 1.0]))

    sighted = attribute(function, inputs, function.chosen, method, mean)
    masked = attribute(replace(function, function=blind), inputs, function.chosen, method, mean)
    assert (sighted.abs() > 1e-2).all(), "it sees all four numbers"
    assert abs(float(masked[0, 2])) < 1e-4, "rounding of values near 100"
    assert (masked[0, [0, 1, 3]] != 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_give_another_map(method: Any, breakout: Any) -> None:
    """Adebayo et al. 2018: a map that random weights do not change says nothing of the network."""
    function, inputs = function_of(breakout)
    other, _ = function_of(breakout)
    random = load_for_looking(ROOT / "pretrained" / "minatar-breakout")
    torch.manual_seed(1)
    for parameter in random.policy.network.parameters():  # type: ignore[attr-defined]
        nn.init.normal_(parameter, std=0.1)
    untrained = q_scores(random.policy.network, torch.zeros(1, 10, 10, 4), "values")  # type: ignore[attr-defined]
    mean = inputs[0] * 0

    def drawn(score: ScoreFunction) -> NDArray[np.float64]:
        return reduced(attribute(score, inputs, function.chosen, method, mean), method)[0].ravel()

    assert np.array_equal(drawn(function), drawn(other))
    assert np.corrcoef(drawn(function), drawn(untrained))[0, 1] < 0.7


def test_a_small_step_moves_the_value_as_the_gradient_predicts(cartpole: Any) -> None:
    function, inputs = exact(cartpole)
    gradient = attribute(function, inputs, function.chosen, "gradient", inputs[0])[0]
    for entry in range(4):
        for epsilon in (1e-5, -1e-5):
            moved = inputs.clone()
            moved[0, entry] += epsilon
            change = abs(scores(function, moved) - scores(function, inputs))
            assert change == pytest.approx(abs(epsilon) * float(gradient[entry]), rel=0.001)


def test_contributions_add_up_to_the_change_from_the_mean(cartpole: Any) -> None:
    function, inputs = exact(cartpole)
    mean = torch.tensor([0.5, 0.0, 0.1, 0.0], dtype=torch.float64)
    total = float(attribute(function, inputs, function.chosen, "integrated", mean).sum())
    assert total == pytest.approx(scores(function, inputs) - scores(function, mean[None]), rel=0.02)


def test_occlusion_is_the_fall_of_the_score(breakout: Any) -> None:
    function, inputs = function_of(breakout)
    mean = torch.full_like(inputs[0], 0.25)
    found = reduced(attribute(function, inputs, function.chosen, "occlusion", mean), "occlusion")[0]
    for row, column in ((9, 2), (8, 3), (2, 5)):
        hidden = inputs.clone()
        hidden[0, :, row, column] = 0.25
        assert found[row, column] == pytest.approx(scores(function, inputs) - scores(function, hidden), abs=1e-5)


def test_channels_and_one_hot_entries_are_combined() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # (1, 2, 1, 2)
    assert reduced(maps, "gradient").tolist() == [[[3.0, 2.0]]]
    assert reduced(maps, "integrated").tolist() == [[[4.0, 1.0]]]
    row, entries = torch.tensor([[1.0, 2.0, 5.0]]), np.array([0, 0, 1])
    assert reduced(row, "gradient", entries).tolist() == [[2.0, 5.0]]
    assert reduced(row, "occlusion", entries).tolist() == [[1.5, 5.0]]


def test_a_number_is_hidden_as_a_whole() -> None:
    """Its one-hot inputs together, not one after the other."""

    def function(inputs: torch.Tensor) -> torch.Tensor:
        return (inputs[:, :1] * 4 + inputs[:, 1:2] * 2 - 1).relu() + inputs[:, 2:]

    score = ScoreFunction(
        "values", (), np.zeros(1, np.int64), lambda obs: obs, function, nn.Linear(1, 1), (), np.array([0, 0, 1])
    )
    inputs, mean = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([0.25, 0.5, 0.5])
    found = reduced(attribute(score, inputs, score.chosen, "occlusion", mean), "occlusion", score.entries)
    assert found.tolist() == [[3.0 - 1.0, 0.5]]


def minigrid_spec() -> EnvSpec:
    import gymnasium as gym

    return EnvSpec(gym.spaces.Box(0, 255, (7, 7, 3), np.uint8), 3, 1)


def test_codes_are_attributed_by_their_learned_vectors() -> None:
    """Of the codes themselves, which are looked up, the gradient is nothing at all."""
    config = ppo.config(name="agents.ppo:plugin", network={"encoder": "cells"})
    policy = ppo.policy(config, minigrid_spec(), CPU)
    obs = np.random.default_rng(0).integers(0, 3, (2, 7, 7, 3)).astype(np.uint8)
    logits, value = policy.score_functions(Observation(obs, {}, np.ones(2, np.bool_)), {})
    inputs = logits.encode(torch.from_numpy(obs)).detach()
    assert inputs.shape == (2, 4, 7, 7)
    expected = policy.network(torch.from_numpy(obs))
    assert torch.allclose(logits.function(inputs), expected[:, :3])
    assert torch.allclose(value.function(inputs), expected[:, 3:])
    found = reduced(attribute(logits, inputs, logits.chosen, "gradient", inputs[0]), "gradient")
    assert (found > 0).all()


def test_goals_are_part_of_what_the_controller_is_asked() -> None:
    import gymnasium as gym

    spec = EnvSpec(gym.spaces.Discrete(6), 2, 2)
    policy = hdqn.policy(hdqn.config(name="agents.hdqn:plugin", goals={"name": "envs.goals.chain:States"}), spec, CPU)
    observation = Observation(np.array([1, 4]), {}, np.array([True, False]))
    state = {"goal": np.array([2, 2]), "age": np.array([3, 3])}
    controller, meta = policy.score_functions(observation, state)
    acted = policy.act(observation, state, np.random.default_rng(0), policy_mode())
    assert controller.chosen.tolist() == acted.action.tolist()
    assert meta.chosen.tolist() == acted.state["goal"].tolist()
    assert meta.labels == tuple(policy.goals.names)
    inputs = controller.encode(torch.from_numpy(observation.obs))
    found = controller.function(inputs, *controller.context)
    expected = policy.action_values(observation, state)
    assert np.allclose(found.detach().numpy(), expected)
    attributions = attribute(controller, inputs, controller.chosen, "integrated", inputs.mean(0))
    assert attributions.shape == inputs.shape


def policy_mode() -> Any:
    from rlkit.types import Mode

    return Mode.EVALUATE


def test_networks_that_are_not_supported_are_named() -> None:
    with pytest.raises(SpecError, match="a Linear is not supported"):
        q_scores(nn.Linear(2, 2), torch.zeros(1, 2), "values")
    with pytest.raises(SpecError, match="a Linear is not supported"):
        actor_critic_scores(nn.Linear(2, 2), torch.zeros(1, 2), 2)
