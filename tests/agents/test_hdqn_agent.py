import pytest
from hdqn_worlds import CHAIN, DOORKEY, OBJECTS, TABLE, config

from agents.hdqn import plugin
from envs.gymnasium import plugin as gymnasium
from rlkit.testing.agents import check_agent

ALL = {
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
    "meta": {"double": True, "reward_clip": 0.5, "bonus": {"of": "successor"}},
}


@pytest.mark.parametrize(
    ("chosen", "env"),
    [
        (config(), CHAIN),
        (config(controller={"network": TABLE, "optimizer": {"type": "sgd"}}, meta={"network": {"hidden": ()}}), CHAIN),
        (config(**ALL), CHAIN),
        (config(goals=OBJECTS, max_option_steps=9, controller={"hindsight": {"which": "final"}}), DOORKEY),
    ],
    ids=["plain", "table", "all", "minigrid"],
)
def test_conformance(chosen, env) -> None:
    check_agent(plugin, chosen, gymnasium, env, steps=40)
