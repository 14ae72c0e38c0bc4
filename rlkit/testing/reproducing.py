"""Checks that runs can be reproduced, saved and resumed."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlkit.testing.running import Case, Ending, Runner, copied, plain
from rlkit.testing.states import assert_equal, flatten, snapshot
from rlkit.types import Metrics, Mode


def state_types(case: Case) -> None:
    """`state_dict` has the subtree "policy" and holds only what a checkpoint can hold."""
    state = case.recording.ending.state["agent"]
    assert "policy" in state, f"state_dict has the keys {list(state)}; expected 'policy' among them"
    flatten(state)


def gauges_are_pure(case: Case) -> None:
    """`gauges` does not change the agent."""
    runner = case.trained()
    before = runner.state()
    runner.agent.gauges()
    assert_equal(before, runner.state(), "gauges changed the agent; expected no change:")


def determinism(case: Case) -> None:
    """Two agents with equal random streams and observations act, learn and measure equally."""
    _assert_continues(case, case.runner(), 0, "two agents with equal random streams and observations differ")


def evaluation_leaves_no_trace(case: Case) -> None:
    """Acts between the training steps, with an actor state of their own, do not change training."""
    runner, rng = case.runner(), np.random.default_rng(7)
    actors = dict.fromkeys(Mode, runner.actor)
    for recorded in case.recording.steps:
        for mode in Mode:
            actors[mode] = runner.agent.act(copied(recorded.observation), actors[mode], rng, mode).state
        runner.repeat(recorded)
    message = "acts between the training steps, as an evaluation makes them, change training; expected no change:"
    assert_equal(_reproducible(case.recording.ending), _reproducible(Ending.of(runner)), message)


def state_round_trip(case: Case) -> None:
    """A fresh agent that loads a state has the same state and the same number of updates."""
    ending, agent = case.recording.ending, case.trained().agent
    message = "state_dict after load_state_dict is not the state that was loaded:"
    assert_equal(ending.state["agent"], snapshot(agent.state_dict()), message)
    found = agent.updates
    assert found == ending.updates, f"updates after load_state_dict is {found}; expected {ending.updates}, as was saved"


def loaded_state_is_copied(case: Case) -> None:
    """`load_state_dict` copies: the agent does not write to the loaded state afterwards."""
    runner, state = case.runner(), snapshot(case.recording.ending.state)
    runner.load_state(state)
    for recorded in case.recording.steps:
        runner.repeat(recorded)
    assert_equal(case.recording.ending.state, state, "the agent wrote to the state that it loaded; expected a copy:")


def resume(case: Case) -> None:
    """An agent that is saved, loaded and continued equals the uninterrupted one.

    Saved in mid-run, or, with the pacing "rollouts", when a rollout is full and when it is half filled.
    """
    learned_at, moments = case.recording.learned_at, {case.num_steps // 2: ""}
    if case.pacing == "rollouts" and len(learned_at) > 1:
        moments = {learned_at[0]: ", with a full rollout", sum(learned_at[:2]) // 2: ", with a rollout half filled"}
    for number, moment in moments.items():
        saved, resumed = case.runner(), case.runner()
        for recorded in case.recording.steps[:number]:
            saved.repeat(recorded)
        resumed.load_state(saved.state())
        message = f"the agent saved after {number} of {case.num_steps} steps{moment}, and resumed, differs"
        try:
            _assert_continues(case, resumed, number, message)
        except AssertionError as error:
            held = ", ".join(saved.agent.state_dict())
            error.args = (
                f"{error}; state_dict has {held}: what the future depends on besides (an optimizer, a bonus, a random "
                "generator, a step that waits to be learned from) is missing, or load_state_dict does not take it over",
            )
            raise


def _assert_continues(case: Case, runner: Runner, start: int, message: str) -> None:
    """Repeats the recording from step `start`: outputs, metrics and the ending must be the recorded ones."""
    for number, recorded in enumerate(case.recording.steps[start:], start):
        found = runner.repeat(recorded)
        assert_equal(plain(recorded.output), plain(found.output), f"{message}; act at step {number}:")
        measured, remeasured = _reproducible(recorded.metrics), _reproducible(found.metrics)
        assert_equal(measured, remeasured, f"{message}; metrics of learn at step {number}:")
    ending = _reproducible(case.recording.ending)
    assert_equal(ending, _reproducible(Ending.of(runner)), f"{message}; after the last step:")


def _reproducible(measured: Ending | Metrics) -> dict[str, Any]:
    """What equal runs agree on: everything but metrics under "time/"."""
    if isinstance(measured, Ending):
        parts = {"metrics": _reproducible(measured.metrics), "gauges": _reproducible(measured.gauges)}
        return {**parts, "updates": measured.updates, **measured.state}
    return {name: plain(value) for name, value in measured.items() if not name.startswith("time/")}
