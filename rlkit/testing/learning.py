"""Checks of `learn`: its metrics, and when it makes updates."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rlkit.testing.running import Case
from rlkit.types import Histogram, Image, Metrics


def metrics(case: Case) -> None:
    """Metrics of `learn` and `gauges` are named "group/what"; each is one number, a Histogram or an Image."""
    recording = case.recording
    for recorded in recording.steps:
        _assert_metrics(recorded.metrics, "learn")
    _assert_metrics(recording.ending.metrics, "learn")
    _assert_metrics(recording.ending.gauges, "gauges")


def updates_only_in_learn(case: Case) -> None:
    """`updates` is 0 at first, and only `learn` raises it."""
    updates = case.runner().agent.updates
    assert type(updates) is int, f"updates of a fresh agent is {updates!r}; expected the int 0"
    assert updates == 0, f"updates of a fresh agent is {updates}; expected 0"
    for number, recorded in enumerate(case.recording.steps):
        after = recorded.updates
        made = {"act": after["act"] - updates, "observe": after["observe"] - after["learn"]}
        for call, more in made.items():
            assert not more, f"{call} made {more} updates at step {number}; expected none: updates belong in learn"
        assert after["learn"] >= updates, f"learn lowered updates from {updates} to {after['learn']} at step {number}"
        updates = after["learn"]


def second_learn_makes_no_update(case: Case) -> None:
    """`learn` makes all updates that are owed, so another `learn` before the next `observe` makes none."""
    agent = case.trained().agent
    before = agent.updates
    agent.learn()
    more = agent.updates - before
    assert not more, f"another learn after the last one made {more} updates; expected none, since none is owed"


def pacing(case: Case) -> None:
    """Updates come when the plug-in's declared pacing says, with any number of environments."""
    kinds = {"environment steps": _by_environment_steps, "rollouts": _by_rollouts}
    known = " or ".join(map(repr, kinds))
    assert case.pacing in kinds, f"the plug-in declares the pacing {case.pacing!r}; expected {known}"
    kinds[case.pacing](case)


def _by_environment_steps(case: Case) -> None:
    """The number of updates is a function of the number of environment steps alone."""
    num_envs, other = case.num_envs, 4 if case.num_envs == 1 else 1
    found = case.recording.updates
    expected = case.play(case.num_steps * num_envs // other, other).updates
    for number, updates in enumerate(found):
        env_steps = number * num_envs
        if env_steps % other == 0:
            assert updates == expected[env_steps // other], (
                f"{env_steps} environment steps make {updates} updates with {num_envs} environments and "
                f"{expected[env_steps // other]} with {other}; expected equal numbers, or pacing = 'rollouts' on a "
                "plug-in whose agent learns whenever it has some steps of every environment"
            )


def _by_rollouts(case: Case) -> None:
    """Updates come after every T steps of all environments, and never else."""
    found = case.recording.learned_at
    assert len(found) > 1, (
        f"the agent's `updates` rose {len(found)} times in {case.num_steps} steps of {case.num_envs} environments; the "
        "check needs at least two full rollouts: choose shorter ones, pass more `steps`, or count updates"
    )
    assert found[0] > 0, "learn made updates before any step was observed; expected none"
    expected = list(range(found[0], case.num_steps + 1, found[0]))
    assert found == expected, (
        f"learn made updates after {found} steps of all environments; expected {expected}: once for each full rollout "
        f"of {found[0]} steps, and the step in flight while learn runs belongs to the next one"
    )
    other = 4 if case.num_envs == 1 else 1
    elsewhere = case.play(case.num_steps, other).learned_at
    assert elsewhere == expected, (
        f"learn made updates after {found} steps of {case.num_envs} environments and after {elsewhere} steps of "
        f"{other}; expected equal numbers: a rollout has equally many steps of every environment"
    )


def _assert_metrics(metrics: Metrics, where: str) -> None:
    kind = type(metrics).__name__
    assert isinstance(metrics, Mapping), f"{where} returned {kind}; expected metrics by name, {{}} if there are none"
    for name, value in metrics.items():
        assert "/" in name, f'{where} returned the metric {name!r}; expected a name with a group, "group/what"'
        single = value.ndim == 0 if isinstance(value, torch.Tensor) else isinstance(value, float | Histogram | Image)
        expected = "expected a 0-dim tensor, a float, a Histogram or an Image"
        assert single, f"{where} returned the metric {name!r} as {value!r}; {expected}"
