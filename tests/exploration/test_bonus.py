"""Bonuses as plug-ins: somebody else's beside DQN and h-DQN, and no bonus."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.dqn import DQNConfig
from agents.dqn import plugin as dqn
from agents.dqn.agent import transitions
from agents.hdqn import plugin as hdqn
from envs.gymnasium import plugin as gymnasium
from helpers.far_bonus import FarBonus
from helpers.hdqn_worlds import CHAIN
from helpers.hdqn_worlds import config as hdqn_config
from rlkit.config.load import resolve
from rlkit.errors import ConfigError
from rlkit.testing import check_agent
from rlkit.types import Batch, Window

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


@pytest.mark.parametrize(
    ("bonus", "message"),
    [
        ({"type": FAR, "scale": "wide"}, "agent.bonus.scale: Input should be a valid number"),
        ({"type": FAR, "beta": 1}, "agent.bonus.beta: unknown key; allowed: scale, type"),
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
