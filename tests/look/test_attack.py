"""Attacks: what a change of size 0, small ones and those of the gradient's sign do, on a trained policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.dqn import plugin as dqn
from helpers.command import call
from rlkit.agent import ScoreFunction
from rlkit.errors import SpecError
from rlkit.look.attack import ATTACKS, Attacked, Bounds, Perturbation, loss, smallest_change
from rlkit.look.playing import load_for_looking
from rlkit.types import EnvSpec, Mode, Observation

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cartpole() -> Any:
    return load_for_looking(ROOT / "pretrained" / "cartpole")


def states(count: int) -> Any:
    return np.random.default_rng(0).uniform(-0.1, 0.1, (count, 4)).astype(np.float32)


def observed(obs: Any) -> Observation:
    return Observation(obs, {}, np.zeros(len(obs), np.bool_))


def perturbed(loaded: Any, kind: Any, epsilon: float, obs: Any) -> Any:
    function = loaded.policy.score_functions(observed(obs), {})[0]
    change = Perturbation(kind, epsilon, Bounds.of(loaded.spec), np.random.default_rng(0))
    return function, change(function, torch.from_numpy(obs)).numpy()


@pytest.mark.parametrize("kind", ATTACKS)
def test_changes_are_as_large_as_they_may_be_and_none_at_0(kind: Any, cartpole: Any) -> None:
    obs = states(50)
    assert np.array_equal(perturbed(cartpole, kind, 0.0, obs)[1], obs)
    size = np.abs(perturbed(cartpole, kind, 0.02, obs)[1] - obs)
    assert size.max() <= 0.02 + 1e-6
    assert np.quantile(size, 0.9) > 0.019


def test_attacks_change_actions_where_noise_of_the_same_size_does_not(cartpole: Any) -> None:
    obs = states(300)
    changed = {}
    for kind in ATTACKS:
        function, found = perturbed(cartpole, kind, 0.01, obs)
        acted = cartpole.policy.act(observed(found), {}, np.random.default_rng(0), Mode.EVALUATE).action
        changed[kind] = float((acted != function.chosen).mean())
    assert changed["noise"] < 0.7 * changed["sign"]
    assert changed["pgd"] >= changed["sign"] - 0.02


def test_the_smallest_change_is_just_enough(cartpole: Any) -> None:
    bounds = Bounds.of(cartpole.spec)
    for row in states(5):
        function = cartpole.policy.score_functions(observed(row[None]), {})[0]
        epsilon = smallest_change(function, torch.from_numpy(row[None]), bounds, 0.4)
        assert epsilon is not None
        for size, same in ((epsilon, False), (0.9 * epsilon - 0.4 / 512, True)):
            if size > 0:
                found = perturbed(cartpole, "sign", size, row[None])[1]
                assert (cartpole.policy.values(found).argmax() == function.chosen[0]) == same
    assert smallest_change(function, torch.from_numpy(row[None]), bounds, 1e-7) is None


def test_the_loss_is_that_of_the_action_for_scores_of_any_size() -> None:
    for scale in (1e-4, 1.0, 1e6):
        scores = (torch.tensor([[-3.0, -1.0], [5.0, 9.0]]) * scale).requires_grad_()
        values = loss(scores, torch.tensor([1, 1]))
        assert values.tolist() == pytest.approx([np.log(1 + np.exp(-2))] * 2)
        (gradient,) = torch.autograd.grad(values.sum(), scores)
        assert (gradient[:, 0] > 0).all()
        assert (gradient[:, 1] < 0).all()


def test_pixels_are_counted_in_grey_levels_and_stay_in_their_range() -> None:
    spec = EnvSpec(gym.spaces.Box(0, 255, (1, 40, 40), np.uint8), 3, 1)
    bounds = Bounds.of(spec)
    assert bounds.unit == "1/255"
    policy = dqn.policy(dqn.config(name="agents.dqn:plugin", network={"encoder": "nature"}), spec, CPU)
    obs = np.random.default_rng(0).choice([0, 255], (2, 1, 40, 40)).astype(np.uint8)
    seen: list[Any] = []
    act, rng = policy.act, np.random.default_rng(0)
    policy.act = lambda observation, *rest: seen.append(observation.obs) or act(observation, *rest)  # type: ignore[method-assign,assignment,func-returns-value]
    Attacked(policy, Perturbation("sign", 0.5, bounds, rng)).act(observed(obs), {}, rng, Mode.EVALUATE)
    change = np.abs(seen[0] - obs)
    assert set(np.unique(change).tolist()) == {0.0, 0.5}
    assert seen[0].min() == 0
    assert seen[0].max() == 255


@pytest.mark.parametrize("kind", ["sign", "pgd"])
def test_flat_scores_are_attacked_too(kind: Any) -> None:
    """captum leaves entries alone whose gradient is below 1e-6."""
    bounds = Bounds(torch.full((2,), -9.0), torch.full((2,), 9.0), "units of the observation")

    def function(obs: torch.Tensor) -> torch.Tensor:
        return torch.stack([1.0 + 1e-8 * obs.sum(1), 0.0 * obs.sum(1)], 1)

    score = ScoreFunction("values", (), np.zeros(1, np.int64), lambda obs: obs, function, torch.nn.Linear(1, 1))
    found = Perturbation(kind, 0.5, bounds, np.random.default_rng(0))(score, torch.zeros(1, 2))
    assert found.tolist() == [[-0.5, -0.5]]


def test_observations_without_small_changes_are_refused() -> None:
    with pytest.raises(SpecError, match="cannot be changed a little"):
        Bounds.of(EnvSpec(gym.spaces.Discrete(3), 2, 1))
    spec = EnvSpec(gym.spaces.Box(0, 255, (7, 7, 3), np.uint8), 3, 1)
    policy = dqn.policy(dqn.config(name="agents.dqn:plugin"), spec, CPU)
    obs = observed(np.ones((1, 7, 7, 3), np.uint8))
    change = Perturbation("sign", 1.0, Bounds.of(spec), np.random.default_rng(0))
    with pytest.raises(SpecError, match="are codes"):
        change(policy.score_functions(obs, {})[0], torch.ones(1, 7, 7, 3))


def test_from_the_command_line(tmp_path: Path) -> None:
    words = ["attack", ROOT / "pretrained" / "cartpole", "--out", tmp_path / "a.png", "--json", tmp_path / "a.json"]
    done = call(*words, "--epsilon", "0.3,0", "--episodes", 2, "--steps", 40)
    assert done.exit_code == 0, done.output
    assert "first 40 steps" in done.output
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["epsilon"] == [0.0, 0.3]
    assert {rows[0][0] for rows in found["returns"].values()} == {40.0}
    assert np.mean(found["returns"]["PGD, 10 steps"][1]) < 40
    assert (tmp_path / "a.png").stat().st_size < 100_000
    assert "is no list of numbers" in call(*words, "--epsilon", "1,x").output
