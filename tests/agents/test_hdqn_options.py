"""h-DQN's options: the pure functions by hand, and whole runs recomputed from their tapes, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlkit
from agents.hdqn.agent import HDQNAgent
from agents.hdqn.config import RewardConfig
from agents.hdqn.critic import intrinsic_reward, relabel, transitions
from agents.hdqn.options import OptionReturn, allowed_goals, explore, option_over, pick
from helpers.hdqn_worlds import CHAIN, DOORKEY, OBJECTS, TABLE, merged
from rlkit.config.load import resolve
from rlkit.config.tables import Config
from rlkit.exploration.protocol import NoBonus
from rlkit.types import Batch, StepBatch, Window

pytestmark = pytest.mark.slow  # test_hdqn_agent is fast


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def bits(*rows: str) -> np.ndarray:
    return np.array([[letter == "1" for letter in row] for row in rows])


def test_an_option_is_over_at_its_goal_at_the_end_and_at_its_age() -> None:
    achieved, ended = bits("010", "010", "000", "000"), np.array([False, False, True, False])
    goal, age = ints(1, 0, 2, 2), ints(1, 1, 1, 5)
    assert option_over(goal, age, achieved, ended, 0).tolist() == [True, False, True, False]
    assert option_over(goal, age, achieved, ended, 5).tolist() == [True, False, True, True]
    assert option_over(goal, age, achieved, ended, 6).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("achieved", "previous", "repeat", "allowed"),
    [
        ("000", -1, True, "111"),
        ("010", -1, True, "101"),
        ("010", 0, True, "101"),
        ("010", 0, False, "001"),
        ("011", 0, False, "100"),  # nothing else is left: again
        ("111", 1, True, "111"),  # all achieved: any
        ("111", 1, False, "101"),
    ],
)
def test_which_goals_may_be_chosen(achieved: str, previous: int, repeat: bool, allowed: str) -> None:
    assert (allowed_goals(bits(achieved), ints(previous), repeat) == bits(allowed)).all()


def test_picks_are_uniform_among_the_allowed() -> None:
    allowed = np.repeat(bits("0110100"), 3000, 0)
    picked = pick(allowed, np.arange(3000) / 3000)
    assert np.bincount(picked, minlength=7).tolist() == [0, 1000, 1000, 0, 1000, 0, 0]


def test_each_environment_tosses_its_own_coin() -> None:
    coins = np.array([[0.1, 0.1, 0.9], [0.0, 0.99, 0.5]])
    epsilon = np.array([0.5, 0.0, 0.5])
    allowed = np.ones((3, 4), np.bool_)
    assert explore(epsilon, lambda: ints(1, 1, 1), allowed, coins).tolist() == [0, 1, 1]
    assert explore(np.ones(3), lambda: pytest.fail("asked"), allowed, coins).tolist() == [0, 3, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "total", "factor"),
    [("paper", 1 + 2 + 4, 0.5), ("smdp", 1 + 0.5 * 2 + 0.25 * 4, 0.125)],
)
def test_what_an_option_is_worth(rule: Any, total: float, factor: float) -> None:
    """The second environment loses a life in its second step: what follows in the option no longer counts."""
    accounts = OptionReturn(0.5, rule, np.full(2, 9.0), np.full(2, 9.0))
    for number, (reward, discount) in enumerate([(1, (1, 1)), (2, (1, 0)), (4, (1, 1))]):
        begins = np.full(2, number == 0)
        accounts.add(begins, np.full(2, float(reward)), np.array(discount, np.float32))
    assert accounts.total.tolist() == [total, 3.0 if rule == "paper" else 2.0]
    assert accounts.factor().tolist() == [factor, 0.0]


def test_the_critic_pays_for_the_goal_and_fines_time_and_death() -> None:
    reached, discount = np.array([True, True, False, False]), np.array([1.0, 0.0, 1.0, 0.0])
    config = RewardConfig(goal=50.0, step_cost=0.5, death=200.0)
    expected = [49.5, 49.5, -0.5, -200.5]
    assert intrinsic_reward(reached, discount, config).tolist() == expected
    assert intrinsic_reward(torch.tensor(reached), torch.tensor(discount), config).tolist() == expected


def window(achieved: list[list[str]], discount: list[list[float]], steps: list[int]) -> Batch:
    n = len(discount[0])
    count = len(discount)
    return Batch(
        Window(
            obs=torch.zeros(count, 1),
            action=torch.arange(count * n).reshape(count, n),
            reward=torch.full((count, n), 1000.0),  # the environment's, which is not the controller's affair
            discount=torch.tensor(discount),
            steps=torch.tensor(steps),
            next_obs=torch.ones(count, 1),
            extras={"achieved": torch.tensor(np.stack([bits(*row) for row in achieved]))},
        ),
        np.arange(count),
        torch.ones(count),
    )


def test_the_goal_ends_the_controller_s_problem_and_not_the_episode() -> None:
    batch = window(
        [["00", "10", "00"], ["00", "10", "00"], ["00", "00", "00"], ["01", "11", "11"]],
        [[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]],
        [3, 3, 2, 1],
    )
    made = transitions(batch, torch.tensor([0, 1, 0, 0]), 0.5, RewardConfig(step_cost=0.1, death=2.0), NoBonus())
    assert made.reward.tolist() == pytest.approx([-0.1 + 0.5 * 0.9, -0.175, -0.1 + 0.5 * -2.1, -0.1])
    assert made.discount.tolist() == [0.0, 0.125, 0.0, 0.5]
    assert made.action.tolist() == [0, 3, 6, 9]
    assert [part.tolist() for part in made.obs] == [[[0.0]] * 4, [0, 1, 0, 0]]


def test_hindsight_sets_goals_that_were_reached() -> None:
    goal, candidates = ints(0, 0, 0, 0), bits("011", "011", "000", "011")
    coins = np.array([[0.1, 0.9, 0.1, 0.49], [0.6, 0.0, 0.0, 0.0]])
    assert relabel(goal, candidates, coins, 0.5).tolist() == [2, 0, 0, 1]
    assert relabel(goal, candidates, coins, 0.0).tolist() == [0, 0, 0, 0]


# ---------------------------------------------------------------------------------------------------- whole runs


@dataclass
class Option:
    """One option of one environment, as the definition has it."""

    obs: Any
    goal: int
    began: int
    rewards: list[float] = field(default_factory=list)
    discounts: list[float] = field(default_factory=list)
    next_obs: Any = None
    why: str = ""

    def worth(self, rule: str, gamma: float, clip: float) -> tuple[float, float]:
        """F and the factor of the next value, term by term."""
        total, alive = 0.0, 1.0
        for number, (reward, discount) in enumerate(zip(self.rewards, self.discounts, strict=True)):
            total += alive * min(reward, clip) * (gamma**number if rule == "smdp" else 1.0)
            alive *= discount
        return total, alive * (gamma ** len(self.rewards) if rule == "smdp" else gamma)


def recompute(tape: list[StepBatch], achieves: Any, max_steps: int) -> list[list[Option]]:
    """The finished options of each environment, in order, from nothing but the tape and the goals acted for."""
    finished = []
    for env in range(len(tape[0].action)):
        options, current = [], None
        for turn, step in enumerate(tape):
            goal = int(step.extras["goal"][env])
            if current is None:
                current = Option(step.before.obs[env], goal, turn)
            assert goal == current.goal, "a goal changed in the middle of an option"
            current.rewards.append(float(step.reward[env]))
            current.discounts.append(0.0 if step.terminated[env] else 1.0)
            reached = achieves(step.after, env, goal)
            aged = bool(max_steps) and len(current.rewards) == max_steps
            if reached or step.ended[env] or aged:
                end = "truncated" if step.truncated[env] else "died" if step.terminated[env] else "aged"
                current.why = f"{'reached, ' if reached else ''}{end}" if step.ended[env] or not reached else "reached"
                current.next_obs = step.after.obs[env]
                options.append(current)
                current = None
        finished.append(options)
    return finished


def settings(world: Any, num_envs: int, rule: str, **changes: Any) -> Config:
    """A run small enough to be recomputed, whose replays hold all of it."""
    goals = {"name": "envs.goals.chain:States"} if world is CHAIN else OBJECTS
    level = {"learning_starts": 20, "batch_size": 8, "network": {"hidden": []}}
    tables = {
        "env": world.model_dump(mode="json", exclude_none=True),
        "agent": {
            "name": "agents.hdqn:plugin",
            "goals": goals,
            "option_discount": rule,
            "max_option_steps": 4 if world is CHAIN else 9,
            "controller": {**level, "n_step": 3, "network": {**TABLE, "hidden": []}, "replay_capacity": 2000},
            "meta": {**level, "capacity": 2000, "discount": 0.9},
        },
        "train": {"steps": 600, "num_envs": num_envs, "seed": 3, "sinks": [], "checkpoint_every": 0},
        "evaluation": {"final_episodes": 1},
    }
    return resolve("test", merged(tables, changes))


@dataclass
class Watched:
    """What the agent of a run was told, and the agent."""

    tape: list[StepBatch] = field(default_factory=list)
    agent: HDQNAgent | None = None


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    seen, observe = Watched(), HDQNAgent.observe

    def spy(agent: HDQNAgent, step: StepBatch) -> None:
        seen.agent = agent
        seen.tape.append(step)
        observe(agent, step)

    monkeypatch.setattr(HDQNAgent, "observe", spy)
    return seen


def chain_achieves(observation: Any, env: int, goal: int) -> bool:
    return int(observation.obs[env]) == goal


def object_achieves(observation: Any, env: int, goal: int) -> bool:
    state, standing = observation.signals["state"][env], observation.signals["standing"][env, 0]
    return bool((state[3] == 5, 0 in state[5:], standing == 8)[goal])


def check_store(
    watched: Watched, achieves: Any, max_steps: int, rule: str, *, clip: float = np.inf, first: int = 0
) -> list[Option]:
    """The store of options holds exactly those of the tape that began in its step `first` or later."""
    gamma = 0.9
    assert watched.agent is not None
    store = watched.agent.store
    found = store.window(store.sampleable())
    recomputed = recompute(watched.tape, achieves, max_steps)
    expected = [option for options in recomputed for option in options if option.began >= first]
    assert len(found.action) == len(expected) == store.total

    def row(obs: Any, goal: Any, total: Any, factor: Any, after: Any) -> tuple[Any, ...]:
        return np.asarray(obs).tobytes(), int(goal), round(float(total), 5), round(float(factor), 5), bytes(after.data)

    stored = [
        row(found.obs[place].numpy(), found.action[place], found.reward[place], found.discount[place],
            np.asarray(found.next_obs[place].numpy()))
        for place in range(len(expected))
    ]  # fmt: skip
    wanted = [row(one.obs, one.goal, *one.worth(rule, gamma, clip), np.asarray(one.next_obs)) for one in expected]
    assert sorted(stored) == sorted(wanted)
    return expected


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("rule", ["paper", "smdp"])
def test_the_chain_s_options_are_those_of_the_tape(num_envs: int, rule: str, tmp_path: Path, watched: Watched) -> None:
    rlkit.train(settings(CHAIN, num_envs, rule), run=tmp_path / "run")
    options = check_store(watched, chain_achieves, 4, rule)
    assert len(watched.tape) * num_envs == 600
    kinds = {option.why for option in options}
    assert kinds == {"reached", "died", "aged", "truncated", "reached, died", "reached, truncated"}
    assert any(option.rewards[-1] == 1.0 for option in options), "nobody came back from the right end"


@pytest.mark.parametrize("num_envs", [1, 5])
def test_minigrid_s_options_are_those_of_the_tape(num_envs: int, tmp_path: Path, watched: Watched) -> None:
    rlkit.train(settings(DOORKEY, num_envs, "smdp"), run=tmp_path / "run")
    options = check_store(watched, object_achieves, 9, "smdp")
    assert {"reached", "aged", "truncated"} <= {option.why for option in options}


@pytest.mark.parametrize("num_envs", [1, 5])
def test_options_of_pretraining_are_left_out_and_rewards_clipped(
    num_envs: int, tmp_path: Path, watched: Watched
) -> None:
    """Also those that pre-training ends in the middle of; each reward is clipped by itself."""
    changes = {"pretraining_steps": 154, "meta": {"reward_clip": 0.15}}
    rlkit.train(settings(CHAIN, num_envs, "paper", agent=changes), run=tmp_path / "run")
    first = -(-154 // num_envs)
    assert (watched.tape[first].extras["age"] > 0).any(), "no option was in progress"
    options = check_store(watched, chain_achieves, 4, "paper", clip=0.15, first=first)
    assert any(max(option.rewards) > 0.15 for option in options)


@pytest.mark.parametrize("of", ["state", "successor"])
@pytest.mark.parametrize("timing", ["sample", "insert"])
def test_the_meta_controller_s_bonus_is_of_where_options_begin_or_end(
    of: str, timing: str, tmp_path: Path, watched: Watched
) -> None:
    bonus = {"count_of": of, "timing": timing, "hash": {"type": "exact"}, "beta": 1.0}
    rlkit.train(settings(CHAIN, 1, "paper", agent={"meta": {"bonus": bonus}}), run=tmp_path / "run")
    visits: dict[int, int] = {}
    paid = []  # the bonus of each step when it was made
    for step in watched.tape:
        before, after = int(step.before.obs[0]), int(step.after.obs[0])
        for state in [before, after] if step.before.first[0] else [after]:
            visits[state] = visits.get(state, 0) + 1
        paid.append(visits[before if of == "state" else after] ** -0.5)
    wanted = []
    for option in recompute(watched.tape, chain_achieves, 4)[0]:
        place = int(option.obs if of == "state" else option.next_obs)
        turn = option.began if of == "state" else option.began + len(option.rewards) - 1
        wanted.append(visits[place] ** -0.5 if timing == "sample" else paid[turn])
    agent = watched.agent
    assert agent is not None
    found = agent.store.window(agent.store.sampleable())
    got = agent.meta.bonus.add(torch.zeros_like(found.reward), found)[:, 0]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)  # one environment: in order


@pytest.mark.parametrize("num_envs", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_checkpoint_in_the_middle_of_an_option(num_envs: int, tmp_path: Path, watched: Watched) -> None:
    rlkit.train(settings(CHAIN, num_envs, "smdp"), run=tmp_path / "whole")
    turns = 300 // num_envs
    turns += next(turn for turn, step in enumerate(watched.tape[turns:]) if step.extras["age"][0] > 0)
    watched.tape.clear()
    run = rlkit.train(settings(CHAIN, num_envs, "smdp", train={"steps": turns * num_envs}), run=tmp_path / "run").path
    assert len(watched.tape) == turns
    rlkit.resume(run, 600)
    assert watched.tape[turns].extras["age"][0] > 0, "no option was in progress"
    assert len(watched.tape) * num_envs == 600
    check_store(watched, chain_achieves, 4, "smdp")


def test_windows_stay_within_their_option(tmp_path: Path, watched: Watched) -> None:
    """What the controller learns of each step, recomputed from the tape: cut where its option ended."""
    rlkit.train(settings(CHAIN, 5, "paper"), run=tmp_path / "run")
    agent = watched.agent
    assert agent is not None
    replay, gamma = agent.replay, 0.99
    index = replay.sampleable()
    assert len(index) == 600
    windows = replay.window(index)
    goal = torch.as_tensor(np.ascontiguousarray(windows.extras["goal"][:, 0]))
    made = transitions(Batch(windows, index, torch.ones(600)), goal, gamma, RewardConfig(), NoBonus())
    expected = []
    for env in range(5):
        for place, step in enumerate(watched.tape):
            target, total, factor = int(step.extras["goal"][env]), 0.0, 1.0
            for number, later in enumerate(watched.tape[place : place + 3]):
                reached = int(later.after.obs[env]) == target
                total += gamma**number * reached
                factor *= gamma * (not reached) * (not later.terminated[env])
                age = int(later.extras["age"][env]) + 1
                after = int(later.after.obs[env])
                if reached or later.ended[env] or age == 4:
                    break
            expected.append((int(step.before.obs[env]), target, int(step.action[env]), total, factor, after))
    found = zip(windows.obs, goal, made.action, made.reward, made.discount, windows.next_obs, strict=True)
    rounded = [tuple(round(float(value), 5) for value in row) for row in found]
    assert sorted(rounded) == sorted(tuple(round(float(value), 5) for value in row) for row in expected)


def test_goals_are_those_that_may_be_chosen(tmp_path: Path, watched: Watched) -> None:
    """Never the state one is in, never the same goal twice in a row."""
    rlkit.train(settings(CHAIN, 5, "paper", agent={"repeat_goals": False}), run=tmp_path / "run")
    for env, options in enumerate(recompute(watched.tape, chain_achieves, 4)):
        assert all(option.goal != int(option.obs) for option in options)
        ends = [int(option.next_obs) == 0 or "truncated" in option.why for option in options]
        pairs = zip(options, options[1:], ends, strict=False)
        assert all(end or one.goal != other.goal for one, other, end in pairs), env
    agent = watched.agent
    assert agent is not None
    window = agent.store.window(agent.store.sampleable())
    for goal, after, allowed in zip(window.action[:, 0], window.next_obs, window.extras["allowed"][:, 0], strict=True):
        assert set(np.flatnonzero(~allowed)) == {int(goal), int(after)}
