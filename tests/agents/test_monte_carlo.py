"""Mixed Monte Carlo targets of DQN: stored returns against a recount from all steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.dqn import plugin
from agents.dqn.agent import DQNAgent
from agents.dqn.monte_carlo import mixed
from helpers.line_world import Line, line_spec
from rlkit.agent import AgentContext
from rlkit.seeding import Streams
from rlkit.types import Mode, StepBatch, Window

GAMMA, CLIP = 0.8, 2.0


def test_targets_are_mixed_where_the_return_is_known() -> None:
    """0.75 * (3 + 0.9 v) + 0.25 * 8, and 3 + 0.9 v where it is not."""
    known = torch.tensor([[8.0, 5.0], [float("nan"), 5.0]])
    nothing = torch.zeros(2, 2)
    window = Window(nothing, nothing, nothing, nothing, torch.ones(2).long(), nothing, {"return": known})
    total, discount = mixed(torch.tensor([3.0, 3.0]), torch.tensor([0.9, 0.9]), window, 0.25)
    assert total.numpy() == pytest.approx([0.75 * 3 + 0.25 * 8, 3.0])
    assert discount.numpy() == pytest.approx([0.75 * 0.9, 0.9])


@pytest.mark.parametrize("capacity", [400, 14])
def test_stored_returns_are_those_of_the_steps(capacity: int) -> None:
    """Of two environments whose episodes terminate or are truncated, in a replay that forgets, or does not."""
    spec = line_spec("number")
    config = plugin.config(
        name="dqn", monte_carlo=0.5, discount=GAMMA, reward_clip=CLIP, replay_capacity=capacity, learning_starts=10_000
    )
    agent = plugin.agent(config, spec, AgentContext(Streams(0), torch.device("cpu")))
    assert isinstance(agent, DQNAgent)
    line, rng, steps = Line(spec), np.random.default_rng(1), []
    for _ in range(90):
        observation = line.observe()
        output = agent.act(observation, {}, rng, Mode.EXPLORE)
        steps.append(line.step(observation, output.action, output.extras))
        agent.observe(steps[-1])
    assert {True, False} == {bool(step.terminated.any()) for step in steps if step.ended.any()}
    index = agent.replay.sampleable()
    window = agent.replay.window(index)
    found = [agent.replay.window(index[index % 2 == env]).extras["return"][:, 0].tolist() for env in (0, 1)]
    for env, stored in enumerate(found):
        expected = recount(steps, env)[-len(stored) :]
        assert stored == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert torch.isnan(torch.as_tensor(window.extras["return"])).any()
    assert np.isfinite(found[0] + found[1]).any()


def recount(steps: list[StepBatch], env: int) -> list[float]:
    """The discounted clipped rewards to the end of each step's episode; nan where it was not terminated."""
    returns = []
    for start in range(len(steps)):
        total, factor = 0.0, 1.0
        for step in steps[start:]:
            total += factor * float(np.clip(step.reward[env], -CLIP, CLIP))
            factor *= GAMMA
            if step.ended[env]:
                returns.append(total if step.terminated[env] else float("nan"))
                break
        else:
            returns.append(float("nan"))
    return returns
