"""The count bonus inside a DQN that plays real worlds: recounted from the tape, and looked up window by window."""

from collections import Counter
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.dqn.agent import transitions
from helpers.counting_run import BETA, CART, LAKE, SIMHASH, TAXI, Run, config
from rlkit.config.load import resolve
from rlkit.errors import CapacityError, ConfigError, SpecError
from rlkit.testing.states import state_hash
from rlkit.types import EnvSpec, Histogram, Mode, Observation, StepBatch


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("chosen", [{}, {"count_of": "successor"}, {"count_of": "pair"}, {"hash": SIMHASH}], ids=str)
@pytest.mark.parametrize("env", [LAKE, TAXI, CART], ids=lambda env: env.id)
def test_every_visit_is_counted_once(env: Any, chosen: dict[str, Any], num_envs: int) -> None:
    run = Run(config(**chosen), env, num_envs)
    states, pairs = run.recount()
    assert sum(pairs.values()) == 200 * num_envs
    codes: Counter[int] = Counter()
    for code, times in zip(run.digests(list(states)).tolist(), states.values(), strict=True):
        codes[code] += times  # several states may share a code of simhash
    counts = run.bonus.visits.states.look_up(np.array(list(codes)))[:, 0]
    assert dict(zip(codes, counts.tolist(), strict=True)) == codes
    assert run.bonus.visits.states.distinct == len(codes)
    if chosen.get("count_of") == "pair":
        codes = Counter()
        for code, (key, times) in zip(run.digests([key for key, _ in pairs]).tolist(), pairs.items(), strict=True):
            codes[code, key[1]] += times
        assert run.bonus.visits.pairs is not None
        for (code, action), times in codes.items():
            assert run.bonus.visits.pairs.look_up(np.array([code]))[0, action] == times


def test_states_and_pairs_are_counted_in_tables_of_the_size_that_the_config_names() -> None:
    visits = Run(config(count_of="pair", counts={"type": "sketch", "primes": (101, 103)}), LAKE, steps=60).bonus.visits
    assert visits.pairs is not None
    for table in (visits.states, visits.pairs):
        assert len(table.state_dict()["cells"]) == 101 + 103


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("hashing", [{}, SIMHASH], ids=str)
def test_codes_belong_to_the_steps_of_their_window(hashing: dict[str, Any], num_envs: int) -> None:
    """Also those of the warm-up, which were stored before the hash had a centre."""
    run = Run(config(hash=hashing, optimism={}), TAXI, num_envs)
    replay = run.agent.replay
    index = replay.sampleable()
    assert len(index) == 200 * num_envs
    window = replay.window(index)
    before, after = np.asarray(window.extras["digest"]), np.asarray(window.extras["next_digest"])
    steps = window.steps.numpy()
    assert set(steps) == {1, 2, 3}
    np.testing.assert_array_equal(before[:, 0], run.digests([run.key(obs) for obs in window.obs.numpy()]))
    last = after[np.arange(len(index)), steps - 1]
    np.testing.assert_array_equal(last, run.digests([run.key(obs) for obs in window.next_obs.numpy()]))
    for j in (0, 1):
        inside = steps > j + 1
        np.testing.assert_array_equal(after[inside, j], before[inside, j + 1])
        follows = np.isin(index, index[inside])
        np.testing.assert_array_equal(
            before[inside, j + 1], before[np.searchsorted(index, index[follows] + (j + 1) * num_envs), 0]
        )


@pytest.mark.parametrize("of", ["state", "successor", "pair"])
def test_the_bonus_is_beta_over_the_root_of_todays_count(of: str) -> None:
    run = Run(config(count_of=of), LAKE)
    states, pairs = run.recount()
    replay = run.agent.replay
    window = replay.window(replay.sampleable())
    rewards = run.bonus.add(window.reward, window).numpy()
    for t, step in enumerate(run.steps):
        key, action = run.key(step.before.obs[0]), int(step.action[0])
        n = {"state": states[key], "successor": states[run.key(step.after.obs[0])], "pair": pairs[key, action]}[of]
        assert rewards[t, 0] == pytest.approx(step.reward[0] + BETA / np.sqrt(n))


def test_optimism_is_about_the_actions_of_the_state_at_hand() -> None:
    run = Run(config(optimism={"scale": 2.0, "exponent": 0.7}), LAKE)
    _, pairs = run.recount()

    def expected(obs: Any) -> list[float]:
        return [2.0 / (pairs[run.key(obs), action] + 1) ** 0.7 for action in range(4)]

    window = run.agent.replay.window(run.agent.replay.sampleable())
    bootstrapped = run.bonus.bootstrapping(window)
    assert bootstrapped is not None
    for row, next_obs in zip(bootstrapped.added.numpy(), window.next_obs.numpy(), strict=True):
        np.testing.assert_allclose(row, expected(next_obs), rtol=1e-6)
    latest = run.steps[-1].after
    for first, obs in ((False, latest.obs), (True, np.zeros_like(latest.obs))):
        acting = run.bonus.acting(Observation(obs, {}, np.array([first])))
        assert acting is not None
        np.testing.assert_allclose(acting.added[0], expected(obs[0]), rtol=1e-6)


def test_optimism_decides_where_values_do_not() -> None:
    """Without random actions, of a state's actions none is tried twice before all were tried once."""
    chosen = config(optimism={"scale": 1e6})
    chosen = chosen.model_copy(update={"learning_starts": 0, "epsilon": type(chosen.epsilon)(start=0.0, end=0.0)})
    run = Run(chosen, LAKE, steps=60)
    pairs: Counter[tuple[bytes, int]] = Counter()
    for step in run.steps:
        key = run.key(step.before.obs[0])
        assert pairs[key, int(step.action[0])] == min(pairs[key, action] for action in range(4))
        pairs[key, int(step.action[0])] += 1


def test_a_bonus_is_added_to_clipped_rewards_and_summed_with_them() -> None:
    run = Run(config(), LAKE)
    window = replace(run.agent.replay.sample(16).window, reward=torch.full((16, 3), 7.0))
    bonus = run.bonus.add(torch.zeros(16, 3), window)  # (16, 3)
    batch = replace(run.agent.replay.sample(16), window=window)
    reward = transitions(batch, 0.5, 1.0, run.bonus).reward
    for row in range(16):
        n = int(window.steps[row])
        assert reward[row] == pytest.approx(sum(0.5**j * (1.0 + float(bonus[row, j])) for j in range(n)), rel=1e-5)


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("count_first", [True, False])
def test_a_bonus_stored_at_insertion_is_that_of_the_moment(count_first: bool, num_envs: int) -> None:
    run = Run(config(timing="insert", count_first=count_first), LAKE, num_envs)
    window = run.agent.replay.window(run.agent.replay.sampleable())
    stored = np.asarray(window.extras["bonus"])[:, 0].reshape(-1)
    counts: Counter[bytes] = Counter()
    expected = []
    for step in run.steps:
        before = [run.key(obs) for obs in step.before.obs]
        # how often the state acted in was visited, apart from the visit that is acted in
        others = [counts[key] - (not first) for key, first in zip(before, step.before.first, strict=True)]
        counts.update(key for key, first in zip(before, step.before.first, strict=True) if first)
        counts.update(run.key(obs) for obs in step.after.obs)
        n = [counts[key] for key in before] if count_first else others
        expected.append(BETA / np.sqrt(np.maximum(n, 1)))
    rows = run.agent.replay.sampleable()
    flat = dict(zip(rows.tolist(), stored.tolist(), strict=True))
    by_env = [[flat[row] for row in rows.tolist() if row % num_envs == env] for env in range(num_envs)]
    np.testing.assert_allclose(np.array(by_env).T, expected, rtol=1e-6)


def test_evaluation_counts_nothing_and_sees_no_optimism() -> None:
    run = Run(config(optimism={"scale": 1e6}), LAKE)
    before = state_hash(run.agent.state_dict())
    observation = Observation(np.arange(16), {}, np.ones(16, np.bool_))
    rng = np.random.default_rng(0)
    output = run.agent.act(observation, {}, rng, Mode.EVALUATE)
    np.testing.assert_array_equal(output.action, run.agent.policy.values(observation.obs).argmax(1))
    assert state_hash(run.agent.state_dict()) == before


def test_what_it_says_of_itself() -> None:
    run = Run(config(count_of="successor"), LAKE)
    states, _ = run.recount()
    bonuses, first_visits, returns, total = [], [], [], 0.0
    counts: Counter[bytes] = Counter()
    for step in run.steps:
        key = run.key(step.after.obs[0])
        visited = [run.key(step.before.obs[0])] * bool(step.before.first[0]) + [key]
        known = len(counts)
        counts.update(visited)
        bonuses.append(BETA / np.sqrt(counts[key]))
        first_visits.append((len(counts) - known) / len(visited))
        total += bonuses[-1]
        if step.ended[0]:
            returns.append(total)
            total = 0.0
    logged = run.metrics[1:]  # each step is reported by the learn that follows it
    assert [row["explore/bonus"] for row in logged] == pytest.approx(bonuses[:-1])
    assert [row["explore/first_visits"] for row in logged] == first_visits[:-1]
    assert [row["episode/intrinsic_return"] for row in logged if "episode/intrinsic_return" in row] == pytest.approx(
        returns[: len([step for step in run.steps[:-1] if step.ended[0]])]
    )
    gauges = run.agent.gauges()
    assert gauges["explore/distinct_codes"] == len(states)
    histogram = gauges["explore/counts"]
    assert isinstance(histogram, Histogram)
    assert sorted(histogram.values) == sorted(states.values())


@pytest.mark.parametrize(("of", "share"), [("successor", 0.2), ("pair", 1.0)])
def test_what_several_environments_find_at_once_is_found(of: str, share: float) -> None:
    """Five begin in the same state and take the same step: two of ten visits are first ones, and every pair is new."""
    run = Run(config(count_of=of), LAKE, 5, steps=0)
    here, there, no = np.zeros(5, np.int64), np.ones(5, np.int64), np.zeros(5, np.bool_)
    ones = np.ones(5, np.float32)
    before = Observation(here, {}, ~no)
    run.bonus.observe(StepBatch(before, here, ones, ones, no, no, Observation(there, {}, no), {}))
    assert run.bonus.learn()["explore/first_visits"] == share
    # an episode that begins although the last did not end, as after a resume that could not play back
    run.bonus.observe(StepBatch(before, here, ones, ones, ~no, no, Observation(there, {}, no), {}))
    assert run.bonus.learn()["episode/intrinsic_return"] < BETA


def test_bounded_optimism_draws_values_towards_its_own() -> None:
    run = Run(config(optimism={"scale": 2.0, "exponent": 2.0, "bounded": True}), LAKE)
    _, pairs = run.recount()
    window = run.agent.replay.window(run.agent.replay.sampleable())
    optimism = run.bonus.bootstrapping(window)
    assert optimism is not None
    values = torch.randn(len(window.reward), 4, generator=torch.Generator().manual_seed(0))
    for row, value, next_obs in zip(optimism(values), values, window.next_obs.numpy(), strict=True):
        weight = np.array([(pairs[run.key(next_obs), action] + 1) ** -2.0 for action in range(4)])
        np.testing.assert_allclose(row, (1 - weight) * value.numpy() + weight * 2.0, rtol=1e-5)
    acting = run.bonus.acting(replace(run.steps[-1].after, obs=np.array([99])))  # what the newest step led to decides
    assert acting is not None
    huge = np.full((1, 4), 1e6, np.float32)
    tried = [pairs[run.key(run.steps[-1].after.obs[0]), action] for action in range(4)]
    assert [bool(value < 1e6) for value in acting(huge)[0]] == [True] * 4
    assert all(value == 2.0 for value, count in zip(acting(huge)[0], tried, strict=True) if not count)


def test_it_says_little_in_the_warm_up() -> None:
    assert "explore/counts" not in Run(config(hash=SIMHASH), CART, steps=20).agent.gauges()


@pytest.mark.parametrize(
    ("bonus", "message"),
    [
        (
            {
                "hash": SIMHASH,
                "features": {"type": "function", "function": "exploration.count.test_bonus:parity"},
            },
            "",
        ),
        ({"features": {"type": "pixels"}}, "grey or colour frames"),
        ({"features": {"type": "bass"}}, "grey or colour frames"),
        ({"features": {"type": "bytes", "bytes": [{"byte": 3}]}}, 'no signal "ram"'),
        ({"features": {"source": "position"}}, 'no signal "position"'),
    ],
)
def test_what_does_not_fit_is_refused(bonus: dict[str, Any], message: str) -> None:
    if message:
        with pytest.raises(SpecError, match=message):
            Run(config(**bonus), CART, steps=0)
    else:
        assert Run(config(**bonus), CART).bonus.visits.states.distinct <= 2


def broken(obs: Any, signals: Any) -> Any:
    return signals["nowhere"]


@pytest.mark.parametrize(
    ("bonus", "error", "message"),
    [
        (
            {"features": {"type": "function", "function": "exploration.count.test_bonus:broken"}},
            ConfigError,
            'features.function "exploration.count.test_bonus:broken" failed: KeyError',
        ),
        ({"counts": {"type": "sketch", "primes": (10**13,)}}, CapacityError, "a sketch of counts .* available"),
        ({"hash": SIMHASH}, CapacityError, r"centring 4 features by 1,000,000,000,000 random steps .* available"),
    ],
    ids=["function", "sketch", "centre"],
)
def test_what_fails_or_does_not_fit_is_said(bonus: dict[str, Any], error: type[Exception], message: str) -> None:
    chosen = config(**bonus).model_copy(update={"learning_starts": 10**12})
    with pytest.raises(error, match=message):
        Run(chosen, CART, steps=0)


def test_a_projection_that_does_not_fit_into_memory_is_refused() -> None:
    chosen = config(hash={"type": "simhash", "bits": 4096}).bonus
    assert chosen is not None
    spec = EnvSpec(gym.spaces.Discrete(10**9), num_actions=2, num_envs=1)
    with pytest.raises(CapacityError, match=r"projecting 1,000,000,000 features to 4,096 bits .* available"):
        chosen.validate_for(spec, 100)


def test_centring_needs_random_play_first() -> None:
    chosen = config(hash=SIMHASH).model_copy(update={"learning_starts": 0})
    with pytest.raises(ConfigError, match="learning_starts >= 1"):
        Run(chosen, CART, steps=0)


def parity(obs: Any, signals: Any) -> Any:
    """One number: whether the cart is right of the middle."""
    return (obs[:, :1] > 0).astype(np.float32)


@pytest.mark.parametrize(
    ("bonus", "message"),
    [
        ({"beta": -0.1}, ".beta: .*greater than or equal to 0"),
        ({"hash": {"type": "simhash", "bits": 0}}, ".hash.bits: .*greater than or equal to 1"),
        ({"hash": {"type": "simhash", "bits": 4097}}, ".hash.bits: .*less than or equal to 4096"),
        ({"count_first": False}, ": bonus.count_first = false needs bonus.timing"),
        ({"features": {"type": "nothing"}}, ".features: .*'nothing'"),
        ({"type": "nothing"}, ": type: no plug-in 'nothing' among the bonuses"),
        ({"typo": 1}, ".typo: unknown key.*; allowed: alpha, .*beta, .*timing"),
        ({"count_of": "action"}, ".count_of: .*'state', 'successor' or 'pair'"),
    ],
)
def test_impossible_settings_are_refused(bonus: dict[str, Any], message: str) -> None:
    agent = {"name": "dqn", "bonus": bonus}
    tables = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "agent": agent, "train": {"steps": 1}}
    with pytest.raises(ConfigError, match=f"^x: agent.bonus{message}"):
        resolve("x", tables)


@pytest.mark.parametrize("bounded", [False, True])
def test_optimism_reaches_the_targets(bounded: bool) -> None:
    run = Run(config(optimism={"bounded": bounded}), LAKE)
    batch = run.agent.replay.sample(16)
    learned = transitions(batch, 0.9, 0.0, run.bonus).adjustment
    expected = run.bonus.bootstrapping(batch.window)
    assert learned is not None
    assert expected is not None
    values = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(learned(values), expected(values))
    assert not torch.equal(learned(values), values)
