"""From observations to rows of numbers, each kind of features beside its definition written out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, Text
from numpy.typing import NDArray

from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.count.feature_config import BytesConfig
from rlkit.exploration.count.features import Bass, Bytes, Features, Function, LatestFrame, Pixels, Vector, grey
from rlkit.types import ArraySpec, EnvSpec, Observation, Stack

RNG = np.random.default_rng(0)


def spec_of(space: Space[Any], stack: Stack | None = None, **signals: ArraySpec) -> EnvSpec:
    return EnvSpec(space, num_actions=2, num_envs=1, stack=stack, signals=signals)


def frames_of(*shape: int, stack: Stack | None = None) -> EnvSpec:
    return spec_of(Box(0, 255, shape, np.uint8), stack)


def seen(obs: Any, **signals: Any) -> Observation:
    obs = np.asarray(obs)
    return Observation(obs, signals, np.zeros(len(obs), np.bool_))


def pixels(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def test_a_box_is_taken_as_it_is() -> None:
    features = Vector(spec_of(Box(-1, 1, (2, 3), np.float32)), None)
    obs = RNG.normal(size=(4, 2, 3)).astype(np.float32)
    rows = features(seen(obs))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, obs.reshape(4, 6))
    assert (features.size, features.midpoint, features.stored) == (6, None, True)
    assert Vector(spec_of(MultiBinary(5)), None).size == 5


def test_numbers_of_a_discrete_space_are_one_hot() -> None:
    features = Vector(spec_of(Discrete(4, start=3)), None)
    assert features.size == 4
    assert features(seen([3, 6, 4])).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


def test_numbers_of_a_multi_discrete_space_are_one_hot_one_beside_the_other() -> None:
    features = Vector(spec_of(MultiDiscrete([2, 3], start=[0, 5])), None)
    assert features.size == 5
    assert features(seen([[1, 5], [0, 7]])).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    square = MultiDiscrete(np.array([[2, 1], [3, 2]]))
    assert Vector(spec_of(square), None)(seen([[[1, 0], [2, 1]]])).tolist() == [[0, 1, 1, 0, 0, 1, 0, 1]]


def test_a_signal_instead_of_the_observation() -> None:
    features = Vector(spec_of(Discrete(9), position=ArraySpec((2,), np.int16)), "position")
    position = np.array([[3, -1], [0, 8]], np.int16)
    np.testing.assert_array_equal(features(seen([0, 1], position=position)), position)
    assert (features.size, features.stored) == (2, False)


@pytest.mark.parametrize("side", [1, 4, 5, 9])
def test_pixels_are_averages_of_what_they_cover(side: int) -> None:
    features = Pixels(frames_of(12, 9), side, None)
    obs = pixels(3, 12, 9)
    rows = features(seen(obs)).reshape(3, side, side)
    assert rows.dtype == np.uint8
    for k in range(3):
        for i in range(side):
            for j in range(side):
                top, bottom = i * 12 // side, -(-(i + 1) * 12 // side)
                left, right = j * 9 // side, -(-(j + 1) * 9 // side)
                covered = [int(obs[k, y, x]) for y in range(top, bottom) for x in range(left, right)]
                assert abs(rows[k, i, j] - sum(covered) / len(covered)) <= 0.5 + 1e-9
    assert features.size == side * side
    assert features.midpoint is not None
    np.testing.assert_array_equal(features.midpoint, 127.5)


def test_pixels_of_large_windows_are_exact() -> None:
    """The sum of 90,000 pixels is beyond the whole numbers of float32, and one more decides how the mean is rounded."""
    obs = np.full((2, 300, 300), 254, np.uint8)
    obs[:, :150] = 255
    obs[1, 299, 299] = 255
    assert Pixels(frames_of(300, 300), 1, None)(seen(obs)).tolist() == [[254], [255]]


def test_grey_is_luminance() -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]], np.uint8)
    assert grey(colours.reshape(1, 1, 5, 3)).tolist() == [[[76, 150, 29, 255, 18]]]
    assert grey(np.array([[[[7], [200]]]], np.uint8)).tolist() == [[[7, 200]]]


@pytest.mark.parametrize(
    ("shape", "stack", "expected"),
    [
        ((8, 6), None, lambda obs: obs[..., None]),
        ((8, 6, 1), None, lambda obs: obs),
        ((8, 6, 3), None, lambda obs: obs),
        ((1, 8, 6), None, lambda obs: np.moveaxis(obs, 1, -1)),
        ((3, 8, 6), None, lambda obs: np.moveaxis(obs, 1, -1)),
        ((4, 8, 6), Stack(0, 4, "zero"), lambda obs: obs[:, 3, :, :, None]),
        ((8, 6, 4), Stack(-1, 4, "repeat"), lambda obs: obs[..., 3:]),
        ((12, 8, 6), Stack(0, 4, "zero"), lambda obs: np.moveaxis(obs[:, 9:], 1, -1)),
        ((8, 6, 6), Stack(2, 2, "zero"), lambda obs: obs[..., 3:]),
        ((4, 8, 6, 3), Stack(0, 4, "repeat"), lambda obs: obs[:, 3]),
    ],
)
def test_the_latest_frame_of_any_layout(
    shape: tuple[int, ...], stack: Stack | None, expected: Callable[[Any], Any]
) -> None:
    obs = pixels(5, *shape)
    latest = LatestFrame(frames_of(*shape, stack=stack), None)
    assert latest.shape == expected(obs).shape[1:]
    np.testing.assert_array_equal(latest(seen(obs)), expected(obs))


def test_colour_pixels_are_greyed_before_they_are_averaged() -> None:
    obs = pixels(2, 10, 10, 3)
    rows = Pixels(frames_of(10, 10, 3), 5, None)(seen(obs))
    luminance = np.rint(obs @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_allclose(rows.reshape(2, 5, 5), luminance.reshape(2, 5, 2, 5, 2).mean((2, 4)), atol=0.5 + 1e-9)


@pytest.mark.parametrize(
    "features",
    [
        Pixels(frames_of(210, 160, 3), 42, None),
        Pixels(frames_of(210, 160, 3), 52, None),
        Bass(frames_of(210, 160, 3), 20, 20, True, None),
        Bass(frames_of(210, 160, 3), 20, 20, False, None),
    ],
    ids=["42", "52", "bass-colour", "bass-grey"],
)
def test_a_frame_has_the_same_features_in_every_batch(features: Features) -> None:
    obs = pixels(30, 210, 160, 3)
    whole = features(seen(obs))
    for size in (1, 7):
        parts = [features(seen(obs[i : i + size])) for i in range(0, 30, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(features(seen(obs[::-1])), whole[::-1])


@pytest.mark.parametrize(
    ("height", "width", "cell", "bins"), [(8, 8, 4, 20), (7, 9, 4, 3), (5, 5, 1, 256), (6, 5, 5, 2)]
)
@pytest.mark.parametrize("colour", [True, False])
def test_bass_is_equation_3_with_true_areas(height: int, width: int, cell: int, bins: int, colour: bool) -> None:
    obs = pixels(3, height, width, 3)
    obs[0] = 255
    features = Bass(frames_of(height, width, 3), cell, bins, colour, None)
    image = obs if colour else grey(obs)[..., None]
    expected = []
    for frame in image.astype(int):
        for top in range(0, height, cell):
            for left in range(0, width, cell):
                part = frame[top : top + cell, left : left + cell]
                for channel in range(image.shape[3]):
                    total = sum(int(value) for value in part[:, :, channel].flat)
                    area = part.shape[0] * part.shape[1]
                    expected.append(min(bins * total // (255 * area), bins - 1))
    rows = features(seen(obs))
    assert rows.shape == (3, features.size)
    assert rows.reshape(-1).tolist() == expected
    assert (rows[0] == bins - 1).all()


def test_bass_of_a_console_screen() -> None:
    """Tang et al.: 11 x 8 x 3 = 264 numbers below 20; the lowest cells are 10 pixels high."""
    features = Bass(frames_of(210, 160, 3), 20, 20, True, None)
    assert features.size == 264
    screen = np.zeros((1, 210, 160, 3), np.uint8)
    screen[:, 200:] = 128
    rows = features(seen(screen)).reshape(11, 8, 3)
    assert (rows[10] == 10).all()  # 20 * 128 / 255, not half of it
    assert not rows[:10].any()
    assert features.midpoint is not None
    assert features.midpoint.tolist() == [9.5] * 264


def test_bass_of_a_grey_stack_sees_the_latest_frame() -> None:
    obs = np.zeros((1, 4, 84, 84), np.uint8)
    obs[:, :3] = 255
    obs[:, 3, :20, :20] = 100
    rows = Bass(frames_of(4, 84, 84, stack=Stack(0, 4, "zero")), 20, 20, False, None)(seen(obs))
    assert rows.reshape(5, 5).tolist() == [[7, 0, 0, 0, 0]] + [[0] * 5] * 4


def ram_of(space: Space[Any] | None = None) -> EnvSpec:
    return spec_of(space or Discrete(2), ram=ArraySpec((128,), np.uint8))


def test_bytes_of_the_memory_in_steps() -> None:
    """Tang et al.'s SmartHash for Montezuma's Revenge: room, x and y in steps of 10."""
    table = [{"byte": 3}, {"byte": 42, "size": 10}, {"byte": 43, "min": 148, "size": 10}]
    features = BytesConfig(type="bytes", bytes=table).build(ram_of())
    ram = np.zeros((3, 128), np.uint8)
    ram[:, 3] = [1, 1, 23]
    ram[:, 42] = [77, 79, 151]
    ram[:, 43] = [235, 238, 147]
    assert features(seen([0, 0, 0], ram=ram)).tolist() == [[1, 7, 8], [1, 7, 9], [23, 15, -1]]
    assert features.midpoint is not None
    # of 0..255, of 0..25, and of -15..10
    assert features.midpoint.tolist() == [127.5, 12.5, -2.5]
    assert (features.size, features.stored) == (3, False)


def of_signals(obs: Any, signals: Mapping[str, Any]) -> Any:
    return np.stack([obs, signals["ram"][:, 5]], axis=1)


def test_a_function_of_the_users_own() -> None:
    features = Function(ram_of(), of_signals, "here:of_signals")
    ram = np.arange(256, dtype=np.uint8).reshape(2, 128)
    assert features(seen([1, 0], ram=ram)).tolist() == [[1, 5], [0, 133]]
    assert (features.size, features.stored) == (2, False)
    assert Function(spec_of(Discrete(7, start=9)), lambda obs, _: obs[:, None] - 9, "here:f").stored


def test_a_function_is_tried_without_touching_the_environments_space() -> None:
    space = Discrete(1000, seed=3)
    state = space.np_random.bit_generator.state
    Function(spec_of(space), lambda obs, _: obs[:, None], "here:f")
    assert space.np_random.bit_generator.state == state


@pytest.mark.parametrize(
    "function",
    [
        lambda obs, _: obs,
        lambda obs, _: obs[:1, None],
        lambda obs, _: obs[:, None].astype(str),
        lambda obs, _: obs[:, None, None],
        lambda obs, _: None,
    ],
    ids=["one dimension", "one row", "text", "three dimensions", "nothing"],
)
def test_functions_that_give_no_rows_of_numbers_are_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=r"here:f.* for 2 observations; expected numbers of shape \(2, d\)"):
        Function(spec_of(Discrete(3)), function, "here:f")


def test_a_function_must_not_change_its_mind() -> None:
    features = Function(spec_of(Discrete(3)), lambda obs, _: np.zeros((len(obs), 1 + int(obs.max() > 1))), "here:f")
    state = seen([0, 0] if features.size == 1 else [2, 2])
    assert features(state).shape == (2, features.size)
    with pytest.raises(ConfigError, match=rf"expected numbers of shape \(1, {features.size}\)"):
        features(seen([2] if features.size == 1 else [0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vector(spec_of(Text(5)), None), "arrays of numbers"),
        (lambda: Vector(ram_of(), "position"), r'no signal "position" \(it has: ram\)'),
        (lambda: Pixels(frames_of(12, 9), 10, None), "10 is more than the 12 x 9"),
        (lambda: Pixels(spec_of(Box(0, 1, (12, 9), np.float32)), 4, None), r"uint8 pixels, but .*float32 \(12, 9\)"),
        (lambda: Pixels(spec_of(Discrete(4)), 4, None), "uint8 pixels"),
        (lambda: Pixels(frames_of(4, 84, 84), 4, None), "grey or colour frames"),
        (lambda: Pixels(ram_of(), 4, "ram"), r'the signal "ram" is uint8 \(128,\)'),
        (lambda: Pixels(spec_of(Discrete(2), seen=ArraySpec((9, 9), np.float32)), 4, "seen"), r"float32 \(9, 9\)"),
        (lambda: Bass(frames_of(12, 9), 10, 2, False, None), "10 is more than the 12 x 9"),
        (lambda: Bass(frames_of(12, 9), 3, 2, True, None), r"colour frames, these have 1 channel"),
        (lambda: Bass(spec_of(Box(-1, 1, (4,), np.float32)), 3, 2, False, None), "uint8 pixels"),
        (lambda: Bytes(spec_of(Discrete(2)), "ram", [(3, 0, 1)]), r'no signal "ram" \(it has: none\)'),
        (lambda: Bytes(ram_of(), "ram", [(3, 0, 1), (128, 0, 1)]), "no byte 128 .* last is 127"),
        (
            lambda: Bytes(spec_of(Discrete(2), ram=ArraySpec((2, 64), np.uint8)), "ram", [(3, 0, 1)]),
            r"a row of bytes, not uint8 \(2, 64\)",
        ),
    ],
)
def test_what_does_not_suit_the_observations_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
