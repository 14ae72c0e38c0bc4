"""A small on-policy agent: advantage actor-critic with a linear softmax policy and linear values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit import AgentContext, Pacing
from rlkit.config.model import PluginConfig
from rlkit.types import ActorOutput, ActorState, EnvSpec, Metrics, Mode, Observation, State, StepBatch


class A2CConfig(PluginConfig):
    rollout_steps: int = 8
    learning_rate: float = 0.1
    discount: float = 0.98


class SoftmaxPolicy:
    """Linear logits (N, A) over observations (N, *O) and a constant; the greatest one is the greedy action."""

    def __init__(self, spec: EnvSpec) -> None:
        self.num_features = int(np.prod(spec.observation_space.shape)) + 1
        self.weights = np.zeros((self.num_features, spec.num_actions))

    def initial_state(self, num_envs: int) -> ActorState:
        return {}

    def features(self, observation: Observation) -> NDArray[np.float64]:
        rows = observation.obs.reshape(len(observation.first), -1)
        return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)  # (N, F)

    def log_probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = features @ self.weights
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))  # (..., A)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        scores = self.log_probabilities(self.features(observation))
        noise = rng.gumbel(size=scores.shape) if mode is Mode.EXPLORE else 0.0
        action = (scores + noise).argmax(1)
        return ActorOutput(action, state, {"log_probability": scores[np.arange(len(action)), action]})

    def load_policy_state(self, state: State) -> None:
        self.weights = state["weights"].copy()


class A2CAgent:
    """Makes one update whenever the rollout holds `rollout_steps` steps of all environments, then empties it."""

    def __init__(self, config: A2CConfig, spec: EnvSpec) -> None:
        self.config = config
        self.policy = SoftmaxPolicy(spec)
        self.values = np.zeros(self.policy.num_features)
        rows, features = (config.rollout_steps, spec.num_envs), (self.policy.num_features,)
        self.rollout: dict[str, NDArray[Any]] = {
            **{name: np.zeros(rows + features) for name in ("before", "after")},
            **{name: np.zeros(rows) for name in ("reward", "discount", "log_probability")},
            "action": np.zeros(rows, np.int64),
            "ended": np.zeros(rows, np.bool_),
        }
        self.filled = 0  # steps in the rollout
        self.updates = 0

    def initial_state(self, num_envs: int) -> ActorState:
        return self.policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        return self.policy.act(observation, state, rng, mode)

    def observe(self, step: StepBatch) -> None:
        stored = {name: getattr(step, name) for name in ("action", "reward", "discount", "ended")} | dict(step.extras)
        stored |= {name: self.policy.features(getattr(step, name)) for name in ("before", "after")}
        for name, array in stored.items():
            self.rollout[name][self.filled] = array
        self.filled += 1

    def learn(self) -> Metrics:
        if self.filled < self.config.rollout_steps:
            return {}
        self.filled = 0
        self.updates += 1
        return self.update()

    def update(self) -> Metrics:
        """The step in flight was made with older weights, so its gradient has a truncated importance ratio."""
        x, action = self.rollout["before"], self.rollout["action"]
        returns = self.returns()  # (T, N)
        advantage = returns - x @ self.values
        scores = self.policy.log_probabilities(x)  # (T, N, A)
        taken = np.eye(scores.shape[2])[action]
        ratio = np.exp((taken * scores).sum(2) - self.rollout["log_probability"])
        towards = (np.minimum(ratio, 1) * advantage)[..., None] * (taken - np.exp(scores))
        rate = self.config.learning_rate / action.size
        self.policy.weights = self.policy.weights + rate * np.einsum("tnf,tna->fa", x, towards)
        self.values = self.values + rate * np.einsum("tnf,tn->f", x, advantage)
        return {"loss/value": float((advantage**2).mean())}

    def returns(self) -> NDArray[np.float64]:
        """(T, N) discounted sums of rewards, bootstrapped where an episode or the rollout ends."""
        bootstrap = self.rollout["after"] @ self.values
        returns = np.zeros_like(bootstrap)
        following = bootstrap[-1]
        for t in reversed(range(len(returns))):
            following = np.where(self.rollout["ended"][t], bootstrap[t], following)
            following = self.rollout["reward"][t] + self.config.discount * self.rollout["discount"][t] * following
            returns[t] = following
        return returns

    def gauges(self) -> Metrics:
        return {"rollout/fill": self.filled / self.config.rollout_steps}

    def state_dict(self) -> dict[str, Any]:
        return {
            "policy": {"weights": self.policy.weights},
            "values": self.values,
            "rollout": self.rollout,
            "filled": self.filled,
            "updates": self.updates,
        }

    def load_state_dict(self, state: State) -> None:
        self.load_policy_state(state["policy"])
        self.values = state["values"].copy()
        self.rollout = {name: array.copy() for name, array in state["rollout"].items()}
        self.filled, self.updates = state["filled"], state["updates"]

    def load_policy_state(self, state: State) -> None:
        self.policy.load_policy_state(state)


class A2CPlugin:
    config = A2CConfig
    pacing: Pacing = "rollouts"

    def __init__(self, kind: type[A2CAgent] = A2CAgent) -> None:
        self.kind = kind

    def policy(self, config: A2CConfig, spec: EnvSpec, device: torch.device) -> SoftmaxPolicy:
        return SoftmaxPolicy(spec)

    def agent(self, config: A2CConfig, spec: EnvSpec, context: AgentContext) -> A2CAgent:
        return self.kind(config, spec)

    def describe(self, config: A2CConfig, spec: EnvSpec, env_steps: int) -> Mapping[str, str]:
        return {"rollout": f"{config.rollout_steps} steps of {spec.num_envs} environments"}


plugin = A2CPlugin()
