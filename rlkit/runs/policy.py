"""Loads a trained policy from a run, without its replay and optimizer, to act on observations of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.agent import Policy
from rlkit.config.tables import Config
from rlkit.devices import choose_device
from rlkit.errors import RunError, SpecError
from rlkit.runs.directory import RunDirectory
from rlkit.runs.evaluator import evaluation_mode
from rlkit.structure import space_text, stored
from rlkit.training.finite import nan_entries
from rlkit.types import ACTION_MASK, ActorState, EnvSpec, Mode, Observation, Purpose


@dataclass
class LoadedPolicy:
    """A policy for one environment, `action = policy(observation)`; call `reset()` when an episode ends."""

    policy: Policy
    spec: EnvSpec
    config: Config
    env_steps: int
    _state: ActorState = field(init=False)
    _first: bool = field(default=True, init=False)
    _action: int = field(default=0, init=False)  # the last one
    _rng: np.random.Generator = field(init=False)
    _mode: Mode = field(init=False)

    def __post_init__(self) -> None:
        self._mode = evaluation_mode(self.config)
        self._rng = np.random.default_rng(self.config.train.seed)
        self._state = self.policy.initial_state(1)

    def reset(self) -> None:
        """Declares that the next observation begins an episode. Only policies with memory need it."""
        self._first = True

    def _stored(self, observation: Any) -> NDArray[Any]:
        """The observation as training stored it. Raises SpecError if it does not fit."""
        space, structure = self.spec.observation_space, self.spec.structure
        try:
            if structure is not None:
                return structure.flatten(observation)
            return stored(observation, space, "the observation")
        except (SpecError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, SpecError) else f"the observation is a {type(observation).__name__}"
            taken = structure or space_text(space)
            raise SpecError(f"{what}; this policy takes {taken}{_wrappers_of(self.config)}") from error

    def __call__(
        self, observation: Any, signals: Mapping[str, NDArray[Any]] | None = None, *, reward: float | None = None
    ) -> int:
        """The action for one observation, as the environments of the config return it; see `evaluation.sample`.

        signals: env.signals, for policies that need signals (such as h-DQN's goals), and {"action_mask": (A,)} if
        training had an action mask. reward: of the last action, for policies with `memory.last_reward`; the last action
        itself is taken to be the one that was returned. Raises SpecError if the shape differs, or a signal or the
        reward is missing.
        """
        obs = self._stored(observation)
        if ACTION_MASK in self.spec.signals and ACTION_MASK not in (signals or {}):
            raise SpecError(self._missing(ACTION_MASK))
        seen = Observation(
            obs[None],
            {name: np.asarray(value)[None] for name, value in (signals or {}).items()},
            np.array([self._first]),
            np.array([self._action]),
            None if reward is None else np.array([reward], np.float32),
        )
        try:
            output = self.policy.act(seen, self._state, self._rng, self._mode)
        except KeyError as error:
            name = error.args[0]
            if name not in self.spec.signals or name in seen.signals:
                raise
            raise SpecError(self._missing(name)) from None
        self._state, self._first, self._action = output.state, False, int(output.action[0])
        return self._action

    def _missing(self, name: str) -> str:
        source = "from the environment" if name == ACTION_MASK else "as in env.signals"
        return f'this policy needs the signal "{name}": policy(observation, {{"{name}": ...}}), {source}'


def _wrappers_of(config: Config) -> str:
    """The wrappers of training in words, for environments that have them in `env.wrappers`; else ""."""
    found = getattr(config.env, "wrappers", ())
    names = [entry if isinstance(entry, str) else str(getattr(entry, "path", entry)) for entry in found]
    return f"; training had the wrappers {', '.join(names)} around the environment" if names else ""


def load_policy(
    path: str | Path, checkpoint: str = "last", *, overrides: Mapping[str, Any] | None = None
) -> LoadedPolicy:
    """Loads the policy of a run. checkpoint: "last", "best", or the step of a checkpoint.

    Builds one environment, for its spaces, but no replay. Raises RunError if there is no such checkpoint.
    """
    run = RunDirectory.open(Path(path))
    config = run.config(dict(overrides or {}))
    state, env_steps = run.load_policy(checkpoint)
    if broken := next(nan_entries(state), None):
        raise RunError(f"{run.path}: the policy {checkpoint!r} of step {env_steps} contains NaN in {broken}")
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, 1, Purpose.EVALUATE)
    spec = environments.spec
    environments.close()
    plugin = plugins.load(plugins.AGENTS, config.agent.name)
    policy: Policy = plugin.policy(config.agent, spec, choose_device(config.train.device))
    with run.naming_versions("the policy"):
        policy.load_policy_state(state)
    return LoadedPolicy(policy, spec, config, env_steps)
