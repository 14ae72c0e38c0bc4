"""The conformance suite for environments: named checks of what training, resuming and replaying rely on.

For authors of environments, in a test of their own:

    CHECKS = env_checks(plugin, plugin.config(name="mine"))


    @pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
    def test_conformance(name, check):
        check()
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rlkit.config.model import PluginConfig
from rlkit.environments import EnvPlugin
from rlkit.errors import ConfigError
from rlkit.testing.checks import Check, named_checks, run_all
from rlkit.testing.playing import EnvCase, assert_equal_rows, everyone, play, seeds
from rlkit.testing.watched import Watched, named
from rlkit.types import Purpose

TOGETHER = 10  # environments at once where used ones are compared with fresh ones
AFTERMATH = 25  # steps compared after a seeded reset
HISTORY = 50  # steps that an environment has been used for before it
RENDERED = 20  # steps compared between playing and rendering


def env_checks(
    plugin: EnvPlugin[Any],
    config: PluginConfig,
    *,
    steps: int = 200,
    resets: int = 100,
    skip: Mapping[str, str] | None = None,
) -> list[tuple[str, Check]]:
    """The conformance checks as (name, check) pairs, for `pytest.mark.parametrize`; nothing runs yet.

    A check takes no arguments and raises AssertionError, which says what is wrong and what is expected. `skip` maps
    names of checks to reasons; a skipped check raises unittest.SkipTest, which pytest reports as skipped.

    `steps` is the length of compared runs. `resets` is the number of seeded resets of used environments that are
    compared with those of fresh ones; every row of the following steps is compared, since the first observation may
    not show what comes out in a later reward. All checks together take about `resets` * 100 steps.

    Raises ValueError where `skip` names an unknown check.
    """
    case = EnvCase(plugin, config, steps, resets)
    checks = {check.__name__: partial(check, case) for check in CHECKS}
    return named_checks(f"environment {config.name!r}", checks, skip)


def check_env(
    plugin: EnvPlugin[Any],
    config: PluginConfig,
    *,
    steps: int = 200,
    resets: int = 100,
    skip: Mapping[str, str] | None = None,
) -> None:
    """Runs all `env_checks` in order and raises the first failure."""
    run_all(env_checks(plugin, config, steps=steps, resets=resets, skip=skip))


def description(case: EnvCase) -> None:
    """The spec, the protocol and the reference scores are complete, and the same for training and evaluation."""
    with case.made(2, 0) as training, case.made(1, 0, Purpose.EVALUATE) as evaluation:
        spec, other = training.spec, evaluation.spec
    assert spec.num_envs == 2, f"spec.num_envs is {spec.num_envs}; expected 2, as were made"
    assert spec.num_actions >= 1, f"spec.num_actions is {spec.num_actions}; expected at least 1"
    assert spec.frame_skip >= 1, f"spec.frame_skip is {spec.frame_skip}; expected at least 1"
    assert spec.observation_space.dtype is not None, f"{spec.observation_space} has no dtype; expected one"
    for name in ("observation_space", "num_actions"):
        ours, theirs = getattr(spec, name), getattr(other, name)
        assert ours == theirs, f"{name} is {ours} in training and {theirs} in evaluation; expected the same"
    protocol = case.plugin.protocol(case.config)
    texts = all(isinstance(key, str) and isinstance(value, str) for key, value in protocol.items())
    assert texts, f"protocol returned {protocol}; expected str by str"
    assert protocol, "protocol is empty; expected at least the name of the environment"
    scores = case.plugin.reference_scores(case.config)
    assert scores is None or len(scores) > 0, f"reference_scores returned {scores}; expected None where none are known"


def answers(case: EnvCase) -> None:
    """Arrays have the shapes, dtypes and values of the contract, are fresh, and are the environment's to write."""
    rng = np.random.default_rng(0)
    with case.made(TOGETHER, 0) as made:
        environments = Watched(made)
        environments.reset(everyone(made), seeds(rng, TOGETHER))
        for _ in range(4):
            play(environments, case.actions(rng, -(-case.num_steps // 4), TOGETHER))
            some = rng.random(TOGETHER) < 0.5
            some[0] = True
            environments.reset(some, np.where(some, seeds(rng, TOGETHER), -1))


def determinism(case: EnvCase) -> None:
    """Seeds and actions alone decide what happens, in another instance and under other global seeds too."""
    rng = np.random.default_rng(1)
    initial, actions = seeds(rng, 3), case.actions(rng, case.num_steps, 3)
    runs = []
    for global_seed in (1, 2):
        with case.made(3, global_seed) as environments:
            first = named(environments.reset(everyone(environments), initial.copy()))
            runs.append([first, *play(environments, actions)])
    assert_equal_rows("two runs with equal seeds and actions differ", runs[0], runs[1], range(3), range(3))


def masked_reset(case: EnvCase) -> None:
    """A reset by mask leaves the other environments alone, and seeds outside the mask mean nothing."""
    rng, rest = np.random.default_rng(2), [0, 2]
    mask = np.array([False, True, False])
    initial, unused = seeds(rng, 3), seeds(rng, 3)
    with case.made(3, 3) as alone, case.made(3, 3) as disturbed:
        alone.reset(everyone(alone), initial.copy())
        disturbed.reset(everyone(disturbed), initial.copy())
        for masked_seed in (5, -1, 6):
            actions = case.actions(rng, max(1, case.num_steps // 3), 3)
            play(alone, actions[:3])
            play(disturbed, actions[:3])
            disturbed.reset(mask.copy(), np.where(mask, masked_seed, unused))
            expected, found = play(alone, actions), play(disturbed, actions)
            assert_equal_rows("the reset of environment 1 alone changed another one", expected, found, rest, rest)


def seeded_reset(case: EnvCase) -> None:
    """A seeded reset erases all history: a used environment goes on as a fresh one does."""
    rng = np.random.default_rng(3)
    for done in range(0, case.num_resets, TOGETHER):
        _seeded_resets(case, rng, min(TOGETHER, case.num_resets - done))


def _seeded_resets(case: EnvCase, rng: np.random.Generator, num_envs: int) -> None:
    """Environment e of the used ones gets the seed and the actions of e + 1 of the fresh ones."""
    initial, actions = seeds(rng, num_envs), case.actions(rng, AFTERMATH, num_envs)
    global_seed = int(rng.integers(1, 1000))
    with case.made(num_envs, global_seed) as fresh:
        expected = [named(fresh.reset(everyone(fresh), initial.copy())), *play(fresh, actions)]
    with case.made(num_envs, -global_seed % 2**32) as used:
        used.reset(everyone(used), seeds(rng, num_envs))
        for _ in range(5):
            play(used, case.actions(rng, HISTORY // 5, num_envs))
            some = rng.random(num_envs) < 0.5
            some[rng.integers(num_envs)] = True
            used.reset(some, np.full(num_envs, -1))
        play(used, case.actions(rng, 3, num_envs))
        observation = used.reset(everyone(used), np.roll(initial, -1))
        found = [named(observation), *play(used, np.roll(actions, -1, axis=1))]
    rows = list(range(num_envs))
    what = (
        "a seeded reset of a used environment is not that of a fresh one (something outlives it, or the global random "
        "generators are used)"
    )
    assert_equal_rows(what, expected, found, rows[1:] + rows[:1], rows)


def rendering(case: EnvCase) -> None:
    """Rendered environments give the signal "screen" and play the same game; a ConfigError says that there are none."""
    rng = np.random.default_rng(4)
    initial, actions = seeds(rng, 1), case.actions(rng, RENDERED, 1)
    try:
        with case.made(1, 4, Purpose.RENDER) as rendered:
            signals = rendered.spec.signals
            assert "screen" in signals, f"rendered environments have the signals {sorted(signals)}; expected 'screen'"
            screen = signals["screen"]
            picture = len(screen.shape) == 3 and screen.shape[2] == 3 and np.dtype(screen.dtype) == np.uint8
            assert picture, f"the signal 'screen' is {screen}; expected (H, W, 3) uint8"
            rendered.reset(everyone(rendered), initial.copy())
            found = play(rendered, actions)
    except ConfigError:
        return
    with case.made(1, 4) as plain:
        plain.reset(everyone(plain), initial.copy())
        assert_equal_rows("a rendered environment plays another game", play(plain, actions), found, [0], [0])


CHECKS = (description, answers, determinism, masked_reset, seeded_reset, rendering)
"""In the order in which they run; the name of a check is that of its function."""
