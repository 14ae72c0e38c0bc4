"""The greedy policy of the two networks: which goal, and which action towards it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.hdqn.network import GoalQNetwork
from agents.hdqn.options import Bools, Ints, allowed_goals, option_over
from rlkit.exploration.adjustment import Optimism
from rlkit.goals import GoalSpace
from rlkit.nn.inputs import to_tensor
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.qnetwork import QNetwork
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State

FORBIDDEN = np.float32(-np.inf)
"""Added to the value of a goal that may not be chosen."""


class HDQNPolicy:
    """Keeps a goal until its option is over, then takes the allowed one of the highest value; likewise actions.

    Its actor state: "goal" (N,), and "age" (N,), the steps that the option has run when the next observation comes.
    """

    def __init__(
        self,
        meta: QNetwork,
        controller: GoalQNetwork,
        goals: GoalSpace,
        max_option_steps: int,
        repeat_goals: bool,
        device: torch.device,
    ) -> None:
        self.meta = meta
        self.controller = controller
        self.goals = goals
        self._max_steps = max_option_steps
        self._repeat = repeat_goals
        self._device = device

    def initial_state(self, num_envs: int) -> ActorState:
        return {"goal": np.zeros(num_envs, np.int64), "age": np.zeros(num_envs, np.int64)}

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        """Greedy on both levels; only an agent explores, so Mode.EXPLORE raises ValueError."""
        if mode is not Mode.EVALUATE:
            raise ValueError("a bare h-DQN policy does not explore; ask the agent, or use Mode.EVALUATE")
        goal, age, _ = self.options(observation, state, lambda allowed: self.greedy_goal(observation.obs, allowed))
        return ActorOutput(self.greedy_action(observation.obs, goal), {"goal": goal, "age": age + 1}, {})

    def options(
        self, observation: Observation, state: ActorState, choose: Callable[[Bools], Ints]
    ) -> tuple[Ints, Ints, Bools]:
        """The goals (N,) for the next step, the ages (N,) of their options, and what is achieved now, (N, G).

        `choose` gives goals (N,) among the allowed ones (N, G); it is asked where an episode begins or an option is
        over, and there alone its answer counts.
        """
        achieved = self.goals.achieved(observation)
        over = option_over(state["goal"], state["age"], achieved, observation.first, self._max_steps)
        if not over.any():
            return state["goal"], state["age"], achieved
        previous = np.where(observation.first, -1, state["goal"])
        chosen = choose(self.allowed(achieved, previous))
        return np.where(over, chosen, state["goal"]), np.where(over, 0, state["age"]), achieved

    def allowed(self, achieved: Bools, previous: Ints) -> Bools:
        """(N, G) which goals may be chosen; see `allowed_goals`."""
        return allowed_goals(achieved, previous, self._repeat)

    def greedy_goal(self, obs: NDArray[Any], allowed: Bools) -> Ints:
        """(N,) the allowed goals of the highest value for observations (N, *O), the first among equals."""
        with torch.inference_mode():
            q = self.meta(to_tensor(obs, self._device)).cpu().numpy()  # (N, G)
        goal: Ints = np.where(allowed, q, FORBIDDEN).argmax(1)
        return goal

    def greedy_action(
        self, obs: NDArray[Any], goal: Ints, optimism: Optimism[NDArray[np.float32]] | None = None
    ) -> Ints:
        """(N,) the actions of the highest value under goals (N,), as an optimist sees it, the first among equals."""
        q = self._action_values(obs, goal)
        action: Ints = (q if optimism is None else optimism(q)).argmax(1)
        return action

    def _action_values(self, obs: NDArray[Any], goal: Ints) -> NDArray[np.float32]:
        with torch.inference_mode():
            q: NDArray[np.float32] = (
                self.controller(to_tensor(obs, self._device), to_tensor(goal, self._device)).cpu().numpy()
            )
        return q

    def action_values(self, observation: Observation, state: ActorState) -> NDArray[np.float32]:
        """Values (N, A) under the goals that a greedy choice gives, for people to look at."""
        goal, _, _ = self.options(observation, state, lambda allowed: self.greedy_goal(observation.obs, allowed))
        return self._action_values(observation.obs, goal)

    def caption(self, state: ActorState) -> list[str]:
        """A line for each environment, for people to read: which goal the step was taken for."""
        return [f"goal  {self.goals.names[number]}" for number in state["goal"].tolist()]

    def state_dict(self) -> dict[str, Any]:
        return {"meta": parameter_state(self.meta), "controller": parameter_state(self.controller)}

    def load_policy_state(self, state: State) -> None:
        load_parameters(self.meta, state["meta"], "the meta-controller's state")
        load_parameters(self.controller, state["controller"], "the controller's state")
