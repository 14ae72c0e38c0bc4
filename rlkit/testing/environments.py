"""The conformance suite of environments: what training, resuming and replaying rely on, tried out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.config.model import PluginConfig
from rlkit.environments import Environments, EnvPlugin
from rlkit.errors import ConfigError
from rlkit.seeding import MAX_SEED
from rlkit.testing.watched import Watched, named
from rlkit.types import EnvSpec, Purpose

TOGETHER = 10  # environments at once where fresh and used ones are compared
AFTERMATH = 25  # steps compared after a seeded reset
HISTORY = 50  # steps of a used environment's past
RENDERED = 20  # steps compared between playing and rendering

Line = dict[str, NDArray[Any]]
"""Everything that one step of all environments answered, by name, (N, ...) each."""


def check_env(plugin: EnvPlugin[Any], config: PluginConfig, *, steps: int = 200, resets: int = 100) -> None:
    """Tries out the environments that `plugin` makes of `config`; returns in silence where all is well.

    Raises AssertionError that says what is wrong: shapes, dtypes and membership of everything that comes out; arrays
    that later steps overwrite, and inputs that are changed; `first`, `discount` and frame stacks; whether seeds and
    actions alone decide what happens, in another instance too, over `steps` steps; whether a reset by mask leaves the
    other environments alone; whether `resets` seeded resets of used environments equal those of fresh ones, under
    other global seeds (every row of the steps that follow is compared, since the first observation may hide what
    comes out in a reward); whether rendered environments play the same game. Takes about `resets` * 100 steps.
    """
    rng = np.random.default_rng(0)
    spec = _check_description(plugin, config)
    _check_determinism(plugin, config, rng, steps)
    _check_masked_reset(plugin, config, rng, steps)
    for done in range(0, resets, TOGETHER):
        _check_history(plugin, config, rng, min(TOGETHER, resets - done))
    _check_rendering(plugin, config, rng, spec)


@contextmanager
def _made(
    plugin: EnvPlugin[Any], config: PluginConfig, num_envs: int, global_seed: int, purpose: Purpose = Purpose.TRAIN
) -> Iterator[Watched]:
    """Watched environments, made and used under seeds of the global generators that are put back afterwards."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002  the point is that environments do not use it
    random.seed(global_seed)
    np.random.seed(global_seed)  # noqa: NPY002
    try:
        environments: Environments = plugin.make(config, num_envs, purpose)
        try:
            yield Watched(environments)
        finally:
            environments.close()
            environments.close()  # the contract: safe to call twice
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def _everyone(environments: Environments) -> NDArray[np.bool_]:
    return np.ones(environments.spec.num_envs, dtype=np.bool_)


def _seeds(rng: np.random.Generator, num_envs: int) -> NDArray[np.int64]:
    return rng.integers(0, MAX_SEED, num_envs, endpoint=True)


def _play(environments: Environments, tape: NDArray[np.int64]) -> list[Line]:
    """Plays the actions `tape` (T, N), with a reset by mask, without seeds, wherever an episode ends."""
    lines = []
    for action in tape:
        environments.send(action)
        step = environments.receive()
        line = named(step.after) | {"reward": step.reward.copy(), "discount": step.discount.copy()}
        line |= {"terminated": step.terminated.copy(), "truncated": step.truncated.copy()}
        ended = step.terminated | step.truncated
        if ended.any():
            line |= named(environments.reset(ended, np.full(len(ended), -1)), "next ")
        lines.append(line)
    return lines


def _compare(what: str, one: Sequence[Line], other: Sequence[Line], rows: Sequence[int], others: Sequence[int]) -> None:
    """Asserts that environments `rows` of `one` and `others` of `other` answered the same."""
    for number, (left, right) in enumerate(zip(one, other, strict=True), start=1):
        for name in left.keys() & right.keys():  # "next" arrays are missing where nothing ended
            for row, other_row in zip(rows, others, strict=True):
                a, b = left[name][row], right[name][other_row]
                assert a.tobytes() == b.tobytes(), (
                    f"{what}: environment {row}, step {number}: {name} is {_short(a)} and {_short(b)}"
                )


def _short(value: NDArray[Any]) -> str:
    return np.array2string(value, threshold=12).replace("\n", "")


def _check_description(plugin: EnvPlugin[Any], config: PluginConfig) -> EnvSpec:
    with _made(plugin, config, 2, 0) as training, _made(plugin, config, 1, 0, Purpose.EVALUATE) as evaluation:
        spec, other = training.spec, evaluation.spec
    assert spec.num_envs == 2, f"spec.num_envs is {spec.num_envs} of 2 environments"
    assert spec.num_actions >= 1, f"spec.num_actions is {spec.num_actions}"
    assert spec.frame_skip >= 1, f"spec.frame_skip is {spec.frame_skip}"
    assert spec.observation_space.dtype is not None, f"{spec.observation_space} has no dtype"
    agree = (spec.observation_space, spec.num_actions) == (other.observation_space, other.num_actions)
    assert agree, "environments for training and for evaluation differ in observation space or number of actions"
    protocol = plugin.protocol(config)
    texts = all(isinstance(key, str) and isinstance(value, str) for key, value in protocol.items())
    assert texts, f"protocol must map names to text, got {protocol}"
    assert protocol, "protocol is empty; it must say at least which environment a score was reached in"
    scores = plugin.reference_scores(config)
    assert scores is None or len(scores) > 0, "reference_scores must be None where none are known"
    return spec


def _check_determinism(
    plugin: EnvPlugin[Any], config: PluginConfig, rng: np.random.Generator, steps: int, num_envs: int = 3
) -> None:
    seeds = _seeds(rng, num_envs)
    tape: NDArray[np.int64] | None = None
    plays: list[list[Line]] = []
    for global_seed in (1, 2):
        with _made(plugin, config, num_envs, global_seed) as environments:
            tape = rng.integers(0, environments.spec.num_actions, (steps, num_envs)) if tape is None else tape
            first = named(environments.reset(_everyone(environments), seeds))
            plays.append([first, *_play(environments, tape)])
    rows = range(num_envs)
    _compare("the same seeds and actions, played twice, differ", plays[0], plays[1], rows, rows)


def _check_masked_reset(plugin: EnvPlugin[Any], config: PluginConfig, rng: np.random.Generator, steps: int) -> None:
    mask, rest = np.array([False, True, False]), [0, 2]
    seeds, unused = _seeds(rng, 3), _seeds(rng, 3)  # seeds outside the mask mean nothing
    with _made(plugin, config, 3, 3) as alone, _made(plugin, config, 3, 3) as disturbed:
        alone.reset(_everyone(alone), seeds)
        disturbed.reset(_everyone(disturbed), seeds)
        for masked_seed in (5, -1, 6):
            tape = rng.integers(0, alone.spec.num_actions, (max(1, steps // 3), 3))
            _play(alone, tape[:3])
            _play(disturbed, tape[:3])
            disturbed.reset(mask, np.where(mask, masked_seed, unused))
            left, right = _play(alone, tape), _play(disturbed, tape)
            _compare("the reset of environment 1 alone changed another one", left, right, rest, rest)


def _check_history(plugin: EnvPlugin[Any], config: PluginConfig, rng: np.random.Generator, num_envs: int) -> None:
    """Environment e of the used ones gets seed and actions of e + 1 of the fresh ones."""
    seeds, global_seed = _seeds(rng, num_envs), int(rng.integers(1, 1000))
    with _made(plugin, config, num_envs, global_seed) as fresh:
        tape = rng.integers(0, fresh.spec.num_actions, (AFTERMATH, num_envs))
        expected = [named(fresh.reset(_everyone(fresh), seeds)), *_play(fresh, tape)]
    with _made(plugin, config, num_envs, -global_seed % 2**32) as used:
        used.reset(_everyone(used), _seeds(rng, num_envs))
        for _ in range(5):
            _play(used, rng.integers(0, used.spec.num_actions, (HISTORY // 5, num_envs)))
            some = rng.random(num_envs) < 0.5
            some[rng.integers(num_envs)] = True
            used.reset(some, np.full(num_envs, -1))
        _play(used, rng.integers(0, used.spec.num_actions, (3, num_envs)))
        observation = used.reset(_everyone(used), np.roll(seeds, -1))
        found = [named(observation), *_play(used, np.roll(tape, -1, axis=1))]
    rows = list(range(num_envs))
    what = (
        "a seeded reset of a used environment is not that of a fresh one (something outlives it, or the global random "
        "generators are used)"
    )
    _compare(what, found, expected, rows, rows[1:] + rows[:1])


def _check_rendering(plugin: EnvPlugin[Any], config: PluginConfig, rng: np.random.Generator, spec: EnvSpec) -> None:
    """Environments that cannot be rendered say so with a ConfigError."""
    seeds, tape = _seeds(rng, 1), rng.integers(0, spec.num_actions, (RENDERED, 1))
    try:
        with _made(plugin, config, 1, 4, Purpose.RENDER) as rendered:
            signals = rendered.spec.signals
            assert "screen" in signals, f'rendered environments need the signal "screen", got {sorted(signals)}'
            screen = signals["screen"]
            picture = len(screen.shape) == 3 and screen.shape[2] == 3 and np.dtype(screen.dtype) == np.uint8
            assert picture, f'the signal "screen" must be (H, W, 3) uint8, got {screen}'
            rendered.reset(_everyone(rendered), seeds)
            shown = _play(rendered, tape)
    except ConfigError:
        return
    with _made(plugin, config, 1, 4) as plain:
        plain.reset(_everyone(plain), seeds)
        _compare("a rendered environment plays another game", shown, _play(plain, tape), [0], [0])
