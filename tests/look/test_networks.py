"""Score functions of all kinds of networks: the scores are those by which the policy acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents import dqn, hdqn, ppo, pqn
from rlkit.agent import HasScores, ScoreFunction
from rlkit.errors import SpecError
from rlkit.look.attack import Attacked, Bounds, Perturbation, acting, loss, smallest_change
from rlkit.look.attribution import METHODS, attribute, reduced
from rlkit.look.probe import layers_of
from rlkit.look.samples import Samples
from rlkit.nn.scores import shown_entries
from rlkit.structure import Structure
from rlkit.types import ACTION_MASK, ArraySpec, EnvSpec, Mode, Observation

CPU = torch.device("cpu")
VECTOR = EnvSpec(gym.spaces.Box(-5, 5, (4,), np.float32), 3, 2)
VIEW = EnvSpec(gym.spaces.Box(0, 255, (5, 5, 3), np.uint8), 3, 2)
DICT = Structure.of(
    gym.spaces.Dict(
        {
            "far": gym.spaces.Box(-1, 1, (12,), np.float32),
            "image": gym.spaces.Box(0, 255, (9, 9, 3), np.uint8),
            "kind": gym.spaces.Discrete(3),
            "place": gym.spaces.Box(-1, 1, (2,), np.float32),
        }
    )
)
PARTS = EnvSpec(DICT.space, 3, 2, structure=DICT)
SEEN = {"bonus": {"episodic": "count", "count_of": "successor", "observe_counts": {"capacity": 9}}}
GRU = {"type": "gru", "size": 5, "last_action": True, "last_reward": True}
LSTM = {"type": "lstm", "size": 5}


def cell(**table: Any) -> dict[str, Any]:
    return {"network": {"hidden": (6,), **table}}


CASES: dict[str, tuple[Any, dict[str, Any], EnvSpec]] = {
    "dqn, GRU": (dqn, cell(memory=GRU), VECTOR),
    "dqn, dueling LSTM": (dqn, cell(memory=LSTM, dueling=True), VECTOR),
    "ppo, two LSTMs": (ppo, {"separate_networks": True, **cell(memory=LSTM)}, VECTOR),
    "ppo, cells and GRU": (ppo, cell(memory=GRU, encoder="cells"), VIEW),
    "pqn, GRU over parts": (pqn, cell(memory=GRU), PARTS),
    "dqn over parts": (dqn, cell(), PARTS),
    "ppo over parts": (ppo, cell(), PARTS),
    "dqn with counts": (dqn, cell() | SEEN, VECTOR),
    "ppo, cells with counts": (ppo, cell(encoder="cells") | SEEN, VIEW),
    "ppo, GRU with counts": (ppo, cell(memory=GRU) | SEEN, VECTOR),
}  # fmt: skip


def policy_of(module: Any, table: dict[str, Any], spec: EnvSpec) -> Any:
    torch.manual_seed(3)
    name = module.__name__.rpartition(".")[2]
    policy = module.plugin.policy(module.plugin.config(name=name, **table), spec, CPU)
    network = getattr(policy, "policy", policy).network
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return policy


def seen_by(spec: EnvSpec, rng: np.random.Generator, first: bool) -> Observation:
    def one() -> NDArray[Any]:
        space = spec.observation_space
        space.seed(int(rng.integers(1 << 30)))
        obs = space.sample()
        return obs % 3 if spec is VIEW else obs

    count = spec.num_envs
    return Observation(np.stack([one() for _ in range(count)]), {}, np.full(count, first),
                       rng.integers(0, 3, count), rng.normal(size=count).astype(np.float32))  # fmt: skip


def later(policy: Any, spec: EnvSpec, steps: int = 3) -> tuple[Observation, Any, Any]:
    """(observation, the state before, the action) a few steps into an episode."""
    rng, state = np.random.default_rng(0), policy.initial_state(spec.num_envs)
    for step in range(steps):
        before, observation = state, seen_by(spec, rng, step == 0)
        output = policy.act(observation, before, rng, Mode.EVALUATE)
        state = output.state
    return observation, before, output.action


def scores_of(function: ScoreFunction, obs: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        return function.function(function.encode(torch.from_numpy(obs)), *function.context).numpy()


def expected(policy: Any, observation: Observation, state: Any) -> list[NDArray[Any]]:
    """The scores as the policy itself computes them."""
    inner = getattr(policy, "policy", policy)
    if inner is not policy:
        seen: list[Any] = []
        act = inner.act
        inner.act = lambda observation, state, *rest: (
            seen.append((observation, state)) or act(observation, state, *rest)
        )
        policy.act(observation, state, np.random.default_rng(0), Mode.EVALUATE)
        (observation, state) = seen[0]
    if hasattr(inner, "action_values"):
        return [inner.action_values(observation, state)]
    probabilities, value = inner.action_probabilities(observation, state)
    return [np.log(probabilities), value[:, None]]


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_acting(name: str) -> None:
    """With the memory and the counts that it has there, also those of attributions and probes."""
    policy = policy_of(*CASES[name])
    spec = CASES[name][2]
    observation, state, action = later(policy, spec)
    assert isinstance(policy, HasScores)
    functions = policy.score_functions(observation, state)
    assert functions[0].chosen.tolist() == action.tolist()
    for function, scores in zip(functions, expected(policy, observation, state), strict=True):
        found = scores_of(function, observation.obs)
        if function.name == "logits":
            found, scores = (rows - rows.max(1, keepdims=True) for rows in (found, scores))
        assert np.allclose(found, scores, atol=1e-5)
        inputs = function.encode(torch.from_numpy(observation.obs)).detach()
        for method in METHODS:
            found_maps = attribute(function, inputs, function.chosen, method, inputs.mean(0))
            maps = reduced(found_maps, method, function.entries)
            assert maps.shape == ((2, 5, 5) if spec is VIEW else (2, 4) if spec is VECTOR else (2, 5))
            assert np.abs(maps).max() > 0
    if state:
        other = {key: rows + 1 if rows.dtype.kind == "f" else rows for key, rows in state.items()}
        changed = scores_of(policy.score_functions(observation, other)[0], observation.obs)
        assert ("memory" in state) == (not np.allclose(changed, scores_of(functions[0], observation.obs)))
    layers = layers_of(policy, Samples(observation, (state,), {}, np.arange(2)))
    assert any("GRU 5" in layer or "LSTM 5" in layer for layer in layers) == ("memory" in state)
    assert not any("Flat" in layer for layer in layers)


def test_parts_are_shown_as_a_whole_or_by_entry() -> None:
    assert shown_entries(DICT) == [("far",), ("image",), ("kind",), ("place 0", "place 1")]
    with pytest.raises(SpecError, match=r"several parts \(far, image, kind, place\) have no common unit"):
        Bounds.of(PARTS)
    policy = policy_of(dqn, cell() | SEEN, PARTS)
    observation, state, _ = later(policy, PARTS)
    with pytest.raises(SpecError, match=r"several parts with bonus\.observe_counts are not supported"):
        policy.score_functions(observation, state)


def test_an_attack_goes_through_the_memory() -> None:
    policy = policy_of(*CASES["dqn, GRU"])
    observation, state, action = later(policy, VECTOR)
    rng, bounds = np.random.default_rng(0), Bounds.of(VECTOR)
    attacked = Attacked(policy, Perturbation("pgd", 3.0, bounds, rng)).act(observation, state, rng, Mode.EVALUATE)
    assert attacked.action.tolist() != action.tolist()
    assert not np.allclose(attacked.state["memory"], policy.act(observation, state, rng, Mode.EVALUATE).state["memory"])


def test_bytes_with_counts_are_not_attacked() -> None:
    spec = replace(VIEW, observation_space=gym.spaces.Box(0, 255, (2, 40, 40), np.uint8))
    policy = policy_of(dqn, cell(encoder="nature") | SEEN, spec)
    observation, state, _ = later(policy, spec)
    rng = np.random.default_rng(0)
    with pytest.raises(SpecError, match="observe_counts reads these observations as uint8"):
        Attacked(policy, Perturbation("sign", 0.5, Bounds.of(spec), rng)).act(observation, state, rng, Mode.EVALUATE)


MASKED = replace(VECTOR, signals={ACTION_MASK: ArraySpec((3,), np.bool_)})


def test_attacks_aim_at_actions_that_are_allowed() -> None:
    policy = policy_of(dqn, cell(), MASKED)
    rng = np.random.default_rng(0)
    plain = seen_by(MASKED, rng, True)
    best = policy.action_values(plain, {}).argmax(1)
    allowed = np.ones((2, 3), np.bool_)
    allowed[[0, 1], best] = False
    observation = replace(plain, signals={ACTION_MASK: allowed})
    function = acting(policy, observation, {})
    assert function.chosen.tolist() == policy.act(observation, {}, rng, Mode.EVALUATE).action.tolist()
    assert (function.chosen != best).all()
    assert np.isneginf(scores_of(function, observation.obs)).tolist() == (~allowed).tolist()
    one = replace(observation, obs=observation.obs[:1], signals={ACTION_MASK: allowed[:1]}, first=observation.first[:1])
    size = smallest_change(acting(policy, one, {}), torch.from_numpy(one.obs), Bounds.of(MASKED), 9.0)
    assert size is not None
    changed = Perturbation("sign", size, Bounds.of(MASKED), rng)(acting(policy, one, {}), torch.from_numpy(one.obs))
    found = policy.act(replace(one, obs=changed.numpy()), {}, rng, Mode.EVALUATE).action
    assert found[0] not in (function.chosen[0], best[0]), "to the only other action"


def test_forbidden_actions_have_no_part_in_the_loss() -> None:
    full = loss(torch.tensor([[1.0, 3.0, -torch.inf]]), torch.tensor([0]))
    assert full.tolist() == pytest.approx(loss(torch.tensor([[1.0, 3.0]]), torch.tensor([0])).tolist())


@pytest.mark.parametrize("goal", ["input", "heads"])
def test_a_controller_over_cells(goal: str) -> None:
    spec = replace(VIEW, signals={"state": ArraySpec((2,), np.int64)})
    network = {"encoder": "cells", "hidden": (6,), "goal": goal}
    table = {
        "goals": {"name": "minigrid-cells", "kwargs": {"cells": [[1, 1], [2, 3]]}},
        "controller": {"network": network},
    }
    policy = hdqn.plugin.policy(hdqn.plugin.config(name="hdqn", **table), spec, CPU)
    observation = replace(seen_by(spec, np.random.default_rng(0), True), signals={"state": np.array([[0, 0], [1, 1]])})
    state = policy.initial_state(2)
    controller, meta = policy.score_functions(observation, state)
    action = policy.act(observation, state, np.random.default_rng(0), Mode.EVALUATE).action
    assert controller.chosen.tolist() == action.tolist()
    assert np.allclose(scores_of(controller, observation.obs), policy.action_values(observation, state), atol=1e-5)
    assert controller.encode(torch.from_numpy(observation.obs)).shape == (2, 4, 5, 5)
    assert meta.name == "goal values"
