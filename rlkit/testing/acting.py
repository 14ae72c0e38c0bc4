"""Checks of `act`, of agents and of bare policies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rlkit.testing.running import Case, assert_action, plain, try_act
from rlkit.testing.states import assert_equal
from rlkit.types import ActorState, Mode


def actor_outputs(case: Case) -> None:
    """Actor states, actions and extras have the shapes and dtypes of the contract, in both modes."""
    num_envs, num_actions = case.num_envs, case.spec.num_actions
    initial = case.runner().actor
    _assert_rows(initial, num_envs, "initial_state:")
    for recorded in case.recording.steps:
        _assert_rows(recorded.output.extras, num_envs, "act in Mode.EXPLORE: extras")
        _assert_state(initial, recorded.output.state, num_envs, "act in Mode.EXPLORE: state")
    agent = case.trained().agent
    for number, recorded in enumerate(case.recording.steps):
        found = try_act(agent, recorded.observation, initial, number, Mode.EVALUATE)
        assert_action(found["action"], num_envs, num_actions, "act in Mode.EVALUATE returned the action")
        _assert_rows(found["extras"], num_envs, "act in Mode.EVALUATE: extras")
        _assert_state(initial, found["state"], num_envs, "act in Mode.EVALUATE: state")


def inputs_unchanged(case: Case) -> None:
    """The agent writes neither to arrays that it was given nor, later, to arrays that it has returned."""
    message = "the agent wrote to an array that act or observe was given, or that act had returned:"
    for before, after in case.recording.exchanged:
        assert_equal(plain(before), plain(after), message)


def act_is_pure(case: Case) -> None:
    """`act` does not change the agent, and equal random streams give equal outputs, in both modes."""
    for runner in (case.runner(), case.trained()):
        before = runner.state()
        for number, recorded in enumerate(case.recording.steps):
            for mode in Mode:
                first, second = (
                    try_act(runner.agent, recorded.observation, recorded.state, number, mode) for _ in range(2)
                )
                assert_equal(first, second, f"act in {mode} gave two outputs for one random stream:")
        assert_equal(before, runner.state(), "act changed the agent; expected no change:")


def episodes_begin_anew(case: Case) -> None:
    """Where an episode begins, `act` does not depend on the actor state that it is given."""
    agent = case.trained().agent
    initial = agent.initial_state(case.num_envs)
    for number, recorded in enumerate(case.recording.steps):
        begun = replace(recorded.observation, first=np.ones_like(recorded.observation.first))
        for mode in Mode:
            fresh, used = (try_act(agent, begun, state, number, mode) for state in (initial, recorded.output.state))
            message = f"act in {mode} depends on the actor state of the episode before; expected as from initial_state:"
            assert_equal(fresh, used, message)


def evaluating_from_policy_state(case: Case) -> None:
    """A bare policy that loads the subtree "policy" acts in Mode.EVALUATE as the agent does."""
    _assert_policy_acts_alike(case, Mode.EVALUATE)


def exploring_from_policy_state(case: Case) -> None:
    """A bare policy that loads the subtree "policy" acts in Mode.EXPLORE as the agent does."""
    _assert_policy_acts_alike(case, Mode.EXPLORE)


def _assert_policy_acts_alike(case: Case, mode: Mode) -> None:
    for agent in (case.runner().agent, case.trained().agent):
        policy = case.policy(agent)
        initial, bare = (plain(actor.initial_state(case.num_envs)) for actor in (agent, policy))
        assert_equal(initial, bare, "initial_state of a bare policy is not that of the agent:")
        for number, recorded in enumerate(case.recording.steps):
            expected, found = (
                try_act(actor, recorded.observation, recorded.state, number, mode) for actor in (agent, policy)
            )
            message = f"a bare policy that loaded the agent's state acts differently in {mode}:"
            assert_equal(expected, found, message)


def _assert_rows(arrays: ActorState, num_envs: int, what: str) -> None:
    for name, value in arrays.items():
        assert isinstance(value, np.ndarray), f"{what} {name!r} is {type(value).__name__}; expected an array"
        rows = value.shape[:1] == (num_envs,)
        assert rows, f"{what} {name!r} has shape {value.shape}; expected a row for each of {num_envs} environments"


def _assert_state(initial: ActorState, found: ActorState, num_envs: int, what: str) -> None:
    names = sorted(initial)
    assert sorted(found) == names, f"{what} has the names {sorted(found)}; expected those of initial_state, {names}"
    _assert_rows(found, num_envs, what)
    for name, value in found.items():
        expected = initial[name]
        same = (value.shape, value.dtype) == (expected.shape, expected.dtype)
        assert same, f"{what} {name!r} is {value.shape} {value.dtype}; expected {expected.shape} {expected.dtype}"
