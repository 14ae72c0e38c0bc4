"""The DQN agent in real environments, and its config."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from pydantic import ValidationError

from agents.dqn import DQNAgent, DQNConfig, plugin
from agents.dqn.agent import transitions
from agents.dqn.config import PrioritisedConfig
from envs.gymnasium import plugin as gymnasium
from rlkit.agent import AgentContext
from rlkit.errors import CapacityError, ConfigError, SpecError
from rlkit.exploration.protocol import NoBonus
from rlkit.nn.weight_norm import length_and_direction, normalised_layers
from rlkit.seeding import Streams
from rlkit.testing.agents import check_agent
from rlkit.testing.states import difference, snapshot
from rlkit.types import Batch, EnvSpec, Mode, Observation, Purpose, StepBatch, Window

CPU = torch.device("cpu")
CARTPOLE = gymnasium.config(name="gymnasium", id="CartPole-v1")
LAKE = gymnasium.config(name="gymnasium", id="FrozenLake-v1")
BREAKOUT = gymnasium.config(
    name="gymnasium", id="MinAtar/Breakout-v1", register=("minatar.gym:register_envs",), max_episode_steps=100
)
CROSSING = gymnasium.config(
    name="gymnasium", id="MiniGrid-Empty-5x5-v0", register=("minigrid",), wrappers=("minigrid.wrappers:ImgObsWrapper",)
)
ALL = {
    "double": True,
    "n_step": 3,
    "prioritised": {"beta_updates": 20},
    "reward_clip": 0.5,
    "network": {"hidden": (16, 8), "dueling": True},
    "target": {"every": 1, "tau": 0.1},
    "optimizer": {"type": "adamax", "betas": (0.5, 0.999)},
}

WEIGHT = {"normalisation": "weight", "weight_norm": {"initial_batch": 16, "project": True, "exponential": True}}
IMPALA = {"encoder": "impala", "width": 0.25, "pooling": "fractional_max", "normalisation": "layer", "hidden": (8,)}


def config(**changes: Any) -> DQNConfig:
    values = {
        "name": "dqn",
        "learning_starts": 20,
        "replay_capacity": 120,  # smaller than a run of the suite: rows are overwritten
        "batch_size": 8,
        "updates_per_step": 0.3,
        "double": False,
        "n_step": 1,
        "network": {"hidden": (16,)},
        "target": {"every": 7},
        "epsilon": {"steps": 60, "end": 0.1},
    }
    return DQNConfig(**(values | changes))


def spec_of(env: Any = CARTPOLE, num_envs: int = 1) -> EnvSpec:
    environments = gymnasium.make(env, num_envs, Purpose.TRAIN)
    environments.close()
    return environments.spec


def fresh(chosen: DQNConfig, spec: EnvSpec, seed: int = 0) -> DQNAgent:
    return plugin.agent(chosen, spec, AgentContext(Streams(seed), CPU))


def step(spec: EnvSpec, number: int = 0) -> StepBatch:
    n, shape = spec.num_envs, spec.observation_space.shape
    rng = np.random.default_rng(number)
    seen = [Observation(rng.normal(size=(n, *shape)).astype(np.float32), {}, np.zeros(n, np.bool_)) for _ in range(2)]
    ones, no = np.ones(n, np.float32), np.zeros(n, np.bool_)
    return StepBatch(seen[0], rng.integers(0, 2, n), ones, ones, no, no, seen[1], {})


@pytest.mark.parametrize(
    ("chosen", "env"),
    [
        (config(), CARTPOLE),
        (config(**ALL), CARTPOLE),
        (config(**ALL, learning_starts=70, bonus={"hash": {"type": "simhash"}, "optimism": {}}), CARTPOLE),
        (config(bonus={"count_of": "pair", "counts": {"type": "sketch", "primes": (101, 103)}}), LAKE),
        (config(bonus={"count_of": "successor"}, monte_carlo=0.3, n_step=2), LAKE),
        (config(bonus={"timing": "insert", "hash": {"type": "simhash", "bias": True}}), CARTPOLE),
        (config(network={"hidden": ()}, optimizer={"type": "rmsprop", "centered": True}), LAKE),
        (config(network={"encoder": "minatar", "hidden": (8,)}, loss="squared", batch_size=4), BREAKOUT),
        (config(network={"encoder": "minatar", "hidden": (8,)}, prioritised=True, batch_size=4), CROSSING),
        (config(network=WEIGHT, target={"every": 1, "tau": 0.1}, prioritised=True, diagnostics_every=3), CARTPOLE),
        (config(network={"normalisation": "weight_mean_batch", "weight_norm": {"initial_batch": 20}}), CARTPOLE),
        (config(network={"normalisation": "batch"}, double=True, adjustable_clip=1e-4), CARTPOLE),
        (config(network={"normalisation": "spectral", "dueling": True}, max_grad_value=0.1), CARTPOLE),
        (config(network=IMPALA, batch_size=4), BREAKOUT),
    ],
    ids=[
        *("plain", "all", "counting", "pairs", "returns", "inserted", "table", "minatar", "minigrid"),
        *("weight", "weight_mean_batch", "batch", "spectral", "impala"),
    ],
)
def test_conformance(chosen: DQNConfig, env: Any) -> None:
    check_agent(plugin, chosen, gymnasium, env, steps=30)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_updates_are_those_owed(num_envs: int) -> None:
    spec = spec_of(num_envs=num_envs)
    agent = fresh(config(learning_starts=0), spec)
    for number in range(1, 30):
        assert agent.learn().keys() in (set(), {"loss/td", "q/mean", "q/max", "q/td_error", "gradient/norm"})
        agent.observe(step(spec, number))
        agent.learn()
        assert agent.updates == number * num_envs * 3 // 10


def test_actions_are_random_until_learning_starts() -> None:
    spec = spec_of()
    agent = fresh(config(learning_starts=3, epsilon={"start": 0.5, "end": 0.1, "steps": 4}), spec)
    seen = []
    for number in range(9):
        seen.append(agent.epsilon)
        agent.observe(step(spec, number))
    assert seen == pytest.approx([1, 1, 1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


def test_acting_is_batched_and_greedy_where_coins_say_so() -> None:
    spec = spec_of(num_envs=50)
    agent = fresh(config(learning_starts=0, replay_capacity=200, epsilon={"start": 0.0, "end": 0.0}), spec)
    seen = step(spec).before
    explore = agent.act(seen, {}, np.random.default_rng(0), Mode.EXPLORE)
    greedy = agent.act(seen, {}, np.random.default_rng(1), Mode.EVALUATE)
    np.testing.assert_array_equal(explore.action, greedy.action)
    values = agent.policy.network(torch.from_numpy(seen.obs))
    np.testing.assert_array_equal(greedy.action, values.argmax(1).numpy())


def test_parameters_follow_from_the_seed_alone() -> None:
    spec = spec_of()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = fresh(config(), spec, seed=5).policy.network.head[0].weight
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(one, fresh(config(), spec, seed=5).policy.network.head[0].weight)
    assert not torch.equal(one, fresh(config(), spec, seed=6).policy.network.head[0].weight)


def test_rewards_are_clipped_one_by_one_and_summed() -> None:
    window = Window(
        obs=torch.zeros(2, 4),
        action=torch.tensor([[1, 0, 0], [0, 1, 1]]),
        reward=torch.tensor([[4.0, 7.0, 1.0], [-3.0, torch.nan, torch.inf]]),
        discount=torch.ones(2, 3),
        steps=torch.tensor([3, 1]),
        next_obs=torch.ones(2, 4),
        extras={},
    )
    made = transitions(Batch(window, np.arange(2), torch.tensor([1.0, 0.5])), 0.5, 1.0, NoBonus())
    assert made.action.tolist() == [1, 0]
    assert made.reward.tolist() == [1.75, -1.0]
    assert made.discount.tolist() == [0.125, 0.5]
    assert made.weight.tolist() == [1.0, 0.5]
    assert made.next_obs[0] is window.next_obs


def test_beta_rises_to_one() -> None:
    prioritised = PrioritisedConfig(beta=0.4, beta_updates=10)
    assert [prioritised.beta_at(updates) for updates in (0, 5, 10, 99)] == pytest.approx([0.4, 0.7, 1.0, 1.0])
    assert PrioritisedConfig(beta_updates=0).beta_at(0) == 1.0


@pytest.mark.parametrize(("value", "expected"), [(True, PrioritisedConfig()), (False, None), ({}, PrioritisedConfig())])
def test_prioritised_is_a_switch_too(value: Any, expected: PrioritisedConfig | None) -> None:
    assert config(prioritised=value).prioritised == expected


def test_gauges_read_the_moment() -> None:
    spec = spec_of()
    agent = fresh(config(prioritised={"beta": 0.5}), spec)
    for number in range(30):
        agent.observe(step(spec, number))
    assert dict(agent.gauges()) == pytest.approx(
        {"explore/epsilon": 1 - 0.9 * 10 / 60, "replay/fill": agent.replay.fill, "replay/beta": 0.5}
    )


def test_describe_counts_without_allocating() -> None:
    described = plugin.describe(config(replay_capacity=10**9), spec_of(), 1020)
    assert described["network"] == "(4,), linear 16, linear 2 -> 2 values; 114 parameters"
    assert described["replay"].startswith("1,000,000,000 steps, ")
    assert described["updates"].startswith("300 of 8 windows")


def test_a_replay_that_does_not_fit_is_refused() -> None:
    with pytest.raises(CapacityError, match=r"agent\.replay_capacity"):
        fresh(config(replay_capacity=10**12), spec_of())


def test_encoders_must_suit_the_environment() -> None:
    for make in (lambda c, s: plugin.policy(c, s, CPU), fresh, lambda c, s: plugin.describe(c, s, 1)):
        with pytest.raises(SpecError, match=r"nature.*\(4,\)"):
            make(config(network={"encoder": "nature"}), spec_of())
    with pytest.raises(SpecError, match=r"36 x 36.*\(4, 10, 10\)"):
        fresh(config(network={"encoder": "nature"}), spec_of(BREAKOUT))


class BatchNormalised(torch.nn.BatchNorm1d):
    """An encoder of a user's own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape[0])
        self.output_size = shape[0]


def test_a_batch_of_one_has_no_statistics() -> None:
    network = {"encoder": f"{__name__}:BatchNormalised"}
    fresh(config(network=network, batch_size=2), spec_of())
    for make in (fresh, lambda c, s: plugin.describe(c, s, 1)):
        with pytest.raises(ConfigError, match="batch_size = 1 must be at least 2"):
            make(config(network=network, batch_size=1), spec_of())


def test_a_replay_holds_what_a_network_is_initialised_from() -> None:
    with pytest.raises(ValidationError, match=r"replay_capacity = 15 must be at least network\.weight_norm"):
        config(network=WEIGHT, replay_capacity=15)


def test_a_state_of_another_config_is_refused() -> None:
    spec = spec_of()
    state = fresh(config(), spec).state_dict()
    with pytest.raises(ConfigError, match="policy's state does not fit"):
        fresh(config(network={"hidden": (17,)}), spec).load_state_dict(state)


def _lived(agent: DQNAgent, spec: EnvSpec, begin: int, end: int) -> DQNAgent:
    for number in range(begin, end):
        agent.learn()
        agent.observe(step(spec, number))
    return agent


@pytest.mark.parametrize("stopped", [15, 23, 24, 25, 30])
def test_resuming_around_the_initialisation(stopped: int) -> None:
    """The first update is owed from step 24 on, and made in the learn that follows: before, at, after."""
    spec = spec_of()
    chosen = config(network=WEIGHT)
    whole = _lived(fresh(chosen, spec), spec, 0, 40)
    first = _lived(fresh(chosen, spec), spec, 0, stopped)
    assert (first.updates > 0) == (stopped > 24)
    resumed = fresh(chosen, spec, seed=1)
    resumed.load_state_dict(snapshot(first.state_dict()))
    _lived(resumed, spec, stopped, 40)
    assert difference(snapshot(whole.state_dict()), snapshot(resumed.state_dict())) is None


def test_the_network_is_fitted_to_random_play_once_before_the_first_update() -> None:
    spec = spec_of()
    agent = _lived(fresh(config(network=WEIGHT, updates_per_step=1e-6, optimizer={"type": "sgd"}), spec), spec, 0, 60)
    assert agent.updates == 0
    scales = [g.detach().clone() for g in _scales(agent)]
    agent = _lived(fresh(config(network=WEIGHT, learning_rate=1e-12), spec), spec, 0, 40)
    assert agent.updates > 1
    with torch.inference_mode():
        q = agent.policy.network(agent.replay.sample(200).window.obs)
    assert q.std(0).tolist() == pytest.approx([0.1, 0.1], rel=0.4)  # of 16 observations, looked at on others
    assert not any(torch.allclose(g, before) for g, before in zip(_scales(agent), scales, strict=True))


@pytest.mark.parametrize("network", [{"hidden": (16,)}, WEIGHT], ids=["plain", "weight"])
@pytest.mark.parametrize("stopped", [95, 104, 110])
def test_inputs_are_standardised_by_random_play_once_before_the_first_update(stopped: int, network: Any) -> None:
    """The first update, and what precedes it, is owed from step 104 on; weights are initialised after it."""
    spec = spec_of()
    chosen = config(network={**network, "input": "standardise"}, learning_starts=100)
    first = _lived(fresh(chosen, spec), spec, 0, stopped)
    resumed = fresh(chosen, spec, seed=1)
    resumed.load_state_dict(snapshot(first.state_dict()))
    _lived(resumed, spec, stopped, 115)
    whole = _lived(fresh(chosen, spec), spec, 0, 115)
    assert difference(snapshot(whole.state_dict()), snapshot(resumed.state_dict())) is None
    seen = np.concatenate([step(spec, 0).before.obs, *(step(spec, number).after.obs for number in range(103))])
    inputs = resumed.policy.network.inputs
    for layer in (inputs, resumed.learner.target.inputs):
        np.testing.assert_allclose(layer.values.shift, seen.mean(0), rtol=1e-4)
        np.testing.assert_allclose(1 / layer.values.factor, seen.std(0), rtol=1e-4)
    loaded = plugin.policy(chosen, spec, CPU)
    loaded.load_policy_state(resumed.state_dict()["policy"])
    assert torch.equal(loaded.network.inputs(torch.ones(1, 4)), inputs(torch.ones(1, 4)))


def _scales(agent: DQNAgent) -> list[torch.Tensor]:
    return [length_and_direction(layer)[0] for layer, _ in normalised_layers(agent.policy.network)]


def test_new_keys_are_not_written_unless_asked_for() -> None:
    """Results of earlier versions carry a digest of the tables."""
    assert set(config().model_dump(mode="json", exclude_none=True)["network"]) == {
        "input",
        "encoder",
        "hidden",
        "dueling",
    }
    assert not {"max_grad_value", "adjustable_clip", "diagnostics_every"} & set(config().model_dump(exclude_none=True))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": {"normalisation": "batch"}, "batch_size": 1}, "(1, ...)"),
        ({"network": {"normalisation": "weight_mean_batch"}, "batch_size": 1}, "batch_size = 1 must be at least 2"),
        ({"network": {"normalisation": "weight"}}, "learning_starts = 20 must be at least network.weight_norm.initial"),
        ({"max_grad_value": 1.0, "adjustable_clip": 1.0}, "give one"),
        ({"diagnostics_every": 0}, "diagnostics_every"),
        ({"n_step": 5, "replay_capacity": 5}, "n_step = 5 must be smaller than replay_capacity = 5"),
        ({"updates_per_step": 0}, "updates_per_step"),
        ({"discount": 1.1}, "discount"),
        ({"loss": "l2"}, "'huber' or 'squared'"),
        ({"reward_clip": -1}, "reward_clip"),
        ({"network": {"hidden": (0,)}}, "network.hidden"),
        ({"leaning_rate": 1}, "leaning_rate"),
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
    bare = [name for name, field in _all_fields(DQNConfig) if not field.description]
    assert not bare


def _value_of(agent: DQNAgent, obs: int) -> np.ndarray:
    with torch.inference_mode():
        return agent.policy.network(torch.tensor([obs])).numpy()[0]


@pytest.mark.parametrize("changes", [{}, {"n_step": 3}, {"double": True, "prioritised": True}], ids=str)
def test_it_finds_the_values_of_a_chain(changes: dict[str, Any]) -> None:
    """Three states in a row, +1 at the end: q(s, right) is 1, gamma, gamma^2 from the end on, with all variants."""
    spec = EnvSpec(Discrete(3), num_actions=2, num_envs=1)
    chosen = config(
        learning_starts=0,
        learning_rate=0.05,
        batch_size=16,
        updates_per_step=1,
        replay_capacity=500,
        discount=0.5,
        network={"hidden": ()},
        target={"every": 10},
        **changes,
    )
    agent = fresh(chosen, spec)
    rng = np.random.default_rng(0)
    place, first = 0, True
    for _ in range(300):
        # n-step returns are those of the policy that acted, so it acts as it should: right, but for single steps
        right = int(changes.get("n_step", 1) > 1 or rng.random() < 0.7)
        after = place + 1 if right else 0
        done = after == 3
        agent.observe(_chain_step(place, right, after % 3, done, first))
        agent.learn()
        place, first = (0, True) if done else (after, False)
    right_values = [_value_of(agent, state)[1] for state in range(3)]
    assert right_values == pytest.approx([0.25, 0.5, 1.0], abs=0.05)


def _chain_step(place: int, action: int, after: int, done: bool, first: bool) -> StepBatch:
    def see(where: int, begins: bool) -> Observation:
        return Observation(np.array([where], np.int64), {}, np.array([begins]))

    reward, discount = np.array([float(done)], np.float32), np.array([0.0 if done else 1.0], np.float32)
    ended = np.array([done])
    return StepBatch(
        see(place, first), np.array([action]), reward, discount, ended, np.array([False]), see(after, False), {}
    )
