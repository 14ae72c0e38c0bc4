"""Bonuses as plug-ins: somebody else's beside DQN and h-DQN, and no bonus."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.dqn import DQNConfig
from agents.dqn import plugin as dqn
from agents.dqn.agent import transitions
from agents.hdqn import plugin as hdqn
from envs.gymnasium import plugin as gymnasium
from helpers.far_bonus import FarBonus
from helpers.hdqn_worlds import CHAIN
from helpers.hdqn_worlds import config as hdqn_config
from rlkit.config.load import resolve
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.bonus import BonusConfig, build_bonus
from rlkit.exploration.checked import CheckedBonus
from rlkit.exploration.paid import PaidBonus, UntilConfig
from rlkit.seeding import Streams
from rlkit.testing import check_agent
from rlkit.types import Batch, Observation, Purpose, StepBatch, Window

FAR = "helpers.far_bonus:FarConfig"
CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")


def dqn_config(**changes: Any) -> DQNConfig:
    values = {"name": "dqn", "learning_starts": 20, "replay_capacity": 120, "batch_size": 8, "n_step": 3}
    return DQNConfig(**(values | {"network": {"hidden": (16,)}} | changes))


def test_somebody_elses_bonus_works_beside_dqn() -> None:
    check_agent(dqn, dqn_config(bonus={"type": FAR}), gymnasium, CARTPOLE, steps=30)


def test_somebody_elses_bonus_works_on_both_levels_of_hdqn() -> None:
    bonus = {"type": FAR}
    chosen = hdqn_config(controller={"n_step": 3, "bonus": bonus}, meta={"bonus": bonus})
    check_agent(hdqn, chosen, gymnasium, CHAIN, steps=30)


def test_a_bonus_is_added_to_each_clipped_reward_of_a_window() -> None:
    far = torch.tensor([[1.0, 2.0, 4.0]])
    window = Window(
        obs=torch.zeros(1, 4),
        action=torch.zeros(1, 3, dtype=torch.int64),
        reward=torch.tensor([[3.0, -3.0, 0.5]]),  # clipped to 1, -1, 0.5
        discount=torch.ones(1, 3),
        steps=torch.tensor([3]),
        next_obs=torch.zeros(1, 4),
        extras={"far": far},
    )
    made = transitions(Batch(window, np.zeros(1, np.int64), torch.ones(1)), 0.5, 1.0, FarBonus(10.0))
    assert made.reward.item() == pytest.approx((1 + 10) + 0.5 * (-1 + 20) + 0.25 * (0.5 + 40))
    assert made.adjustment is None


def window_of(far: Tensor, steps: list[int]) -> Window:
    """A window of each row of `far`, of which the first steps count."""
    zeros = torch.zeros(far.shape)
    return Window(torch.zeros(len(far), 4), zeros.long(), zeros, zeros, torch.tensor(steps), zeros, {"far": far})


def test_bonuses_are_scaled_to_a_deviation_over_the_run() -> None:
    bonus = PaidBonus(FarBonus(10.0), 0.5, None)
    calls = [torch.tensor([[1.0, 2.0], [4.0, 99.0]]), torch.tensor([[3.0, 5.0], [5.0, 9.0]])]
    seen: list[float] = []
    for far, steps, counted in zip(calls, ([2, 1], [2, 2]), ([1.0, 2, 4], [3.0, 5, 5, 9]), strict=True):
        seen += [10 * each for each in counted]  # 99 is beyond the end of its window
        reward = bonus.add(torch.full((2, 2), 7.0), window_of(far, steps))
        assert reward.numpy() == pytest.approx(7 + 10 * far.numpy() * 0.5 / np.std(seen))
        other = PaidBonus(FarBonus(10.0), 0.5, None)
        other.load_state_dict(bonus.state_dict())
        bonus = other


def test_a_bonus_is_paid_until_the_task_is_solved() -> None:
    """Two of the newest three episodes; those that go on do not count, nor does a success on the way."""
    far, until = torch.ones(1, 1), UntilConfig(success=0.6, episodes=3)
    bonus, paid = PaidBonus(FarBonus(10.0), None, until), []
    for ended, success in (([1, 0], [0, 1]), ([0, 1], [1, 1]), ([1, 0], [0, 0]), ([1, 1], [1, 1]), ([1, 1], [0, 0])):
        signals, off = {"success": np.array(success, np.bool_)}, np.zeros(2, np.bool_)
        seen, zeros = Observation(np.zeros((2, 4)), signals, off), np.zeros(2, np.float32)
        bonus.observe(StepBatch(seen, np.zeros(2, np.int64), zeros, zeros, np.array(ended, np.bool_), off, seen, {}))
        paid.append(bonus.add(torch.zeros(1, 1), window_of(far, [1])).item())
        other = PaidBonus(FarBonus(10.0), None, until)
        other.load_state_dict(bonus.state_dict())
        bonus = other
    assert paid == [10, 10, 10, 0, 0]  # outcomes 0 | 1 | 0 | 1 1: then for good


@pytest.mark.parametrize(
    ("bonus", "message"),
    [
        ({"type": FAR, "scale": "wide"}, "agent.bonus.scale: Input should be a valid number"),
        ({"type": FAR, "beta": 1}, "agent.bonus.beta: unknown key; allowed: deviation, scale, type, until"),
        (
            {"type": "helpers.far_bonus:FarBonus"},
            "FarBonus' is not a subclass of rlkit.BonusConfig",
        ),
        ({"type": "cuont"}, r"agent.bonus: type: no plug-in 'cuont' among the bonuses \(did you mean count\?\)"),
        ({"type": "nowhere:Config"}, "agent.bonus: type: .*no module 'nowhere'"),
    ],
)
def test_wrong_tables_are_refused_with_their_key(bonus: dict[str, Any], message: str) -> None:
    tables = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "agent": {"name": "dqn", "bonus": bonus}}
    with pytest.raises(ConfigError, match=message):
        resolve("x", {**tables, "train": {"steps": 1}})


def test_a_bonus_that_ends_with_success_needs_the_signal() -> None:
    spec = gymnasium.make(CARTPOLE, 1, Purpose.TRAIN).spec
    for make in (dqn.describe, lambda config, spec, _: build_bonus(config.bonus, spec, Streams(0), None, 0)):
        with pytest.raises(SpecError, match=r'bonus\.until needs the signal "success"'):
            make(dqn_config(bonus={"type": FAR, "until": True}), spec, 100)


def test_a_config_with_a_bonus_comes_back_from_toml_as_it_was() -> None:
    agent = {"name": "dqn", "bonus": {"type": FAR, "scale": 2.5}}
    tables = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "agent": agent, "train": {"steps": 1}}
    config = resolve("x", tables)
    assert config.tables()["agent"]["bonus"] == {"type": FAR, "scale": 2.5}
    assert resolve("x", config.tables()) == config


@pytest.mark.parametrize(("value", "expected"), [(True, "count"), (False, None), ({}, "count")])
def test_true_is_the_count_bonus_and_false_none(value: Any, expected: str | None) -> None:
    bonus = dqn_config(bonus=value).bonus
    assert (bonus and bonus.type) == expected


ANSWERS = {  # of `observe` for two environments, and of `add` for rewards (3, 2): what it returns, what is said
    "a column to broadcast": (
        lambda step: {"far": np.zeros((2, 1), np.float32)},
        None,
        r"'far' as \(2, 1\)",
    ),
    "one number": (lambda step: {"far": np.float32(0)}, None, r"'far' as \(\) float32; expected \(2,\) float32"),
    "a column that would be rounded": (lambda step: {"far": np.zeros(2, np.complex64)}, None, "'far' as .* complex64"),
    "another column": (lambda step: {"near": np.zeros(2)}, None, r"observe returned \['near'\]; .* \['far'\]"),
    "nothing observed": (lambda step: None, None, "observe returned NoneType"),
    "a sum": (None, lambda reward: reward.sum(1), r"add returned a tensor \(3,\) torch.float32; expected .* \(3, 2\)"),
    "doubles": (None, lambda reward: reward.double(), "torch.float64; expected .* torch.float32"),
    "an array": (None, lambda reward: reward.numpy(), "add returned a ndarray"),
}


@pytest.mark.parametrize(("observed", "added", "message"), ANSWERS.values(), ids=ANSWERS)
def test_wrong_answers_of_somebody_elses_bonus_are_named(observed: Any, added: Any, message: str) -> None:
    spec = gymnasium.make(CARTPOLE, 2, Purpose.TRAIN).spec
    bonus = build_bonus(dqn_config(bonus={"type": FAR}).bonus, spec, Streams(0), None, 0)
    assert isinstance(bonus, CheckedBonus)
    off, zeros, seen = np.zeros(2, np.bool_), np.zeros(2, np.float32), Observation(np.zeros((2, 4)), {}, np.ones(2) > 0)
    step, window = (
        StepBatch(seen, np.zeros(2, np.int64), zeros, zeros, off, off, seen, {}),
        window_of(torch.ones(3, 2), [1]),
    )
    assert set(bonus.observe(step)) == {"far"}
    assert bonus.add(torch.zeros(3, 2), window).shape == (3, 2)
    if observed is not None:
        bonus.bonus.observe = observed  # type: ignore[method-assign]
    else:
        bonus.bonus.add = lambda reward, window: added(reward)  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=rf"agent.bonus \({FAR}\): .*{message}"):
        bonus.add(torch.zeros(3, 2), window) if observed is None else bonus.observe(step)


def test_a_config_without_build_is_named() -> None:
    spec = gymnasium.make(CARTPOLE, 1, Purpose.TRAIN).spec
    with pytest.raises(ConfigError, match=r"agent.bonus \(mine\): BonusConfig has no method build"):
        build_bonus(BonusConfig(type="mine"), spec, Streams(0), None, 0)
