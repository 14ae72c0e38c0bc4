"""The replay against a list of full transitions, over worlds where everything happens often."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.replay_oracle import (
    EXTRAS,
    NaiveReplay,
    Stream,
    World,
    assert_equal_states,
    compare,
    compare_sequences,
    copied,
    make,
)
from rlkit.errors import CapacityError, ConfigError, RlkitError, SpecError
from rlkit.replay import Column, Prioritised, Replay, replay_bytes
from rlkit.runs.checkpoint import load_state, save_state
from rlkit.types import Batch, EnvSpec, Stack


@st.composite
def worlds(draw: st.DrawFn) -> World:
    probability = st.sampled_from([0.0, 0.05, 0.3, 0.9])
    kind = draw(st.sampled_from(["flat", "planes", "channels"]))
    stack, shape, lacks_axis = None, draw(st.sampled_from([(), (4,), (2, 3)])), True
    dtypes = [np.uint8, np.bool_, np.int8, np.float32, np.float64, np.int64]
    if kind != "flat":
        size, padding = draw(st.integers(2, 4)), draw(st.sampled_from(["zero", "repeat"]))
        lacks_axis = kind == "planes"
        shape = (2, 3) if lacks_axis else (2, 3, 2)
        stack = Stack(draw(st.integers(0, 2)), size, padding)
    return World(
        num_envs=draw(st.integers(1, 4)),
        frame_shape=shape,
        dtype=draw(st.sampled_from(dtypes)),
        stack=stack,
        frame_shape_lacks_axis=lacks_axis,
        p_terminated=draw(probability),
        p_truncated=draw(probability),
        p_life=draw(probability),
        p_cut=draw(probability),
        p_restart=draw(st.sampled_from([0.0, 0.0, 0.1])),
    )


def smallest(world: World, steps: int) -> int:
    return world.num_envs * ((world.stack.size if world.stack else 1) + steps + 2)


@settings(max_examples=50, deadline=None)
@given(worlds(), st.integers(1, 5), st.integers(0, 60), st.integers(0, 2**31), st.sampled_from(["", "torch", "staged"]))
def test_every_window_is_what_happened(world: World, steps: int, more: int, seed: int, way: str) -> None:
    capacity = smallest(world, steps) + more
    options = Prioritised(alpha=0.7, eps=0.01)
    replay = made(way, world, capacity, steps, options)
    naive = NaiveReplay(world, capacity // world.num_envs, steps, options)
    stream = Stream(world, seed)
    rng = np.random.default_rng(seed)
    for t in range(100):
        step = stream.next()
        replay.add(*step)
        naive.add(*step)
        np.testing.assert_array_equal(replay.newest().numpy(), step[0].after.obs)
        if rng.random() < 0.3:
            batch = replay.sample(4)
            errors = torch.from_numpy(rng.normal(size=4).astype(np.float32) * 3)
            number = np.concatenate((batch.index[:3], batch.index[:1]))  # one of them twice
            replay.update_priorities(number, errors)
            naive.update_priorities(number, errors.numpy())
        if t % 23 == 0 or t == 99:
            compare(replay, naive)
            compare_sequences(replay, naive, int(rng.integers(1, 9)), int(rng.integers(0, 5)))
            compare_priorities(replay, naive)
    assert replay.fill == pytest.approx(np.mean([min(1, w / naive.rows) for w in naive.written]))


def made(way: str, *arguments: Any) -> Replay:
    """A replay on the CPU: plain, written to as on another device, or as one whose frames have no room there."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        if way == "torch":
            patch.setattr("rlkit.replay.ring.shares_memory", lambda device: False)
        if way == "staged":
            warnings.filterwarnings("ignore", message="the replay does not fit")
            patch.setattr("rlkit.replay.replay.placed", lambda num_bytes, device: torch.device("meta"))
        return make(*arguments, extras=EXTRAS)


def test_staged_frames_are_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkit.replay.replay.placed", lambda num_bytes, device: torch.device("meta"))
    with pytest.warns(UserWarning, match="does not fit on cpu: its frames stay on the host"):
        replay = make(World(num_envs=2, stack=Stack(0, 3, "zero")), 60, 1, None)
    assert not replay.keeps_newest


def leaves(replay: Replay) -> np.ndarray:
    """The priorities of the slots written to so far."""
    return np.array(replay.state_dict()["priorities"]["leaves"])


def compare_priorities(replay: Replay, naive: NaiveReplay) -> None:
    expected = np.zeros(replay.capacity)
    for number, (e, place) in naive.sampleable().items():
        expected[number % replay.capacity] = naive.history[e][place].priority
    found = leaves(replay)
    np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-12)
    assert (expected[len(found) :] == 0).all()


@settings(max_examples=20, deadline=None)
@given(worlds(), st.integers(1, 3), st.integers(0, 40), st.integers(0, 2**31), st.booleans(), st.integers(0, 70))
def test_a_loaded_replay_goes_on_bit_for_bit(
    world: World, steps: int, more: int, seed: int, prioritised: bool, taken_at: int
) -> None:
    options = Prioritised() if prioritised else None
    one = make(world, smallest(world, steps) + more, steps, options, extras=EXTRAS)
    other = make(world, smallest(world, steps) + more, steps, options, seed=99, extras=EXTRAS)
    stream = Stream(world, seed)
    for t in range(80):
        if t == taken_at:
            other.load_state_dict(copied(one.state_dict()))
            assert_equal_states(one.state_dict(), other.state_dict())
        step = stream.next()
        one.add(*step)
        batch = one.sample(5, beta=0.5)
        errors = batch.window.reward[:, 0] * 2
        one.update_priorities(batch.index, errors)
        if t >= taken_at:
            other.add(*step)
            again = other.sample(5, beta=0.5)
            assert_equal_batches(batch, again)
            other.update_priorities(again.index, errors)
    assert_equal_states(one.state_dict(), other.state_dict())


def assert_equal_batches(one: Batch, other: Batch) -> None:
    np.testing.assert_array_equal(one.index, other.index)
    for name in ("obs", "next_obs", "steps"):
        assert torch.equal(getattr(one.window, name), getattr(other.window, name))
    assert torch.equal(one.weight, other.weight)
    for b, k in enumerate(one.window.steps.tolist()):
        for name in ("action", "reward", "discount"):
            assert torch.equal(getattr(one.window, name)[b, :k], getattr(other.window, name)[b, :k])
        for name, values in one.window.extras.items():
            np.testing.assert_array_equal(np.asarray(values[b, :k]), np.asarray(other.window.extras[name][b, :k]))


def test_state_goes_through_a_checkpoint(tmp_path) -> None:
    world = World(num_envs=2, stack=Stack(0, 3, "zero"), p_truncated=0.1)
    one, other = (make(world, 60, 2, Prioritised(), seed, extras=EXTRAS) for seed in (0, 1))
    stream = Stream(world, 0)
    for _ in range(50):
        one.add(*stream.next())
        batch = one.sample(4)
        one.update_priorities(batch.index, batch.window.reward[:, 0])
    save_state(tmp_path / "state", one.state_dict(), tmp_path / "objects")
    other.load_state_dict(load_state(tmp_path / "state", tmp_path / "objects"))
    assert_equal_states(one.state_dict(), other.state_dict())
    assert_equal_batches(one.sample(8, 0.4), other.sample(8, 0.4))


def test_loading_forgets_what_was_there() -> None:
    world = World(num_envs=2, p_terminated=0.1)
    short, used, fresh = (make(world, 40, 1, Prioritised(), extras=EXTRAS) for _ in range(3))
    stream = Stream(world, 3)
    for _ in range(50):
        used.add(*stream.next())
    for _ in range(5):
        short.add(*stream.next())
    for replay in (used, fresh):
        replay.load_state_dict(short.state_dict())
    for _ in range(9):
        step = stream.next()
        used.add(*step)
        fresh.add(*step)
        assert_equal_batches(used.sample(6), fresh.sample(6))
    assert used.sampleable().tolist() == fresh.sampleable().tolist()
    assert leaves(used).tobytes() == leaves(fresh).tobytes()


def test_three_steps_by_hand() -> None:
    """Rewards 4, 7, 1 and an end by truncation: the windows, where to bootstrap, and no step of the next episode."""
    world = World(frame_shape=(), dtype=np.float32)
    replay = make(world, 20, 3)
    stream = Stream(world, 0)
    steps = [stream.next()[0] for _ in range(4)]
    frames = np.arange(10, dtype=np.float32)
    for t, reward in enumerate((4, 7, 1)):
        replay.add(
            replace(
                steps[t],
                before=replace(steps[t].before, obs=frames[t : t + 1], first=np.array([t == 0])),
                after=replace(steps[t].after, obs=frames[t + 1 : t + 2]),
                reward=np.array([reward], np.float32),
                truncated=np.array([t == 2]),
            )
        )
    replay.add(replace(steps[3], before=replace(steps[3].before, obs=frames[8:9], first=np.array([True]))))
    window = replay.window(replay.sampleable())
    assert replay.sampleable().tolist() == [0, 1, 2, 4]  # 3 is the final frame
    assert window.obs.tolist() == [0, 1, 2, 8]
    assert window.steps.tolist() == [3, 2, 1, 1]
    assert window.next_obs[:3].tolist() == [3, 3, 3]
    assert window.reward[0].tolist() == [4, 7, 1]
    assert window.discount[:3, 0].tolist() == [1, 1, 1]


def test_a_priority_for_an_overwritten_step_is_dropped() -> None:
    world = World(frame_shape=(), dtype=np.int64)
    replay = make(world, 6, prioritised=Prioritised(alpha=1.0))
    stream = Stream(world, 0)
    for _ in range(5):
        replay.add(*stream.next()[:1])
    oldest = replay.sampleable()[:1]
    assert oldest.tolist() == [0]
    replay.update_priorities(oldest, torch.tensor([50.0]))
    for _ in range(6):
        replay.add(*stream.next()[:1])  # slot 0 now holds step 6
    replay.update_priorities(oldest, torch.tensor([70.0]))
    assert leaves(replay)[0] == 1.0
    replay.add(*stream.next()[:1])
    assert leaves(replay)[11 % 6] == pytest.approx(50.0)  # the largest so far, dropped or not


def chi_square_fits(counts: np.ndarray, probability: np.ndarray) -> bool:
    expected = probability * counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    return bool(abs(statistic - freedom) < 4 * np.sqrt(2 * freedom))


def many_draws(replay: Replay, batches: int = 400, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(np.concatenate([replay.sample(size).index for _ in range(batches)]), return_counts=True)


@pytest.mark.parametrize("ends", [0.0, 0.2, 1.0])
def test_uniform_sampling(ends: float) -> None:
    world = World(num_envs=3, p_terminated=ends)
    replay, stream = make(world, 200), Stream(world, 1)
    for _ in range(150):
        replay.add(*stream.next()[:1])
    index, counts = many_draws(replay)
    assert index.tolist() == replay.sampleable().tolist()
    assert chi_square_fits(counts, np.full(len(index), 1 / len(index)))
    assert replay.sample(7).weight.tolist() == [1.0] * 7


def test_prioritised_sampling_and_weights() -> None:
    world = World(num_envs=2, p_terminated=0.2)
    options = Prioritised(alpha=0.5, eps=0.1)
    replay, stream = make(world, 100, prioritised=options), Stream(world, 1)
    for _ in range(90):
        replay.add(*stream.next()[:1])
    index = replay.sampleable()
    errors = np.random.default_rng(0).exponential(size=len(index)).astype(np.float32)
    replay.update_priorities(index, torch.from_numpy(errors))
    assert set(leaves(replay)) == {0.0, 1.0}  # one update late
    replay.update_priorities(index[:0], torch.zeros(0))
    probability = (np.abs(errors.astype(np.float64)) + 0.1) ** 0.5
    probability /= probability.sum()
    drawn, counts = many_draws(replay)
    assert drawn.tolist() == index.tolist()
    assert chi_square_fits(counts, probability)
    batch = replay.sample(32, beta=0.7)
    weight = (1 / (len(replay) * probability[np.searchsorted(index, batch.index)])) ** 0.7
    np.testing.assert_allclose(batch.weight.numpy(), weight / weight.max(), rtol=1e-6)
    assert batch.weight.dtype == torch.float32


def test_sampling_is_a_function_of_the_generator() -> None:
    world = World(p_terminated=0.1)
    batches = []
    for seed in (5, 5, 6):
        replay, stream = make(world, 50, seed=seed), Stream(world, 0)
        for _ in range(40):
            replay.add(*stream.next()[:1])
        batches.append(replay.sample(64).index.tolist())
    assert batches[0] == batches[1] != batches[2]


def test_a_window_is_not_written_to_later() -> None:
    world = World()
    replay, stream = make(world, 6, extras=EXTRAS), Stream(world, 0)
    for _ in range(4):
        replay.add(*stream.next())
    batch = replay.sample(8)
    kept = {name: batch.window.extras[name].copy() for name in ("digest",)}
    obs = batch.window.obs.clone()
    for _ in range(12):
        replay.add(*stream.next())
    assert torch.equal(batch.window.obs, obs)
    np.testing.assert_array_equal(batch.window.extras["digest"], kept["digest"])


def test_an_empty_replay_says_so() -> None:
    replay = make(World(), 10)
    assert len(replay) == 0
    assert replay.fill == 0.0
    with pytest.raises(RlkitError, match="nothing to sample"):
        replay.sample(1)
    assert len(replay.window(replay.sampleable()).obs) == 0


def test_refusals_name_what_would_be_right() -> None:
    world = World(num_envs=4, stack=Stack(0, 4, "zero"))
    with pytest.raises(ConfigError, match="at least 36"):
        make(world, 35, steps=3)
    assert make(world, 39, steps=3).capacity == 36
    atari = EnvSpec(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 4, 1, stack=Stack(0, 4, "zero"))
    with pytest.raises(CapacityError, match=r"needs 6589.11 GiB.*available on cpu: a capacity of [\d,]+ fits"):
        Replay(1_000_000_000, atari, device=torch.device("cpu"), rng=np.random.default_rng(0))
    with pytest.raises(SpecError, match="no multiple"):
        make_of(gym.spaces.Box(0, 255, (5, 8), np.uint8), Stack(0, 2, "zero"))
    with pytest.raises(SpecError, match="cannot stack 4 frames along axis 2"):
        make_of(gym.spaces.Box(0, 255, (4, 8), np.uint8), Stack(2, 4, "zero"))
    with pytest.raises(SpecError, match="arrays of one shape"):
        make_of(gym.spaces.Dict({"a": gym.spaces.Discrete(3)}))
    with pytest.raises(SpecError, match="uint32"):
        make_of(gym.spaces.Box(0, 9, (2,), np.uint32))
    with pytest.raises(ConfigError, match="alpha -1"):
        Prioritised(alpha=-1)


def make_of(space: gym.Space, stack: Stack | None = None) -> Replay:
    return Replay(20, EnvSpec(space, 2, 1, stack=stack), device=torch.device("cpu"), rng=np.random.default_rng(0))


def test_undeclared_and_missing_extras() -> None:
    world = World()
    replay, stream = make(world, 10, extras=EXTRAS), Stream(world, 0)
    step, extras, _ = stream.next()
    with pytest.raises(ConfigError, match=r"extras \['digest'\] given, \['achieved', 'digest', 'seen'\] declared"):
        replay.add(step, {"digest": extras["digest"]})
    for wrong in (extras["achieved"][:, :1], extras["achieved"][None]):  # the first would be broadcast
        shape = re.escape(f"extras 'achieved' has shape {wrong.shape}, declared {extras['achieved'].shape}")
        with pytest.raises(ConfigError, match=shape):
            replay.add(step, {**extras, "achieved": wrong})
    assert len(replay) == 0


def test_an_error_that_is_not_finite_is_not_stored() -> None:
    world = World()
    replay, stream = make(world, 10, prioritised=Prioritised()), Stream(world, 0)
    replay.add(*stream.next()[:1])
    replay.update_priorities(np.array([0]), torch.tensor([float("nan")]))
    with pytest.raises(RlkitError, match="diverged"):
        replay.update_priorities(np.array([0]), torch.tensor([1.0]))


def test_states_that_do_not_fit() -> None:
    world = World(num_envs=2)
    state = make(world, 20).state_dict()
    for other, message in (
        (make(world, 22), "capacity is 20, but this replay has 22"),
        (make(World(num_envs=1), 20), "num_envs"),
        (make(world, 20, extras={"bonus": Column((), np.float32)}), "columns"),
        (make(world, 20, prioritised=Prioritised()), "prioritised"),
        (make(World(num_envs=2, frame_shape=(9,)), 20), r"observation is uint8 \(0, 2, 3\)"),
        (make(World(num_envs=2, dtype=np.float32), 20), "observation is uint8"),
        (make(World(num_envs=2, stack=Stack(0, 2, "zero")), 20), None),
    ):
        if message is not None:
            with pytest.raises(ConfigError, match=message):
                other.load_state_dict(state)
    with pytest.raises(ConfigError, match="random state"):
        make(world, 20).load_state_dict({**state, "rng": {"bit_generator": "Philox"}})


def atari_spec(num_envs: int = 1) -> EnvSpec:
    return EnvSpec(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 18, num_envs, stack=Stack(0, 4, "zero"))


def held(thing: Any) -> dict[int, int]:
    """The bytes of all arrays and tensors that an object holds, by where they begin."""
    if isinstance(thing, torch.Tensor):
        thing = thing.numpy()
    if isinstance(thing, np.ndarray):
        return {thing.__array_interface__["data"][0]: thing.nbytes} if thing.nbytes else {}
    parts = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list | tuple) else ()
    return {
        key: size for part in (*parts, *getattr(thing, "__dict__", {}).values()) for key, size in held(part).items()
    }


def test_a_row_takes_little_more_than_its_frame() -> None:
    digests = {"digest": Column((), np.uint64, host=True), "next_digest": Column((), np.uint64, host=True)}
    assert replay_bytes(1_000_000, atari_spec(), digests, Prioritised()) <= 7_250 * 1_000_000
    capacity = 5_000
    replay = Replay(
        capacity,
        atari_spec(),
        extras=digests,
        device=torch.device("cpu"),
        rng=np.random.default_rng(0),
        prioritised=Prioritised(),
    )
    need = replay_bytes(capacity, atari_spec(), digests, Prioritised())
    assert 0 <= sum(held(replay).values()) - need < 200, "all but a few numbers for each environment"


def test_an_almost_empty_replay_has_a_small_state() -> None:
    world = World(num_envs=2)
    replay, stream = make(world, 1_000_000, prioritised=Prioritised(), extras=EXTRAS), Stream(world, 0)
    for _ in range(10):
        replay.add(*stream.next())

    def size(state) -> int:
        return sum(map(size, state.values())) if isinstance(state, dict) else getattr(state, "nbytes", 8)

    assert size(replay.state_dict()) < 3_000
