"""Weight-normalised networks on both levels of h-DQN: fitted to random play once, before the first update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from agents.hdqn import HDQNAgent, HDQNConfig, plugin
from envs.gymnasium import plugin as gymnasium
from helpers.hdqn_worlds import CHAIN, DOORKEY, OBJECTS, config, merged
from rlkit.agent import AgentContext
from rlkit.devices import to_device
from rlkit.errors import ConfigError
from rlkit.nn.diagnostics import with_hooks
from rlkit.nn.inputs import InputLayer
from rlkit.nn.weight_norm import length_and_direction, normalised_layers
from rlkit.pacing import Ratio
from rlkit.seeding import Streams
from rlkit.testing.agents import check_agent
from rlkit.testing.states import difference, snapshot
from rlkit.training.action_log import ActionLog
from rlkit.training.rollout import Rollout
from rlkit.types import EnvSpec, Mode, Purpose, StepBatch

pytestmark = pytest.mark.slow  # test_hdqn_agent is fast

CPU = torch.device("cpu")
CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")
RANDOM_STEPS = 160
FIRST = 164  # the step after which the first of 0.3 updates a step is owed


def weight(**changes: Any) -> dict[str, Any]:
    table = {"initial_batch": 150, "output_scale": 0.3, "project": True}
    return {"encoder": "mlp", "hidden": (16,), "normalisation": "weight", "weight_norm": table} | changes


def levels(lower: Any = None, upper: Any = None, **changes: Any) -> HDQNConfig:
    """Steps too small to see, so that what the initialisation made is still there after some updates."""
    base = {
        "goals": OBJECTS,
        "max_option_steps": 5,
        "controller": {
            "learning_starts": RANDOM_STEPS,
            "replay_capacity": 300,
            "learning_rate": 1e-12,
            "target": {"every": 10**6},
            "hindsight": {"share": 0.8},
            "network": lower or weight(),
        },
        "meta": {
            "learning_starts": 5,
            "learning_rate": 1e-12,
            "target": {"every": 10**6},
            "network": upper or weight(),
        },
    }
    return config(**merged(base, changes))


def spec_of(env: Any = DOORKEY) -> EnvSpec:
    environments = gymnasium.make(env, 1, Purpose.TRAIN)
    environments.close()
    return environments.spec


def fresh(chosen: HDQNConfig, seed: int = 0, env: Any = DOORKEY) -> HDQNAgent:
    return plugin.agent(chosen, spec_of(env), AgentContext(Streams(seed), CPU))


def play(agent: HDQNAgent, count: int, env: Any = DOORKEY) -> Iterator[StepBatch]:
    """Steps, observed, not learned from."""
    environments = gymnasium.make(env, 1, Purpose.TRAIN)
    rollout = Rollout(
        environments, ActionLog(Streams(2), 1, reseed_after=10**9), np.random.default_rng(3), Mode.EXPLORE
    )
    rollout.start(agent)
    for _ in range(count):
        rollout.act(agent)
        rollout.send()
        step = rollout.receive()
        agent.observe(step)
        yield step
        rollout.reset_ended()
    environments.close()


def lived(agent: HDQNAgent, count: int) -> list[StepBatch]:
    """The steps of a life in which it also learned."""
    steps = []
    for step in play(agent, count):
        steps.append(step)
        agent.learn()
    return steps


def pre_activations(network: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """Of each normalised layer, units first, (C, everything else)."""
    found: list[Tensor] = []
    for layer, _ in normalised_layers(network):
        layer.register_forward_hook(lambda part, args, out: found.append(out.movedim(1, 0).flatten(1)))
    with torch.no_grad():
        with_hooks(network)(*inputs)
    return found


CONVOLUTIONS = weight(encoder="minatar", dueling=True, activation="elu")


@pytest.mark.parametrize(
    ("controller", "meta", "layers"),
    [(weight(), weight(), (2, 2)), (weight(goal="heads"), weight(), (2, 2)), (CONVOLUTIONS, CONVOLUTIONS, (5, 5))],
    ids=["input", "heads", "minatar"],
)
def test_both_levels_start_with_mean_0_and_variance_1(controller: Any, meta: Any, layers: tuple[int, int]) -> None:
    """On the very batches that were drawn: a second agent in the state of that moment draws them again."""
    chosen = levels(controller, meta)
    agent, second = fresh(chosen), fresh(chosen)
    lived(agent, FIRST - 1)
    assert agent.updates == agent.meta.learner.updates == 0
    for _ in play(agent, 1):
        second.load_state_dict(snapshot(agent.state_dict()))
        agent.learn()
    assert agent.updates == 1
    size = chosen.controller.network.initial_batch
    window = second.replay.sample(size).window
    goal = to_device(np.ascontiguousarray(np.asarray(window.extras["goal"])[:, 0]), CPU)
    assert len(goal.unique()) > 1
    seen = {"controller": (window.obs, goal), "meta": (second.replay.sample(size).window.obs,)}
    for (name, inputs), count in zip(seen.items(), layers, strict=True):
        online, learner = getattr(agent.policy, name), getattr(agent, name).learner
        with torch.no_grad():
            torch.testing.assert_close(learner.target(*inputs), online(*inputs), atol=1e-5, rtol=0)
        found = pre_activations(online, *inputs)
        assert len(found) == count
        outputs = {1, 3} if count == 4 else {2, 4} if count == 5 else {1}
        for number, t in enumerate(found):
            scale = 0.3 if number in outputs else 1.0
            sigma, mu = torch.std_mean(t, 1, correction=0)
            alive = sigma > 0.5 * scale  # what the data leave constant keeps a small deviation
            assert alive.float().mean() > 0.8
            torch.testing.assert_close(mu, torch.zeros_like(mu), atol=2e-3, rtol=0)
            torch.testing.assert_close(sigma[alive], torch.full_like(sigma[alive], scale), atol=2e-3, rtol=0)


def test_a_meta_controller_waits_for_random_play_and_then_catches_up() -> None:
    """Its goals are random as long; a plain one beside a normalised controller does not wait."""
    agent, plain = fresh(levels()), fresh(levels(upper={"hidden": (16,)}))
    lived(agent, FIRST - 1)
    pacing = Ratio(levels().meta.updates_per_option, levels().meta.learning_starts)
    owed = pacing.total(agent.store.total)
    assert agent.meta.learner.updates == 0
    assert agent.meta_epsilon() == 1.0
    assert owed > 10
    scales: list[list[Tensor]] = []
    for _ in play(agent, 20):
        agent.learn()
        assert agent.meta.learner.updates == pacing.total(agent.store.total) >= owed
        scales.append([length_and_direction(layer)[0].detach().clone() for layer in _layers(agent)])
    assert agent.meta_epsilon() < 1.0
    for first, last in zip(scales[0], scales[-1], strict=True):  # fitted once
        torch.testing.assert_close(first, last, atol=1e-5, rtol=1e-5)
    lived(plain, FIRST - 1)
    assert plain.meta.learner.updates > 10
    assert plain.meta_epsilon() < 1.0


def test_inputs_of_both_levels_are_standardised_before_either_learns() -> None:
    plain = {"hidden": (16,), "input": "standardise", "normalisation": "none", "weight_norm": None}
    chosen = levels(plain, plain, goals={"name": "helpers.hdqn_worlds:Sides"})
    agent = fresh(chosen, env=CARTPOLE)
    for number, _ in enumerate(play(agent, FIRST, CARTPOLE), 1):
        assert agent.meta.learner.updates == 0
        assert agent.meta_epsilon() == 1.0
        seen = agent.replay.window(agent.replay.sampleable()).obs
        agent.learn()
        assert (agent.updates > 0) == (agent.meta.learner.updates > 0) == (number == FIRST)
    mean, deviation = seen.mean(0), seen.std(0, correction=0)
    for level in (agent.controller, agent.meta):
        assert isinstance(level.learner.target.inputs, InputLayer)
        torch.testing.assert_close(level.learner.target.inputs(seen), (seen - mean) / deviation, rtol=1e-3, atol=1e-3)
    for network in (agent.policy.controller, agent.policy.meta):
        torch.testing.assert_close(network.inputs(seen), (seen - mean) / deviation, rtol=1e-3, atol=1e-3)


def _layers(agent: HDQNAgent) -> list[nn.Module]:
    both = nn.ModuleList((agent.policy.controller, agent.policy.meta))
    return [layer for layer, _ in normalised_layers(both)]


@pytest.mark.parametrize("stopped", [FIRST - 5, FIRST - 1, FIRST, FIRST + 1, FIRST + 9])
def test_resuming_around_the_initialisation(stopped: int) -> None:
    chosen = levels(**{level: {"learning_rate": 1e-3, "target": {"every": 7}} for level in ("controller", "meta")})
    agent = fresh(chosen)
    steps: list[StepBatch] = []
    for step in play(agent, FIRST + 30):
        steps.append(step)
        agent.learn()
        if len(steps) == stopped:
            saved = snapshot(agent.state_dict())
            assert (agent.updates > 0) == (stopped >= FIRST)
    resumed = fresh(chosen, seed=1)
    resumed.load_state_dict(saved)
    for step in steps[stopped:]:
        resumed.observe(step)
        resumed.learn()
    assert agent.meta.learner.updates > 10
    assert difference(snapshot(agent.state_dict()), snapshot(resumed.state_dict())) is None


SMALL = {"hidden": (8,), "normalisation": "weight", "weight_norm": {"initial_batch": 20, "exponential": True}}


@pytest.mark.parametrize(
    ("controller", "meta"),
    [
        ({**SMALL, "goal": "heads"}, SMALL),
        pytest.param({"hidden": (8,)}, SMALL, marks=pytest.mark.slow),
        pytest.param({**SMALL, "normalisation": "weight_mean_batch"}, {**SMALL, "hidden": ()}, marks=pytest.mark.slow),
        ({"normalisation": "batch"}, {"normalisation": "spectral"}),
    ],
    ids=["weight", "meta alone", "mean-only", "others"],
)
def test_conformance(controller: dict[str, Any], meta: dict[str, Any]) -> None:
    chosen = config(controller={"network": controller}, meta={"network": meta}, max_option_steps=3)
    check_agent(plugin, chosen, gymnasium, CHAIN, steps=40)


def test_both_levels_limit_entries_and_are_looked_at() -> None:
    """Entries of at most theta / rate: a plain step is no longer than theta."""
    table = {"adjustable_clip": 0.01, "diagnostics_every": 1}
    for level in (config(controller=table).controller, config(meta=table).meta):
        settings = level.learner().gradient
        assert settings.max_grad_value == pytest.approx(0.01 / level.learning_rate)
        assert settings.diagnostics_every == 1
    with pytest.raises(ValidationError, match="give one"):
        config(meta={"adjustable_clip": 1.0, "max_grad_value": 1.0})


def test_a_normalisation_without_layers_is_refused_on_both_levels() -> None:
    network = {"encoder": "mlp", "hidden": (), "normalisation": "layer"}
    for level in ("controller", "meta"):
        with pytest.raises(ConfigError, match="has no layer to act on"):
            fresh(config(goals=OBJECTS, **{level: {"network": network}}))


def test_networks_of_both_levels_are_described() -> None:
    shown = plugin.networks(levels(), spec_of())
    assert list(shown) == ["meta-controller", "controller"]
    goals = len(fresh(levels()).policy.goals.names)
    assert shown["meta-controller"][-1].shape == (goals,)
    assert shown["controller"][-1].shape == (spec_of().num_actions,)
    assert [row.kind for row in shown["controller"]].count("linear 16, weight norm") == 1
