"""Steps of episodes with labels of their states, for probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit import plugins
from rlkit.agent import Policy
from rlkit.environments import HasLabels
from rlkit.errors import SpecError
from rlkit.runs.evaluator import evaluation_mode
from rlkit.runs.policy import LoadedPolicy
from rlkit.seeding import Streams
from rlkit.training.evaluation import evaluate
from rlkit.types import ActorOutput, ActorState, Mode, Observation, Purpose, State, StepBatch

Places = Mapping[str, tuple[str, int]]
"""Name of a label → (signal, index in its flattened array)."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Steps of episodes: what the policy saw, and labels."""

    observation: Observation  # (n, ...) rows
    states: tuple[ActorState, ...]  # (n, ...) each, of each policy that saw the steps, before it would have acted
    labels: dict[str, NDArray[np.int64]]  # (n,) each
    episode: NDArray[np.int64]  # (n,)


Row: TypeAlias = tuple[Observation, tuple[ActorState, ...], dict[str, NDArray[np.int64]], NDArray[np.int64]]
"""What was seen, the states before acting, labels, and numbers of episodes, of N environments."""


class _Collector:
    """Plays as the last of several policies, and keeps what it saw, the states of all, and the signals of labels.

    Each policy sees all steps and remembers what it would by itself.
    """

    def __init__(self, policies: Sequence[Policy], places: Places, most: int) -> None:
        """most: steps that are kept, evenly spaced over all."""
        *self._others, self._policy = policies
        self._places, self._most = places, most
        self._every, self._steps = 1, 0
        self._seen: tuple[Observation, tuple[ActorState, ...]]
        self._states: list[ActorState] = []  # of the others
        self._episode: NDArray[np.int64] | None = None
        self.rows: list[Row] = []

    def initial_state(self, num_envs: int) -> ActorState:
        self._episode = np.arange(num_envs)
        self._states = [policy.initial_state(num_envs) for policy in self._others]
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        self._seen = observation, (*self._states, state)
        self._states = [
            policy.act(observation, own, np.random.default_rng(0), mode).state if own else own
            for policy, own in zip(self._others, self._states, strict=True)
        ]
        return self._policy.act(observation, state, rng, mode)

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)

    def on_step(self, step: StepBatch) -> None:
        observation, states = self._seen
        assert self._episode is not None
        found = {
            name: observation.signals[signal].reshape(len(step.action), -1)[:, index].astype(np.int64)
            for name, (signal, index) in self._places.items()
        }
        if self._steps % self._every == 0:
            self.rows.append((observation, states, found, self._episode.copy()))
        self._steps += 1
        if len(self.rows) * len(step.action) > self._most:
            self.rows, self._every = self.rows[::2], 2 * self._every
        self._episode[step.ended] += len(step.action)


def collect(loaded: LoadedPolicy, episodes: int, epsilon: float, count: int, others: Sequence[Policy] = ()) -> Samples:
    """`count` evenly spaced steps of episodes in which actions are random with probability `epsilon`.

    others: policies that see the same steps; the last of `states` is that of the one which acts. Raises SpecError if
    the environment has nothing to label states by.
    """
    config = loaded.config
    plugin: Any = plugins.load(plugins.ENVS, config.env.name)
    env_config: Any = config.evaluation_env
    places: Places = {}
    if isinstance(plugin, HasLabels):
        env_config, places = plugin.labels(config.evaluation_env)
    environments = plugin.make(env_config, min(8, episodes), Purpose.EVALUATE)
    try:
        places = places or _entries(environments.spec.signals)
        if not places:
            raise SpecError("this environment has no signals to label states by (env.signals)")
        if environments.spec.observation_space != loaded.spec.observation_space:
            raise SpecError("the environment with signals has other observations than that of the run")
        collector = _Collector([*others, loaded.policy], places, 4 * count)
        streams = Streams(config.train.seed).child("probe")
        evaluate(collector, environments, streams, episodes, epsilon, collector.on_step, mode=evaluation_mode(config))
    finally:
        environments.close()
    return _thinned(collector.rows, episodes, count)


def _entries(signals: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Every entry of every signal of whole numbers, by "signal[index]"; but those that say how an episode ended."""
    found: dict[str, tuple[str, int]] = {}
    for name, spec in signals.items():
        if name not in ("success", "action_mask") and np.dtype(spec.dtype).kind in "iub":
            size = int(np.prod(spec.shape))
            found |= {name if size == 1 else f"{name}[{index}]": (name, index) for index in range(min(size, 16))}
    return found


def _thinned(rows: Sequence[Row], episodes: int, count: int) -> Samples:
    """At most `count` steps of the first `episodes`, evenly spaced."""
    observations, states, labels, numbers = zip(*rows, strict=True)
    episode = np.concatenate(numbers)
    usable = np.flatnonzero(episode < episodes)
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(count, len(usable))).astype(np.int64))]

    def joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(arrays))[chosen]

    def known(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
        return None if arrays[0] is None else joined(array for array in arrays if array is not None)

    signals = {name: joined(each.signals[name] for each in observations) for name in observations[0].signals}
    return Samples(
        Observation(
            joined(each.obs for each in observations),
            signals,
            joined(each.first for each in observations),
            known([each.last_action for each in observations]),
            known([each.last_reward for each in observations]),
        ),
        tuple({name: joined(each[name] for each in own) for name in own[0]} for own in zip(*states, strict=True)),
        {name: joined(each[name] for each in labels) for name in labels[0]},
        episode[chosen],
    )
