"""The h-DQN agent in real environments: its switches, what it logs, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from pydantic import ValidationError

import rlkit
from agents.hdqn import HDQNAgent, HDQNConfig, plugin
from agents.hdqn.network import controller_network, meta_network
from agents.hdqn.statistics import LATEST, OptionStatistics
from envs.gymnasium import plugin as gymnasium
from helpers.hdqn_worlds import CHAIN, DOORKEY, OBJECTS, STATES, TABLE, config
from rlkit.agent import AgentContext
from rlkit.config.load import resolve
from rlkit.errors import CapacityError, ConfigError, SpecError
from rlkit.goals import build_goals
from rlkit.metrics.line_log import read_rows
from rlkit.seeding import Streams
from rlkit.testing.agents import check_agent
from rlkit.types import EnvSpec, Mode, Observation, Purpose, StepBatch

CPU = torch.device("cpu")
CELLS = {"name": "envs.goals.minigrid:Cells", "kwargs": {"cells": [[1, 1], [1, 2], [3, 3]], "encoding": "mask"}}
WEIGHT = {"normalisation": "weight"}
ALL: dict[str, Any] = {
    "option_discount": "smdp",
    "max_option_steps": 4,
    "repeat_goals": False,
    "pretraining_steps": 30,
    "controller": {
        "n_step": 3,
        "double": True,
        "epsilon_by": "success",
        "hindsight": {"share": 0.8},
        "reward": {"goal": 2.0, "step_cost": 0.1, "death": 1.0},
        "bonus": {"optimism": {}},
    },
    "meta": {"double": True, "reward_clip": 0.5, "bonus": {"count_of": "successor"}},
}


def spec_of(env: Any = CHAIN, num_envs: int = 1) -> EnvSpec:
    environments = gymnasium.make(env, num_envs, Purpose.TRAIN)
    environments.close()
    return environments.spec


def fresh(chosen: HDQNConfig, spec: EnvSpec, seed: int = 0) -> HDQNAgent:
    return plugin.agent(chosen, spec, AgentContext(Streams(seed), CPU))


@pytest.mark.parametrize(
    ("chosen", "env"),
    [
        (config(), CHAIN),
        (config(controller={"network": TABLE, "optimizer": {"type": "sgd"}}, meta={"network": {"hidden": ()}}), CHAIN),
        (config(**ALL), CHAIN),
        pytest.param(
            config(
                meta={"bonus": {"count_of": "state", "timing": "insert"}}, controller={"bonus": {"count_of": "pair"}}
            ),
            CHAIN,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            config(goals=OBJECTS, max_option_steps=9, controller={"hindsight": {"which": "final"}}),
            DOORKEY,
            marks=pytest.mark.slow,
        ),
        (config(goals=CELLS, max_option_steps=9, controller={"network": {"encoder": "minatar"}}), DOORKEY),
    ],
    ids=["plain", "table", "all", "counting", "minigrid", "masks"],
)
def test_conformance(chosen: HDQNConfig, env: Any) -> None:
    check_agent(plugin, chosen, gymnasium, env, steps=40)


def see(*places: int, first: bool = False) -> Observation:
    return Observation(np.array(places), {}, np.full(len(places), first))


def step(before: int, action: int, after: int, first: bool, goal: int, age: int, ended: bool = False) -> StepBatch:
    extras = {"goal": np.array([goal]), "age": np.array([age]), "achieved_before": np.eye(6, dtype=np.bool_)[[before]]}
    one, ends = np.ones(1, np.float32), np.array([ended])
    return StepBatch(
        see(before, first=first),
        np.array([action]),
        one * ended,
        one * (not ended),
        ends,
        ~ends & False,
        see(after),
        extras,
    )


WORLD = EnvSpec(Discrete(6), 2, 1)


def set_values(agent: HDQNAgent, meta: Any = None, controller: Any = None) -> None:
    """Tables: Q2[s][g], and Q1[g][s][a]."""
    with torch.no_grad():
        if meta is not None:
            agent.policy.meta.head[0].weight.copy_(torch.tensor(meta).T)
        if controller is not None:
            agent.policy.controller.head[0].weight.copy_(torch.tensor(controller).permute(0, 2, 1).reshape(12, 6))


GREEDY = {"start": 0.0, "end": 0.0}
TABLES = config(
    repeat_goals=False,
    controller={"network": TABLE, "learning_starts": 0, "epsilon": GREEDY},
    meta={"network": {"hidden": ()}, "learning_starts": 0, "epsilon": GREEDY},
)


def test_a_goal_is_kept_until_its_option_is_over() -> None:
    """Of the highest value, but never the one achieved or the one before; actions follow the goal."""
    agent = fresh(TABLES, WORLD)
    set_values(agent, np.tile(np.array([0, 9, 5, 8, 7, 6], np.float32), (6, 1)))
    q1 = np.zeros((6, 6, 2), np.float32)
    q1[4, :, 1] = 1.0  # right, towards s5 alone
    set_values(agent, controller=q1)
    state, goals, ages, actions = agent.initial_state(1), [], [], []
    for number, place in enumerate([1, 2, 3, 4, 3]):
        output = agent.act(see(place, first=number == 0), state, np.random.default_rng(0), Mode.EXPLORE)
        state = output.state
        goals.append(int(output.extras["goal"][0]))
        ages.append(int(output.extras["age"][0]))
        actions.append(int(output.action[0]))
        before = {"goal": output.extras["goal"], "age": output.extras["age"]}
        alone = agent.policy.act(see(place), before, np.random.default_rng(0), Mode.EVALUATE)
        assert alone.action.tolist() == output.action.tolist()
    assert goals == [3, 3, 1, 1, 1]  # s4 until s4 is reached; s2 then, which is far
    assert ages == [0, 1, 0, 1, 2]
    assert actions == [0, 0, 0, 0, 0]
    assert agent.policy.caption(state) == ["goal  s2"]
    set_values(agent, np.tile(np.array([0, 0, 0, 0, 9, 0], np.float32), (6, 1)))
    right = agent.act(see(1, first=True), agent.initial_state(1), np.random.default_rng(0), Mode.EXPLORE)
    assert (int(right.extras["goal"][0]), int(right.action[0])) == (4, 1)


def test_the_next_goal_s_value_is_that_of_an_allowed_one() -> None:
    """Q2 bootstraps from the best goal that may follow: not the one reached, nor a state one is in."""
    agent = fresh(replace_meta(TABLES, discount=0.5, batch_size=1, learning_rate=1.0), WORLD)
    values = np.zeros((6, 6), np.float32)
    values[2] = [1, 2, 9, 3, 4, 5]
    set_values(agent, values)
    agent.meta.learner.target.load_state_dict(agent.policy.meta.state_dict())
    agent.observe(step(1, 1, 2, True, goal=2, age=0))
    agent.learn()
    found = agent.policy.meta(torch.tensor([1]))[0, 2].item()
    assert found == pytest.approx(0.5 * 5)


def replace_meta(chosen: HDQNConfig, **values: Any) -> HDQNConfig:
    tables = chosen.model_dump()
    tables["meta"] |= {"optimizer": {"type": "sgd"}, "loss": "squared", "max_grad_norm": 0.0, "target": {"every": 99}}
    tables["meta"] |= {"updates_per_option": 1.0, **values}
    return HDQNConfig(**tables)


def test_pretraining_is_the_controller_s_alone() -> None:
    agent = fresh(config(pretraining_steps=100, meta={"epsilon": GREEDY, "learning_starts": 0}), WORLD)
    rng, state, place, first = np.random.default_rng(0), agent.initial_state(1), 1, True
    before = agent.policy.meta.head[0].weight.clone()
    epsilons = []
    for number in range(300):
        epsilons.append(agent.meta_epsilon())
        output = agent.act(see(place, first=first), state, rng, Mode.EXPLORE)
        after = min(5, place + 1) if output.action[0] and rng.random() < 0.5 else place - 1
        made = step(place, int(output.action[0]), after, first, 0, 0, ended=after == 0)
        agent.observe(replace(made, extras=output.extras))
        agent.learn()
        state, place, first = output.state, after or 1, after == 0
        if number < 100:
            assert agent.store.total == 0
            assert torch.equal(before, agent.policy.meta.head[0].weight)
    assert agent.updates > 0
    assert agent.store.total > 20
    assert epsilons[:100] == [1.0] * 100
    assert epsilons[100:] == [0.0] * 200
    assert not torch.equal(before, agent.policy.meta.head[0].weight)


def test_mastered_goals_are_explored_less() -> None:
    chosen = config(controller={"epsilon_by": "success", "learning_starts": 0, "epsilon": {"end": 0.1, "steps": 10**6}})
    agent = fresh(chosen, WORLD)
    one = np.ones(1, np.bool_)
    for number in range(LATEST):
        agent.statistics.finish(one, ~one, np.array([2]), np.array([3]), np.array([number % 20 > 0]), np.zeros(1))
        agent.statistics.finish(one, ~one, np.array([4]), np.array([3]), np.array([number % 5 > 0]), np.zeros(1))
    assert agent.epsilon().tolist() == [1.0, 1.0, 0.1, 1.0, 1.0, 1.0]


def test_what_is_logged_of_goals() -> None:
    statistics = OptionStatistics(["left door", "key"], 1)
    for number in range(150):
        over = np.array([True])
        came = np.array([[number % 10 == 0, number % 25 == 7]])
        statistics.observe(np.array([number % 50 == 0]), over, np.array([2.0]), came, np.array([number % 50 == 39]))
        goal, reached = int(number % 3 == 0), np.array([number >= 100])
        statistics.finish(over, ~over, np.array([goal]), np.array([4 + goal]), reached, np.array([0.5]))
    assert statistics.gauges() == pytest.approx(
        {
            "option/count": 150.0,
            "option/return": 0.5,
            "option/critic_return": 2.0,
            "goal_share/left_door": 2 / 3,
            "goal_visits/left_door": 4.0,  # at steps 0, 10, 20, 30 of episodes of 40; what comes between counts nowhere
            "goal_success/left_door": 34 / 100,
            "goal_length/left_door": 4.0,
            "goal_share/key": 1 / 3,
            "goal_visits/key": 2.0,
            "goal_success/key": 16 / 50,
            "goal_length/key": 5.0,
        }
    )


def test_goals_with_names_that_metrics_cannot_have() -> None:
    statistics = OptionStatistics(["door (left)", "door [left]", "key"], 1)
    shares = [name for name in statistics.gauges() if name.startswith("goal_share")]
    assert shares == ["goal_share/door_left__0", "goal_share/door_left__1", "goal_share/key"]


def test_a_goal_achieved_already_says_nothing_of_how_well_it_is_reached() -> None:
    """The only goal there is, s3, while the agent stands in s3 and stays there."""
    agent = fresh(config(goals={**STATES, "kwargs": {"states": [3]}}, controller={"epsilon_by": "success"}), WORLD)
    for number in range(LATEST + 1):
        made = step(2, 1, 2, number == 0, 0, 0)
        made.extras["achieved_before"] = np.array([[True]])
        agent.observe(made)
    assert agent.statistics.options == LATEST + 1
    assert "goal_success/s3" not in agent.gauges()
    assert not agent.statistics.mastered(0.9).any()


def test_a_run_logs_both_levels_apart(tmp_path: Path) -> None:
    tables = {
        "env": CHAIN.model_dump(mode="json", exclude_none=True),
        "agent": {**config(**ALL).model_dump(mode="json", exclude_none=True), "name": "agents.hdqn:plugin"},
        "train": {"steps": 400, "log_every": 100, "sinks": []},
        "evaluation": {"final_episodes": 1},
    }
    run = rlkit.train(resolve("test", tables), run=tmp_path / "run")
    row = read_rows(run.path / "metrics.jsonl")[2]
    for level in ("controller", "meta"):
        assert {f"{level}/loss_td", f"{level}/q_mean", f"{level}/gradient_norm", f"{level}/explore_bonus"} <= set(row)
    assert {"episode/return", "episode/critic_return", "option/return", "option/critic_return"} <= set(row)
    assert sum(row[f"goal_share/s{number}"] for number in range(1, 5)) == pytest.approx(1)
    assert all(0 <= row[f"goal_success/s{number}"] <= 1 for number in range(1, 5))
    assert 0.5 < row["goal_visits/s1"] < 1  # once an episode, but for those that the time limit cuts


def test_a_loaded_policy_asks_for_the_signals_of_its_goals(tmp_path: Path) -> None:
    tables = {
        "env": DOORKEY.model_dump(mode="json", exclude_none=True),
        "agent": {"name": "agents.hdqn:plugin", "goals": OBJECTS},
        "train": {"steps": 2, "sinks": []},
        "evaluation": {"final_episodes": 1},
    }
    policy = rlkit.load_policy(rlkit.train(resolve("test", tables), run=tmp_path / "run").path)
    observation = np.zeros(policy.spec.observation_space.shape, np.uint8)
    with pytest.raises(SpecError, match='this policy needs the signal "state"'):
        policy(observation)
    assert policy(observation, {"state": np.zeros(17, np.int16), "standing": np.zeros(1, np.int16)}) in range(7)


def test_a_store_of_too_few_options_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent.meta.capacity: .* 8 environments need at least 16"):
        plugin.describe(config(meta={"capacity": 15}), spec_of(CHAIN, 8), 100)


def test_hindsight_is_learned_from() -> None:
    """Goals that were never set are learned about, from episodes that reached them by chance."""
    settings = {"network": TABLE, "learning_starts": 0, "updates_per_step": 1.0, "learning_rate": 0.05}
    for share in (0.0, 1.0):
        agent = fresh(config(controller={**settings, "hindsight": {"share": share}}), WORLD)
        for _ in range(60):
            for place in (1, 2, 3):
                agent.observe(step(place, 1, place + 1, place == 1, goal=5, age=place - 1, ended=place == 3))
                agent.learn()
        with torch.inference_mode():
            q = agent.policy.controller(torch.tensor([1, 2, 3]), torch.tensor([3, 3, 3]))[:, 1]
        assert q.tolist() == (pytest.approx([0.99, 1.0, 0.0], abs=0.15) if share else [0.0, 0.0, 0.0])


def test_networks_take_goals_as_inputs_masks_and_heads() -> None:
    spec = spec_of(DOORKEY)
    obs = torch.zeros(4, *spec.observation_space.shape, dtype=torch.uint8)  # type: ignore[misc]
    goal = torch.tensor([0, 1, 2, 0])
    for goals, changes in (
        (OBJECTS, {"goal": "input"}),
        (OBJECTS, {"goal": "heads"}),
        (CELLS, {"goal": "input", "encoder": "minatar"}),
        (OBJECTS, {"goal": "input", "dueling": True}),
    ):
        chosen = config(goals=goals, controller={"network": changes}).controller.network
        space = build_goals(config(goals=goals).goals, spec)
        torch.manual_seed(0)
        q = controller_network(chosen, spec, space)(obs, goal)
        assert q.shape == (4, spec.num_actions)
        assert torch.equal(q[0], q[3])
        assert not torch.allclose(q[0], q[1])


def test_tables_begin_at_zero() -> None:
    goals = build_goals(config().goals, spec_of())
    table = controller_network(TABLES.controller.network, spec_of(), goals)
    assert not table(torch.arange(4), torch.arange(4)).any()
    assert not meta_network(TABLES.meta.network, spec_of(), goals)(torch.arange(4)).any()
    assert controller_network(config().controller.network, spec_of(), goals)(torch.arange(4), torch.arange(4)).any()


def test_describe_names_goals_and_both_memories() -> None:
    described = plugin.describe(
        config(controller={"replay_capacity": 10**9}, meta={"capacity": 10**6}), spec_of(), 1020
    )
    assert described["goals"] == "4: s1, s2, s3, s4"
    assert described["replay"].startswith("1,000,000,000 steps, ")
    assert described["options"] == f"1,000,000 observations, {10**6 * (8 + 8 + 4 + 4 + 4 + 9) / 2**20:.1f} MiB"
    assert described["updates"].startswith("300 of 8 windows")


def test_replays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CapacityError, match=r"agent\.controller\.replay_capacity"):
        fresh(config(controller={"replay_capacity": 10**12}), spec_of())
    with pytest.raises(CapacityError, match=r"agent\.meta\.capacity"):
        fresh(config(meta={"capacity": 10**12}), spec_of())


@pytest.mark.parametrize(
    ("chosen", "env", "says"),
    [
        (config(goals=OBJECTS), CHAIN, 'needs the signal "state"'),
        (config(goals=STATES), DOORKEY, "need Discrete observations"),
        (config(goals={**STATES, "kwargs": {"states": []}}), CHAIN, "has no goals"),
        (config(goals=CELLS, controller={"network": {"goal": "heads", "dueling": True}}), DOORKEY, "share one mean"),
        (config(meta={"bonus": {"hash": {"type": "simhash"}}}), spec_of, "agent.meta.bonus: options keep"),
    ],
    ids=["no signal", "other shapes", "no goals", "dueling heads", "no centre"],
)
def test_what_does_not_fit_together(chosen: HDQNConfig, env: Any, says: str) -> None:
    spec = EnvSpec(gym_box(), 2, 1) if env is spec_of else spec_of(env)
    if env is spec_of:
        chosen = chosen.model_copy(update={"goals": config(goals={"name": "helpers.hdqn_worlds:Sides"}).goals})
    with pytest.raises((SpecError, ConfigError)) as error:
        fresh(chosen, spec)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def gym_box() -> Any:
    from gymnasium.spaces import Box

    return Box(-np.inf, np.inf, (2,), np.float32)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"option_discount": "none"}, "'paper' or 'smdp'"),
        ({"controller": {"n_step": 5, "replay_capacity": 5}}, "n_step = 5 must be smaller than replay_capacity = 5"),
        ({"controller": {"hindsight": {"share": 1.5}}}, "hindsight.share"),
        ({"meta": {"bonus": {"count_of": "pair"}}}, "meta.bonus counts states, not actions"),
        ({"meta": {"bonus": {"optimism": {}}}}, "meta.bonus counts states, not actions"),
        ({"max_option_steps": -1}, "max_option_steps"),
        (
            {"controller": {"network": WEIGHT}},
            "controller.learning_starts = 20 must be at least controller.network.weight_norm",
        ),
        ({"meta": {"network": WEIGHT}}, "controller.learning_starts = 20 must be at least meta.network.weight_norm"),
        ({"meta": {"network": {"normalisation": "batch"}, "batch_size": 1}}, "meta.batch_size = 1 must be at least 2"),
        ({"meta": {"updates_per_step": 1}}, "updates_per_step"),
    ],
)
def test_impossible_configs(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        config(**changes)
    assert says in str(error.value)


def _all_fields(model: Any, path: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, field in model.model_fields.items():
        found.append((f"{path}{name}", field))
        if hasattr(field.annotation, "model_fields"):
            found += _all_fields(field.annotation, f"{path}{name}.")
    return found


def test_every_field_is_described() -> None:
    assert not [name for name, field in _all_fields(HDQNConfig) if not field.description]
