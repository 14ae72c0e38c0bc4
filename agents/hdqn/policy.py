"""The policy of the two networks: which goal, and which action towards it; greedy, or exploring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.hdqn.network import GoalQNetwork
from agents.hdqn.options import Bools, Ints, OptionRules, explore
from rlkit.agent import Exported, ScoreFunction
from rlkit.exploration.action_mask import allowed_actions, restricted
from rlkit.exploration.adjustment import Adjustment, mask
from rlkit.exploration.protocol import Actor
from rlkit.goals import GoalSpace
from rlkit.nn.inputs import to_tensor
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.qnetwork import QNetwork
from rlkit.nn.scores import encoding, q_scores, refuse_planes
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State


class _ControllerValues(nn.Module):
    """Maps observations (B, *O) and goals (B,) to action values (B, A), for export."""

    def __init__(self, controller: GoalQNetwork) -> None:
        super().__init__()
        self.controller = controller

    def forward(self, obs: Tensor, goal: Tensor) -> Tensor:
        return self.controller.values(self.controller(obs, goal))


class HDQNPolicy:
    """Keeps a goal until its option is over, then takes the allowed goal of the highest value; actions likewise.

    Explores epsilon-greedily on both levels. Its actor state: "goal" (N,), and "age" (N,), the steps that the option
    will have run when the next observation comes.
    """

    def __init__(
        self,
        meta: QNetwork,
        controller: GoalQNetwork,
        goals: GoalSpace,
        rules: OptionRules,
        num_actions: int,
        device: torch.device,
        actor: Actor | None,
    ) -> None:
        """actor: what exploring reads of the controller's bonus."""
        self.meta = meta
        self.controller = controller
        self.goals = goals
        self.actor = actor
        self.epsilon: NDArray[np.float64] | None = np.ones(len(goals.names))  # (G,) of actions; None: not known
        self.meta_epsilon = 1.0  # the probability of a random goal when exploring
        self.rules = rules
        self._num_actions = num_actions
        self._device = device

    def initial_state(self, num_envs: int) -> ActorState:
        return {"goal": np.zeros(num_envs, np.int64), "age": np.zeros(num_envs, np.int64)}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EXPLORE:
            return self.explore(observation, state, rng, lambda: self.actor(observation) if self.actor else None)
        goal, age, _ = self.options(observation, state, lambda allowed: self.greedy_goal(observation.obs, allowed))
        action = self.greedy_action(observation.obs, goal, self._masked(None, observation))
        return ActorOutput(action, {"goal": goal, "age": age + 1}, {})

    def explore(
        self,
        observation: Observation,
        state: ActorState,
        rng: np.random.Generator,
        adjustment: Callable[[], Adjustment[NDArray[np.float32]] | None],
    ) -> ActorOutput:
        """Epsilon-greedy on both levels. `adjustment` of the action values (N, A) is asked for if some are needed.

        The extras: goals, ages of their options, and the goals achieved before the step. Raises ValueError if epsilon
        is not known.
        """
        if self.epsilon is None:
            raise ValueError("this policy was saved by rlkit 0.1.0, without what exploring needs: use Mode.EVALUATE")
        obs, count = observation.obs, len(observation.obs)
        coins = rng.random((2, count))  # drawn whether an option is over or not

        def choose(allowed: Bools) -> Ints:
            epsilon = np.full(count, self.meta_epsilon)
            return explore(epsilon, lambda: self.greedy_goal(obs, allowed), allowed, coins)

        goal, age, before = self.options(observation, state, choose)
        allowed = allowed_actions(observation)
        action = explore(
            self.epsilon[goal],
            lambda: self.greedy_action(obs, goal, self._masked(adjustment(), observation)),
            np.ones((count, self._num_actions), np.bool_) if allowed is None else allowed,
            rng.random((2, count)),
        )
        extras = {"goal": goal, "age": age, "achieved_before": before}
        return ActorOutput(action, {"goal": goal, "age": age + 1}, extras)

    def options(
        self, observation: Observation, state: ActorState, choose: Callable[[Bools], Ints]
    ) -> tuple[Ints, Ints, Bools]:
        """The goals (N,) for the next step, the ages (N,) of their options, and what is achieved now, (N, G).

        `choose` returns goals (N,) among the allowed ones (N, G). It is called if in some environment an episode begins
        or an option is over, and used only there.
        """
        achieved = self.goals.achieved(observation)
        over = self.rules.over(state["goal"], state["age"], achieved, observation.first)
        if not over.any():
            return state["goal"], state["age"], achieved
        previous = np.where(observation.first, -1, state["goal"])
        chosen = choose(self.rules.allowed(achieved, previous))
        return np.where(over, chosen, state["goal"]), np.where(over, 0, state["age"]), achieved

    def greedy_goal(self, obs: NDArray[Any], allowed: Bools) -> Ints:
        """(N,) the allowed goal of the highest value for each observation (N, *O), the first of equals."""
        with torch.inference_mode():
            q = self.meta.values(self.meta(to_tensor(obs, self._device))).cpu().numpy()  # (N, G)
        goal: Ints = mask(allowed)(q).argmax(1)
        return goal

    def _masked(
        self, adjustment: Adjustment[NDArray[np.float32]] | None, observation: Observation
    ) -> Adjustment[NDArray[np.float32]] | None:
        """`adjustment` of action values, with the action mask if the environment has one."""
        allowed = allowed_actions(observation)
        return adjustment if allowed is None else restricted(adjustment, allowed)

    def greedy_action(
        self, obs: NDArray[Any], goal: Ints, adjustment: Adjustment[NDArray[np.float32]] | None = None
    ) -> Ints:
        """(N,) the actions of the highest adjusted value under goals (N,), the first of equals."""
        q = self._action_values(obs, goal)
        action: Ints = (q if adjustment is None else adjustment(q)).argmax(1)
        return action

    def _action_values(self, obs: NDArray[Any], goal: Ints) -> NDArray[np.float32]:
        with torch.inference_mode():
            output = self.controller(to_tensor(obs, self._device), to_tensor(goal, self._device))
            q: NDArray[np.float32] = self.controller.values(output).cpu().numpy()
        return q

    def action_values(self, observation: Observation, state: ActorState) -> NDArray[np.float32]:
        """Values (N, A) under the greedy goals, for display."""
        goal, _, _ = self.options(observation, state, lambda allowed: self.greedy_goal(observation.obs, allowed))
        return self._action_values(observation.obs, goal)

    def score_functions(self, observation: Observation, state: ActorState) -> Sequence[ScoreFunction]:
        """The controller's action values under the greedy goals, and the meta-controller's goal values.

        See `HasScores`.
        """
        network, obs = self.controller, to_tensor(observation.obs, self._device)
        goal, _, _ = self.options(observation, state, lambda allowed: self.greedy_goal(observation.obs, allowed))
        found = encoding(network.inputs, network.encoder, obs)
        if network.masked:  # a plane before the encoder
            refuse_planes(network.encoder)
            found = replace(found, features=lambda values: values)

        def values(features: Tensor, goals: Tensor) -> Tensor:
            of = network.of_inputs if network.masked else network.of_features
            return network.values(of(features, goals))

        controller = found.function("action values", (), network, values, (to_tensor(goal, self._device),))
        meta = q_scores(self.meta, obs, "goal values", tuple(self.goals.names))
        return [controller, replace(meta, chosen=goal)]

    def caption(self, state: ActorState) -> list[str]:
        """A line for each environment, for display: the goal of the step."""
        return [f"goal  {self.goals.names[number]}" for number in state["goal"].tolist()]

    def exported(self) -> Exported:
        """The controller: action values under a goal, which is an input; whoever calls it chooses the goals."""

        def given(observation: Observation, state: ActorState) -> dict[str, NDArray[Any]]:
            choose = lambda allowed: self.greedy_goal(observation.obs, allowed)  # noqa: E731
            return {"goal": self.options(observation, state, choose)[0]}

        inputs = {"goal": torch.zeros(1, dtype=torch.int64)}
        return Exported(_ControllerValues(self.controller), "values", inputs, given=given)

    def state_dict(self) -> dict[str, Any]:
        return {
            "meta": parameter_state(self.meta),
            "controller": parameter_state(self.controller),
            "epsilon": self.epsilon,
            "meta_epsilon": self.meta_epsilon,
            "actor": None if self.actor is None else self.actor.state_dict(),
        }

    def take(self, state: State) -> None:
        """Takes over what was learned by another policy, but not how it explored."""
        load_parameters(self.meta, state["meta"], "its meta-controller")
        load_parameters(self.controller, state["controller"], "its controller")

    def load_policy_state(self, state: State) -> None:
        load_parameters(self.meta, state["meta"], "the meta-controller's state")
        load_parameters(self.controller, state["controller"], "the controller's state")
        self.epsilon, self.meta_epsilon = state.get("epsilon"), state.get("meta_epsilon", 1.0)
        if self.actor is not None and state.get("actor") is not None:
            self.actor.load_state_dict(state["actor"])
