"""Action masks: random choice, values, and the mask where a window is bootstrapped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.dqn.agent import transitions as dqn_transitions
from agents.hdqn.config import RewardConfig
from agents.hdqn.critic import transitions as hdqn_transitions
from helpers.line_world import Line, line_spec
from rlkit import plugins
from rlkit.agent import AgentContext
from rlkit.errors import SpecError
from rlkit.exploration.action_mask import STORED, random_allowed, require_choice, restricted, where_valued
from rlkit.exploration.adjustment import Adjustment
from rlkit.exploration.epsilon import epsilon_greedy
from rlkit.exploration.protocol import NoBonus
from rlkit.seeding import Streams
from rlkit.training.finite import nan_entries
from rlkit.types import ACTION_MASK, ArraySpec, Batch, Mode, Observation, Window

MASKS = arrays(np.bool_, (3, 4)).map(lambda rows: rows | (~rows.any(1, keepdims=True)))


@given(MASKS, st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3))
def test_random_actions_are_allowed(allowed: np.ndarray, coins: list[float]) -> None:
    for row, action, coin in zip(allowed, random_allowed(np.array(coins), allowed), coins, strict=True):
        assert action == np.flatnonzero(row)[int(coin * row.sum())]


def test_random_actions_are_uniform_over_the_allowed_ones() -> None:
    allowed = np.tile([True, False, True, True], (30_000, 1))
    drawn = epsilon_greedy(1.0, lambda: np.zeros(0, np.int64), 30_000, 4, np.random.default_rng(0), allowed)
    assert (np.abs(np.bincount(drawn, minlength=4) - [10_000, 0, 10_000, 10_000]) < 300).all()


def test_values_of_other_actions_are_never_the_largest() -> None:
    allowed, q = np.array([[True, False], [False, True]]), np.array([[-5, 3], [7, -2]], np.float32)
    assert restricted(None, allowed)(q).argmax(1).tolist() == [0, 1]
    optimism = Adjustment(np.array([[1, 9], [9, 1]], np.float32), np.full((2, 2), 0.5, np.float32))
    assert restricted(optimism, allowed)(q).max(1).tolist() == [-1.5, 0.0]


def window(masks: list[list[list[bool]]] | None, steps: list[int]) -> Window:
    extras = {} if masks is None else {STORED: torch.tensor(masks)}
    zeros = torch.zeros(len(steps), 2)
    return Window(zeros, zeros.long(), zeros, zeros, torch.tensor(steps), zeros, extras)


def test_the_mask_is_that_of_the_observation_that_is_valued() -> None:
    """After one step in the first window, after two in the second."""
    masks = [[[True, False], [False, True]], [[True, False], [False, True]]]
    found = where_valued(None, window(masks, [1, 2]))
    assert found is not None
    assert found(torch.tensor([[1.0, 2], [1, 2]])).max(1).values.tolist() == [1, 2]
    added = Adjustment(torch.full((2, 2), 10.0))
    both = where_valued(added, window(masks, [2, 1]))
    assert both is not None
    assert both(torch.tensor([[3.0, 2], [1, 2]])).max(1).values.tolist() == [12, 11]
    assert where_valued(added, window(None, [1])) is added


@pytest.mark.parametrize("agent", ["dqn", "hdqn"])
def test_agents_bootstrap_with_allowed_actions_only(agent: str) -> None:
    """The mask after two steps allows the second action, however high the value of the first one is."""
    found = window([[[True, False], [False, True]]], [2])
    found = replace(found, extras={**found.extras, "achieved": torch.zeros(1, 2, 1, dtype=torch.bool)})
    batch = Batch(found, np.zeros(1, np.int64), torch.ones(1))
    if agent == "dqn":
        made = dqn_transitions(batch, 0.9, 0.0, NoBonus())
    else:
        made = hdqn_transitions(batch, torch.zeros(1, dtype=torch.int64), 0.9, RewardConfig(), NoBonus())
    assert made.adjust(torch.tensor([[5.0, 2.0]])).max(1).values.tolist() == [2.0]


@pytest.mark.parametrize("agent", ["dqn", "hdqn", "pqn"])
def test_at_the_end_of_a_game_no_action_may_be_allowed(agent: str) -> None:
    """Nothing is bootstrapped there; the value of no action, -inf, times 0 would be NaN."""
    line, tables = Line(line_spec("vector")), {"dqn": {"learning_starts": 20}, "pqn": {"rollout_steps": 10}}
    spec = replace(line.spec, signals={**line.spec.signals, ACTION_MASK: ArraySpec((3,), np.bool_)})
    goals = {"goals": {"name": "helpers.line_world:Places"}, "controller": {"learning_starts": 20, "batch_size": 8}}
    plugin = plugins.load(plugins.AGENTS, agent)
    config = plugin.config(name=agent, **tables.get(agent, goals))
    made = plugin.agent(config, spec, AgentContext(Streams(0), torch.device("cpu")))
    rng, state = np.random.default_rng(0), made.initial_state(2)

    def masked(seen: Observation) -> Observation:
        allowed = np.repeat(~seen.signals["success"][:, None], 3, 1)  # of place 0, where episodes terminate, none
        return replace(seen, signals={**seen.signals, ACTION_MASK: allowed})

    for _ in range(60):
        seen = masked(line.observe())
        output = made.act(seen, state, rng, Mode.EXPLORE)
        made.learn()
        step = line.step(seen, output.action, output.extras)
        made.observe(replace(step, after=masked(step.after)))
        state = output.state
    assert made.updates
    assert not list(nan_entries(made.state_dict()["policy"]))


def test_a_mask_that_allows_nothing_is_refused_where_an_action_is_due() -> None:
    signals = {ACTION_MASK: np.array([[True, False], [False, False]])}
    seen = Observation(np.zeros((2, 1)), signals, np.zeros(2, np.bool_))
    with pytest.raises(SpecError, match="environment 1: its action mask allows no action although the episode goes on"):
        require_choice(seen)
