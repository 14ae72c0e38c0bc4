"""What networks are fed: every rule of the table, on the spaces of real environments."""

import gymnasium as gym
import minatar.gym
import minigrid  # noqa: F401  registers its worlds
import numpy as np
import pytest
import torch
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper

from rlkit.errors import SpecError
from rlkit.nn.inputs import MINIGRID_CODES, InputLayer, build_input, describe_input, to_tensor
from rlkit.nn.parameters import load_parameters, parameter_state

CPU = torch.device("cpu")


def feed(space: gym.Space, kind: str = "auto", batch: int = 5) -> tuple[InputLayer, np.ndarray, torch.Tensor]:
    space.seed(1)
    obs = np.stack([np.asarray(space.sample()) for _ in range(batch)])
    layer = build_input(space, kind)
    out = layer(to_tensor(obs, CPU))
    assert out.dtype == torch.float32
    assert tuple(out.shape) == (batch, *layer.shape)
    return layer, obs, out


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((17, 9, 9), "auto", (17, 9, 9)),
        ((8, 5, 5), "auto", (8, 5, 5)),
        ((9, 9, 17), "auto", (17, 9, 9)),
        ((8, 8, 111), "auto", (111, 8, 8)),
        ((10, 10, 10), "auto", (10, 10, 10)),
        ((6, 7, 2), "auto", (2, 6, 7)),
        ((3, 6, 7), "auto", (3, 6, 7)),
        ((9, 6, 7), "channels_first", (9, 6, 7)),
        ((6, 7, 9), "channels_last", (9, 6, 7)),
        ((5, 5, 5), "channels_first", (5, 5, 5)),
    ],
)
def test_planes_of_boards_are_laid_out(shape: tuple[int, ...], layout: str, expected: tuple[int, ...]) -> None:
    """Before or after height and width; the numbers of a plane stay together."""
    layer = build_input(spaces.Box(0, 1, shape), "raw", layout)
    assert layer.shape == expected
    last = layout == "channels_last" or (layout == "auto" and shape[:1] != expected[:1]) or shape == (10, 10, 10)
    obs = np.zeros((1, *shape), np.float32)
    obs[(0, slice(None), slice(None), 1) if last else (0, 1)] = 1
    assert layer(torch.from_numpy(obs))[0].amax((1, 2)).nonzero().ravel().tolist() == [1]


def test_a_layout_needs_three_axes() -> None:
    with pytest.raises(SpecError, match=r'network.layout = "channels_last" applies to observations of rank 3'):
        build_input(spaces.Box(0, 1, (4,)), "raw", "channels_last")


def test_cartpole_is_taken_as_it_is() -> None:
    _, obs, out = feed(gym.make("CartPole-v1").observation_space)
    np.testing.assert_array_equal(out.numpy(), obs)


def test_largest_float_counts_as_no_bound() -> None:
    space = spaces.Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (3,))
    _, obs, out = feed(space)
    np.testing.assert_array_equal(out.numpy(), obs)


def test_bounded_boxes_are_scaled_by_their_bounds() -> None:
    space = gym.make("MountainCar-v0").observation_space
    layer = build_input(space)
    corners = np.stack([space.low, space.high, (space.low + space.high) / 2])
    out = layer(to_tensor(corners, CPU))
    torch.testing.assert_close(out, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))


def test_a_dimension_that_cannot_change_becomes_zero() -> None:
    low, high = np.array([[2.0, 0.0], [2.0, 1.0]], dtype=np.float32)
    out = build_input(spaces.Box(low, high))(torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.0, 1.0]]))


def varied(*columns: tuple[float, float]) -> torch.Tensor:
    """(100, k) observations whose columns have these means and deviations."""
    sign = torch.tensor([-1.0, 1.0]).repeat(50)
    return torch.stack([mean + deviation * sign for mean, deviation in columns], 1)


def test_vectors_are_standardised_by_what_is_measured() -> None:
    low, high = np.array([-1, -1, -1, -np.inf, -30], np.float32), np.array([1, 1, 1, np.inf, 30], np.float32)
    layer = build_input(spaces.Box(low, high), "standardise")
    obs = torch.tensor([[0.5, 0.5, 0.5, 7.0, 3.0]])
    torch.testing.assert_close(layer(obs), obs, msg="not measured yet")
    # of units of 1: 0.009 is below a hundredth, and counts as 1
    layer.initialise(varied((0.1, 0.2), (0.3, 0.0), (0.1, 0.009), (5.0, 4.0), (0.0, 0.02)))
    torch.testing.assert_close(layer(obs), torch.tensor([[2.0, 0.2, 0.4, 0.5, 150.0]]))
    layer.initialise(varied(*[(9.0, 9.0)] * 5)[:99])
    torch.testing.assert_close(layer(obs), torch.tensor([[2.0, 0.2, 0.4, 0.5, 150.0]]), msg="of fewer than 100")


def test_measuring_makes_large_entries_small_and_leaves_the_others() -> None:
    """Units: 1, 0.9, 0.07, 1, 1, 1, and 1 of an entry that cannot change."""
    low = np.array([-1, -1.2, -0.07, -np.inf, -30, -np.inf, 2], np.float32)
    high = np.array([1, 0.6, 0.07, np.inf, 30, np.inf, 2], np.float32)
    layer = build_input(spaces.Box(low, high), "measured")
    obs = torch.tensor([[1.0, 0.6, 0.035, 2.0, -27.0, 106.0, 2.0]])
    torch.testing.assert_close(layer(obs), torch.tensor([[1.0, 0.6 / 0.9, 0.5, 2.0, -27.0, 106.0, 2.0]]))
    layer.initialise(varied((0.9, 0.1), (-0.5, 0.08), (0, 0.001), (2.9, 3.0), (-8.0, 9.0), (100.0, 1.0), (2.0, 0.0)))
    expected = [1.0, 0.6 / 0.9, 0.5, 2.0, -9.0, 6.0, 2.0]  # deviation 9 becomes 3; a mean of 100 becomes 0
    torch.testing.assert_close(layer(obs), torch.tensor([expected]))


def test_mean_and_deviation_are_saved_with_the_parameters() -> None:
    layer, other = (build_input(gym.make("CartPole-v1").observation_space, "standardise") for _ in range(2))
    layer.initialise(varied((1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)))
    load_parameters(other, parameter_state(layer), "the other")
    obs = torch.rand(5, 4)
    torch.testing.assert_close(other(obs), layer(obs), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (gym.make("CartPole-v1").observation_space, "standardised by the mean and deviation of the first 1,000 steps"),
        (spaces.Box(0, 1, (3, 3)), "scaled to [-1, 1] by their bounds; (3, 3) enters as 1 channel of 3 x 3"),
        (spaces.Box(0, 255, (128,), np.uint8), "scaled to [-1, 1] by their bounds"),
        (spaces.Box(-9, 9, (3,), np.int64), "scaled to [-1, 1] by their bounds"),
        (
            spaces.Box(0, 255, (40, 30, 3), np.uint8),
            "divided by 255; (40, 30, 3) enters as 3 channels of 40 x 30 (a guess: else set network.layout)",
        ),
        (
            spaces.Box(0, 255, (7, 7, 3), np.uint8),
            "MiniGrid's codes, one-hot; (7, 7, 3) enters as 21 channels of 7 x 7",
        ),
        (spaces.Box(0, 1, (10, 10, 4), np.bool_), "unchanged; (10, 10, 4) enters as 4 channels of 10 x 10"),
        (
            spaces.Box(0, 1, (6, 13, 6), np.bool_),  # no two neighbouring sides are equal
            "unchanged; (6, 13, 6) enters as 6 channels of 6 x 13 (a guess: else set network.layout)",
        ),
        (spaces.Discrete(5), "one-hot; () enters as (5,)"),
        (spaces.MultiBinary(6), "0.0 and 1.0"),
    ],
)
def test_only_vectors_of_floats_are_measured(space: gym.Space, says: str) -> None:
    assert describe_input(space, "standardise", 1000).startswith(says)
    measured, few = (describe_input(space, "measured", steps) for steps in (1000, 99))
    if "standardised" in says:
        assert measured == "divided by their units; entries that are large in the first 1,000 steps are scaled down"
        assert few == "divided by their units: 99 random steps are too few to measure"
    else:
        assert not build_input(space, "standardise").measures
        assert measured == few == describe_input(space, "auto", 1000)
        assert measured.startswith(says)


def test_discrete_is_one_hot_from_its_start() -> None:
    layer = build_input(spaces.Discrete(4, start=3))
    out = layer(to_tensor(np.array([3, 6, 4]), CPU))
    torch.testing.assert_close(out, torch.eye(4)[[0, 3, 1]])
    assert layer.shape == (4,)


def test_multi_discrete_and_multi_binary() -> None:
    out = build_input(spaces.MultiDiscrete([2, 3]))(to_tensor(np.array([[1, 0], [0, 2]]), CPU))
    torch.testing.assert_close(out, torch.tensor([[0.0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]))
    _, obs, out = feed(spaces.MultiBinary(6))
    np.testing.assert_array_equal(out.numpy(), obs)


def test_atari_stack_is_scaled_and_stays_channel_first() -> None:
    layer, obs, out = feed(spaces.Box(0, 255, (4, 84, 84), np.uint8))
    assert layer.shape == (4, 84, 84)
    np.testing.assert_allclose(out.numpy(), obs / 255.0, rtol=1e-6)


def test_colour_images_become_channel_first() -> None:
    _, obs, out = feed(spaces.Box(0, 255, (40, 30, 3), np.uint8))
    np.testing.assert_allclose(out.numpy(), obs.transpose(0, 3, 1, 2) / 255.0, rtol=1e-6)


def test_a_stack_of_colour_images_is_merged_newest_last() -> None:
    layer, obs, out = feed(spaces.Box(0, 255, (2, 40, 30, 3), np.uint8))
    assert layer.shape == (6, 40, 30)
    newest = obs[:, 1].transpose(0, 3, 1, 2) / 255.0
    np.testing.assert_allclose(out[:, 3:].numpy(), newest, rtol=1e-6)


def test_a_single_frame_gets_a_channel() -> None:
    layer, _, _ = feed(spaces.Box(0, 255, (84, 84), np.uint8))
    assert layer.shape == (1, 84, 84)


@pytest.mark.parametrize("game", ["breakout", "seaquest"])  # seaquest has as many channels as rows
@pytest.mark.parametrize("batch", [1, 4])
def test_minatar_planes(game: str, batch: int) -> None:
    env = minatar.gym.BaseEnv(game=game)
    obs = np.stack([env.reset(seed=seed)[0] for seed in range(batch)])
    layer = build_input(env.observation_space)
    out = layer(to_tensor(obs, CPU))
    assert layer.shape == (obs.shape[3], 10, 10)
    np.testing.assert_array_equal(out.numpy(), obs.transpose(0, 3, 1, 2).astype(np.float32))


@pytest.mark.parametrize("wrapper", [ImgObsWrapper, lambda env: ImgObsWrapper(FullyObsWrapper(env))])
def test_minigrid_codes_are_one_hot(wrapper) -> None:
    env = wrapper(gym.make("MiniGrid-DoorKey-5x5-v0"))
    obs = env.reset(seed=3)[0]
    layer = build_input(env.observation_space)
    out = layer(to_tensor(obs[None], CPU))[0]
    assert layer.shape == (21, *obs.shape[:2])
    assert (out.sum((1, 2)).sum() == 3 * obs.shape[0] * obs.shape[1]).item()  # one of each group in every cell
    key = (obs[..., 0] == OBJECT_TO_IDX["key"]).astype(np.float32)
    np.testing.assert_array_equal(out[OBJECT_TO_IDX["key"]].numpy(), key)
    locked = (obs[..., 2] == STATE_TO_IDX["locked"]).astype(np.float32)
    np.testing.assert_array_equal(out[11 + 6 + STATE_TO_IDX["locked"]].numpy(), locked)


def test_minigrid_has_no_more_codes_than_we_know() -> None:
    assert MINIGRID_CODES[0] == len(OBJECT_TO_IDX)
    assert MINIGRID_CODES[1] == len(COLOR_TO_IDX)
    assert MINIGRID_CODES[2] >= max(len(STATE_TO_IDX), 4)


def test_planes_of_small_numbers_are_neither_codes_nor_pixels() -> None:
    _, obs, out = feed(spaces.Box(0, 2, (10, 10, 3), np.uint8))
    np.testing.assert_array_equal(out.numpy(), obs.transpose(0, 3, 1, 2) - 1.0)


def test_the_kind_can_be_said() -> None:
    small = spaces.Box(0, 255, (7, 7, 3), np.uint8)
    assert build_input(small).shape == (21, 7, 7)
    assert build_input(small, "pixels").shape == (3, 7, 7)
    _, obs, out = feed(small, "raw")
    np.testing.assert_array_equal(out.numpy(), obs.transpose(0, 3, 1, 2).astype(np.float32))


@pytest.mark.parametrize(
    ("space", "kind", "says"),
    [
        (spaces.Dict({"a": spaces.Discrete(2)}), "auto", "use Box, Discrete"),
        (spaces.Discrete(3), "pixels", "Box observations only"),
        (gym.make("CartPole-v1").observation_space, "bounds", "finite bounds"),
        (spaces.Box(0, 1, (5,)), "codes", "(h, w, 3)"),
        (spaces.Box(0, 1, ()), "auto", "rank 1 to 4"),
    ],
)
def test_what_does_not_fit_is_refused(space: gym.Space, kind: str, says: str) -> None:
    with pytest.raises(SpecError) as error:
        build_input(space, kind)
    assert says in str(error.value)


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_copied_without_a_warning() -> None:
    array = np.arange(4.0)
    array.flags.writeable = False
    tensor = to_tensor(array, CPU)
    tensor += 1
    assert array[0] == 0
