"""Evaluates policies under the protocol that a config describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rlkit import plugins
from rlkit.agent import HasSampling, Policy
from rlkit.config.tables import Config
from rlkit.environments import Environments
from rlkit.errors import ConfigError, SpecError
from rlkit.seeding import Streams
from rlkit.training.evaluation import Scores, evaluate, protocol_of
from rlkit.training.trainer import Stop
from rlkit.types import EnvSpec, Mode, Purpose, StepBatch


@dataclass
class Evaluator:
    """Evaluates a policy under the config's protocol; builds its environments when they are first needed."""

    config: Config
    environments: Environments | None = None
    stop: Stop = field(default_factory=Stop)
    follows_seeds: bool = True  # whether equal seeds give equal episodes
    described: Mapping[str, str] | None = None  # the environment's part of the protocol
    spec: EnvSpec | None = None  # of the training environments, if it is known: their spaces must be the same
    chosen: bool = False  # whether evaluations of the training chose the policy: it is scored in other episodes

    def __call__(
        self, policy: Policy, episodes: int, on_step: Callable[[StepBatch], None] = lambda step: None
    ) -> Scores:
        evaluation = self.config.evaluation
        if self.environments is None:
            self.environments = self._made()
        streams = Streams(self.config.train.seed).child(
            "evaluation of a chosen policy" if self.chosen else "evaluation"
        )
        return evaluate(
            policy, self.environments, streams, episodes, evaluation.epsilon, on_step,
            mode=evaluation_mode(self.config), stopped=lambda: self.stop.signal is not None,
        )  # fmt: skip

    def protocol(self, episodes: int, parameters: str) -> dict[str, str]:
        """What the scores depend on. The first call makes an environment, which may be the only one: make it early."""
        if self.described is None:
            self.described = plugins.load(plugins.ENVS, self.config.env.name).protocol(self.config.evaluation_env)
        seeds = "fixed seeds" + (", none of those that chose the policy" if self.chosen else "")
        if not self.follows_seeds:
            seeds = "different at each evaluation: the environment ignores seeds"
        epsilon, mode = self.config.evaluation.epsilon, evaluation_mode(self.config)
        return protocol_of(self.described, episodes, epsilon, mode, parameters, seeds)

    def start_workers(self) -> None:
        """Makes environments that run in worker processes. Call it before the agent is on its device.

        Workers are forked, and a fork is not safe once CUDA or an emulator has started threads. Each of them makes its
        environment at the first reset, so there is no second instance of a simulator yet.
        """
        if getattr(self.config.evaluation_env, "mode", None) == "async":
            self.environments = self._made()

    def _made(self) -> Environments:
        plugin = plugins.load(plugins.ENVS, self.config.env.name)
        environments: Environments = plugin.make(
            self.config.evaluation_env, self.config.evaluation.num_envs, Purpose.EVALUATE
        )
        try:
            _refuse_other_spaces(self.spec, environments.spec)
        except SpecError:
            environments.close()
            raise
        return environments

    def close(self) -> None:
        if self.environments is not None:
            self.environments.close()


def evaluation_mode(config: Config) -> Mode:
    """How the policy acts when evaluated. Raises ConfigError if it shall sample and cannot."""
    if not config.evaluation.sample:
        return Mode.EVALUATE
    plugin: object = plugins.load(plugins.AGENTS, config.agent.name)
    if not isinstance(plugin, HasSampling):
        raise ConfigError(
            f'evaluation.sample: the plug-in of agent "{config.agent.name}" has no method samples(config), which says '
            "whether its policy can act in Mode.SAMPLE (see rlkit.HasSampling)"
        )
    if not plugin.samples(config.agent):
        raise ConfigError(
            f'evaluation.sample: agent "{config.agent.name}" always takes the best action with these settings; '
            "there is nothing to sample"
        )
    return Mode.SAMPLE


def _refuse_other_spaces(training: EnvSpec | None, evaluation: EnvSpec) -> None:
    """Raises SpecError if a policy of the training environments cannot act in those of the evaluation."""
    if training is None:
        return
    for name in ("observation_space", "num_actions", "structure"):
        ours, other = getattr(training, name), getattr(evaluation, name)
        if ours != other:
            raise SpecError(f"evaluation.env: its {name} is {other}; in training it is {ours}")
