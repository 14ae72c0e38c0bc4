"""The policy of a Q-network: greedy or soft, with random actions when exploring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.agent import Exported, ScoreFunction
from rlkit.exploration.action_mask import allowed_actions, restricted
from rlkit.exploration.adjustment import Adjustment, mask
from rlkit.exploration.epsilon import epsilon_greedy
from rlkit.exploration.protocol import Actor
from rlkit.learning.recall import Recall
from rlkit.learning.softmax import Softmax
from rlkit.nn.host import HostNetwork
from rlkit.nn.inputs import to_tensor
from rlkit.nn.memory import RecurrentNetwork
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.qnetwork import QNetwork, ValuesOf
from rlkit.nn.scores import q_scores
from rlkit.types import ActorOutput, ActorState, Mode, Observation, State, StepBatch


@dataclass(frozen=True, slots=True)
class _Seen:
    values: Callable[[], NDArray[np.float32]]  # (N, A)
    state: ActorState
    extras: Mapping[str, NDArray[Any]]  # of the memory, to be stored with the step


class QPolicy:
    """Takes the action of the highest value, the lowest action of equals; explores epsilon-greedily.

    With a softmax, exploring draws from its distribution instead, of values that the bonus adjusts, and Mode.SAMPLE
    from that of the values alone, without random actions.
    """

    def __init__(
        self,
        network: QNetwork | RecurrentNetwork,
        num_actions: int,
        device: torch.device,
        actor: Actor | None,
        softmax: Softmax | None = None,
        *,
        tells_values: bool = False,
    ) -> None:
        """actor: what exploring reads of the agent's bonus.

        tells_values: exploring returns the values, without adjustment, as the extra "values", (N, A).
        """
        self.network = network
        self.actor = actor
        self.softmax = softmax
        self.epsilon: float | None = 1.0  # the probability of a random action when exploring; None: not known
        self._tells_values = tells_values
        self._num_actions = num_actions
        self._device = device
        self._host = None if isinstance(network, RecurrentNetwork) else HostNetwork.of(network)
        self._recall = Recall(network, num_actions, device) if isinstance(network, RecurrentNetwork) else None

    def initial_state(self, num_envs: int) -> ActorState:
        return {} if self._recall is None else self._recall.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        if mode is Mode.EXPLORE:
            return self.explore(
                observation, state, rng, lambda: None if self.actor is None else self.actor(observation)
            )
        seen = self._look(observation, state, lambda: observation.obs)
        q, allowed = seen.values(), allowed_actions(observation)
        q = q if allowed is None else mask(allowed)(q)
        if mode is Mode.EVALUATE or self.softmax is None:
            return ActorOutput(q.argmax(1), seen.state, {})
        return ActorOutput(self.softmax.draw(q, rng.random(len(q))), seen.state, {})

    def explore(
        self,
        observation: Observation,
        state: ActorState,
        rng: np.random.Generator,
        adjustment: Callable[[], Adjustment[NDArray[np.float32]] | None],
        obs: Callable[[], NDArray[Any] | Tensor] | None = None,
    ) -> ActorOutput:
        """Actions (N,) among those that are allowed, random ones included; `adjustment` is of the values (N, A).

        obs: the observations (N, *O), if they are on the device already. Neither function is called if all actions are
        random, unless the values are told or a memory needs the observations. Raises ValueError if epsilon is not
        known.
        """
        if self.epsilon is None:
            raise ValueError("this policy was saved by rlkit 0.1.0, without what exploring needs: use Mode.EVALUATE")
        count, allowed = len(observation.obs), allowed_actions(observation)
        seen = self._look(observation, state, obs or (lambda: observation.obs))
        told = {"values": seen.values()} if self._tells_values else {}
        coins = None if self.softmax is None else rng.random(count)

        def choose() -> NDArray[np.int64]:
            q, adjust = told["values"] if told else seen.values(), adjustment()
            adjust = adjust if allowed is None else restricted(adjust, allowed)
            return self._choose(q if adjust is None else adjust(q), coins)

        action = epsilon_greedy(self.epsilon, choose, count, self._num_actions, rng, allowed)
        return ActorOutput(action, seen.state, {**told, **seen.extras} if seen.extras else told)

    def _look(self, observation: Observation, state: ActorState, obs: Callable[[], NDArray[Any] | Tensor]) -> _Seen:
        """The action values, computed now if there is a memory, else when they are asked for."""
        if self._recall is None:
            return _Seen(lambda: self.values(obs()), {}, {})
        recalled = self._recall(observation, state, obs())
        with torch.inference_mode():
            values: NDArray[np.float32] = self.network.values(recalled.output).cpu().numpy()
        return _Seen(lambda: values, recalled.state, recalled.extras)

    def observed(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        """What is stored of the memory once a training step is made."""
        return {} if self._recall is None else self._recall.observed(step)

    def _choose(self, q: NDArray[np.float32], coins: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """Actions (N,) for values (N, A), adjusted: soft with uniform random numbers (N,), else greedy."""
        if self.softmax is not None and coins is not None:
            return self.softmax.draw(q, coins)
        action: NDArray[np.int64] = q.argmax(1)
        return action

    def action_values(self, observation: Observation, state: ActorState) -> NDArray[np.float32]:
        """Values (N, A), for display."""
        return self._look(observation, state, lambda: observation.obs).values()

    def score_functions(self, observation: Observation, state: ActorState) -> Sequence[ScoreFunction]:
        """The action values; see `HasScores`."""
        memory = () if self._recall is None else self._recall.tensors(observation, state)
        return [q_scores(self.network, to_tensor(observation.obs, self._device), "action values", (), memory)]

    def values(self, obs: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """Action values (N, A) of observations (N, *O), of a network without memory."""
        if self._host is not None and not isinstance(obs, Tensor) and self._host.supports(len(obs)):
            return self._host(obs)
        with torch.inference_mode():
            moved = obs if isinstance(obs, Tensor) else to_tensor(obs, self._device)
            values: NDArray[np.float32] = self.network.values(self.network(moved)).cpu().numpy()
        return values

    def exported(self) -> Exported:
        if isinstance(self.network, RecurrentNetwork):
            return Recall(self.network, self._num_actions, self._device).exported("values")
        return Exported(ValuesOf(self.network), "values")

    def state_dict(self) -> dict[str, Any]:
        state = {
            "network": parameter_state(self.network),
            "epsilon": self.epsilon,
            "actor": None if self.actor is None else self.actor.state_dict(),
        }
        return state if self.softmax is None else {**state, "softmax": self.softmax.state_dict()}

    def take(self, state: State) -> None:
        """Takes over what was learned by another policy, but not how it explored."""
        load_parameters(self.network, state["network"], "its policy")
        if self.softmax is not None and "softmax" in state:
            self.softmax.load_state_dict(state["softmax"])

    def load_policy_state(self, state: State) -> None:
        load_parameters(self.network, state["network"], "the policy's state")
        self.epsilon = state.get("epsilon")
        if self.actor is not None and state.get("actor") is not None:
            self.actor.load_state_dict(state["actor"])
        if self.softmax is not None:
            self.softmax.load_state_dict(state.get("softmax"))
