"""Counts of the running episode as an input of the agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.gymnasium import plugin as gymnasium
from helpers.counting_run import CART, LAKE, NEWEST, Run, config
from rlkit import plugins
from rlkit.agent import HasWarmStart
from rlkit.config.load import resolve
from rlkit.errors import ConfigError
from rlkit.exploration.bonus import build_bonus
from rlkit.exploration.count.episodic import EpisodeCounts, episodic_factor
from rlkit.exploration.count.observed import EpisodeVisits
from rlkit.exploration.observed import seen_spec
from rlkit.nn.beside import input_space
from rlkit.nn.inputs import build_input
from rlkit.seeding import Streams
from rlkit.structure import Structure
from rlkit.testing import agent_checks
from rlkit.testing.states import difference
from rlkit.types import Purpose

SMALL = {"rollout_steps": 12, "epochs": 1, "minibatches": 2}
AGENTS: dict[str, dict[str, Any]] = {
    "ppo": SMALL,
    "pqn": SMALL,
    "dqn": {"learning_starts": 8, "batch_size": 4, "replay_capacity": 100, "n_step": 2},
}
TAXI = gymnasium.config(name="gymnasium", id=NEWEST, max_episode_steps=9)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.integers(1, 7))
@settings(deadline=None, max_examples=60)
def test_visits_in_arrays_are_those_of_a_dictionary(walk: list[tuple[int, bool]], capacity: int) -> None:
    """One environment walks, another one repeats one state in one episode; the oldest states are forgotten."""
    visits = EpisodeVisits("count", None, capacity)  # type: ignore[arg-type]  # no features: states are given
    state, known = visits.initial_state(2), dict[int, int]()
    for number, (code, first) in enumerate(walk):
        before = {name: rows.copy() for name, rows in state.items()}
        digest = np.array([code, 0])
        found, kept = visits.visit(digest, np.array([first, number == 0]), state)
        assert all((state[name] == before[name]).all() for name in before), "wrote to the state that it was given"
        known = {} if first else known
        if code not in known and len(known) == capacity:
            del known[next(iter(known))]
        known[code] = known.get(code, 0) + 1
        assert found.tolist() == [known[code], number + 1]
        state = kept


@pytest.mark.parametrize("kind", ["first", "count"])
def test_the_learner_sees_the_factors_that_the_bonus_pays(kind: str) -> None:
    """In the replay, each state has the byte of its visits; those of successors are what the bonus pays."""
    chosen = config(episodic=kind, count_of="successor", observe_counts=True)
    run = Run(chosen, LAKE, num_envs=3, steps=60)
    replay = run.agent.agent.replay  # type: ignore[attr-defined]
    index = replay.sampleable()
    window = replay.window(index)
    structure = Structure.of(replay_space(run))
    single = window.steps == 1  # the newest steps, and the last ones of episodes
    successors = structure.split(window.next_obs)["1"].view(-1)
    paid = np.asarray(window.extras["episodic"])[:, 0]
    assert single.any()
    assert np.rint(255 * paid[single]).tolist() == successors[single].tolist()
    assert set(successors.tolist()) >= {255, 0 if kind == "first" else 180}

    counts = EpisodeCounts(3)
    for step in run.steps:  # what policies saw, by the bonus's own counts
        before, _ = counts.count(np.arange(3), step.before.first, step.before.obs, step.after.obs)
        assert (step.extras["input/byte"] == np.rint(255 * episodic_factor(kind, before))).all()  # type: ignore[arg-type]


def replay_space(run: Run) -> Any:
    return input_space(seen_spec(config(episodic="first", observe_counts=True).bonus, run.environments.spec))


@pytest.mark.parametrize("name", AGENTS)
def test_conformance(name: str) -> None:
    """Exact resuming, acting from the policy alone, several environments; states of Taxi recur within 9 steps."""
    plugin = plugins.load(plugins.AGENTS, name)
    bonus = {"episodic": "count", "count_of": "successor", "observe_counts": {"capacity": 5}}
    chosen = plugin.config(name=name, bonus=bonus, network={"hidden": (4,)}, **AGENTS[name])
    for _, check in agent_checks(plugin, chosen, gymnasium, TAXI, steps=30):
        check()


@pytest.mark.parametrize("encoder", ["mlp", "cells", "minatar"])
def test_the_byte_reaches_the_network_beside_what_it_saw_before(encoder: str) -> None:
    environments = plugins.load(plugins.ENVS, "minigrid")
    made = environments.make(environments.config(name="minigrid", id="MiniGrid-Empty-5x5-v0"), 1, Purpose.TRAIN)
    plugin = plugins.load(plugins.AGENTS, "ppo")
    chosen = plugin.config(
        name="ppo", network={"encoder": encoder, "hidden": (32,)}, bonus={"episodic": "first", "observe_counts": True}
    )
    policy: Any = plugin.policy(chosen, made.spec, torch.device("cpu"))
    rows = torch.randint(0, 3, (2, 148), dtype=torch.uint8)
    rows[:, -1] = torch.tensor([0, 255])
    rows[1, :-1] = rows[0, :-1]
    inputs = policy.policy.network.inputs
    plain = build_input(made.spec.observation_space, chosen.network.input_kind)
    assert (inputs(rows)[:, :-1] == plain(rows[:, :-1].view(2, 7, 7, 3))).all()
    assert inputs(rows)[:, -1].amax((1, 2)).tolist() == inputs(rows)[:, -1].amin((1, 2)).tolist() == [0, 1]
    low, high = policy.policy.network(rows)
    assert (low != high).any()


def test_what_cannot_observe_counts_is_refused() -> None:
    observing = {"episodic": "first", "observe_counts": True}
    for bonus, message in (
        ({"observe_counts": True}, "shows the episodic factor"),
        ({**observing, "optimism": True}, "shows the episodic factor"),
        ({**observing, "hash": {"type": "simhash"}}, "codes that never change"),
    ):
        with pytest.raises(ConfigError, match=message):
            resolve("", {"env": CART.model_dump(), "agent": {"name": "dqn", "bonus": bonus}})
    hdqn = {"name": "hdqn", "goals": {"name": "chain-states"}, "controller": {"bonus": observing}}
    with pytest.raises(ConfigError, match=r"agent\.controller: bonus\.observe_counts: h-DQN does not observe counts"):
        resolve("", {"env": CART.model_dump(), "agent": hdqn})
    spec = gymnasium.make(CART, 1, Purpose.TRAIN).spec
    with pytest.raises(ConfigError, match="observe_counts: this agent does not observe counts; ppo, pqn and dqn do"):
        build_bonus(config(**observing).bonus, spec, Streams(0), None, 0)  # as agents that do not know of it


def test_an_agent_that_observes_counts_begins_with_what_another_one_learned() -> None:
    chosen = config(episodic="first", observe_counts=True)
    first, second = (Run(chosen, LAKE, num_envs=3, steps=steps).agent for steps in (70, 0))
    assert isinstance(second, HasWarmStart)
    state = first.state_dict()
    assert difference(state["policy"]["network"], second.state_dict()["policy"]["network"])
    second.warm_start(state, {"bonus"})
    assert difference(state["policy"]["network"], second.state_dict()["policy"]["network"]) is None
    assert difference(state["bonus"], second.state_dict()["bonus"]) is None
