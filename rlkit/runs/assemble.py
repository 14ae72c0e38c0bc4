"""Builds all that a config names, in one function: environments, agent, sinks and trainer."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from pydantic import BaseModel

from rlkit import plugins
from rlkit.agent import Agent, AgentContext, HasNetworks
from rlkit.config.tables import ActorsConfig, Config
from rlkit.devices import choose_device
from rlkit.environments import Environments
from rlkit.errors import ConfigError, SpecError
from rlkit.memory import naming_memory
from rlkit.metrics.line_log import LineLog
from rlkit.metrics.meters import Sink
from rlkit.metrics.sinks import Guarded, SinkContext
from rlkit.metrics.visits import Visits
from rlkit.runs.directory import RunDirectory
from rlkit.runs.evaluator import Evaluator, evaluation_mode
from rlkit.runs.identity import digest, of_checkpoint, of_run
from rlkit.runs.warm_start import warm_start
from rlkit.seeding import Streams
from rlkit.structure import space_text
from rlkit.training.action_log import ActionLog
from rlkit.training.rollout import Rollout
from rlkit.training.trainer import Stop, Trainer
from rlkit.types import ACTION_MASK, EnvSpec, LayerSummary, Metrics, Mode, Purpose, State, StepBatch


@dataclass
class RunStore:
    """Writes the checkpoints and policies of a trainer into the run directory."""

    run: RunDirectory
    config: Config

    def save_checkpoint(self, env_steps: int, state: State) -> None:
        content = {**state, "config": of_checkpoint(self.config.tables())}
        self.run.checkpoints.save(env_steps, content, self.config.train.keep_checkpoints)

    def save_policy(self, name: str, state: State, env_steps: int) -> None:
        self.run.save_policy(name, state, env_steps)


@dataclass
class Session:
    """A trainer, and the resources that must be closed after it."""

    trainer: Trainer
    run: RunDirectory
    evaluator: Evaluator
    device: torch.device
    environments: Environments
    sinks: list[Sink] = field(default_factory=list)

    def close(self) -> None:
        gc.unfreeze()
        self.environments.close()
        self.evaluator.close()
        for sink in self.sinks:
            sink.close()


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller wants to be called during training; see `Trainer`."""

    on_progress: Callable[[Trainer], None] = lambda trainer: None
    on_step: Callable[[Trainer, StepBatch], bool | None] | None = None
    on_evaluation: Callable[[Trainer, Mapping[str, float]], bool | None] | None = None


def make_agent(config: Config, environments: Environments, device: torch.device) -> Agent:
    streams = Streams(config.train.seed)
    plugin = plugins.load(plugins.AGENTS, config.agent.name)
    if ACTION_MASK in environments.spec.signals and not getattr(plugin, "respects_action_masks", False):
        raise SpecError(
            f'agent "{config.agent.name}" would ignore the environment\'s action mask: its plug-in does not declare '
            "respects_action_masks; env.action_mask = false leaves the mask out"
        )
    context = AgentContext(streams.child("agent"), device)
    with naming_memory(f'agent "{config.agent.name}"'):
        agent: Agent = plugin.agent(config.agent, environments.spec, context)
    plugins.check_agent_parts(agent, config.agent.name)
    return agent


def assemble(
    config: Config,
    open_run: Callable[[torch.device], RunDirectory],
    *,
    resumed_at: int | None = None,
    stop: Stop | None = None,
    hooks: Hooks | None = None,
    follows_seeds: bool = True,
) -> Session:
    """Builds all that `config` names, and calls `open_run` when all parts are known to fit.

    Raises ConfigError (or a subclass) if a part does not exist, the parts do not fit together, or memory is too small.
    """
    train, resumed = config.train, resumed_at is not None
    device = choose_device(train.device)
    factories = {name: _sink(name) for name in train.sinks}
    environments = _environments(config)
    stop, hooks = stop or Stop(), hooks or Hooks()
    evaluator = Evaluator(config, stop=stop, follows_seeds=follows_seeds, spec=environments.spec)
    try:
        evaluator.start_workers()
        agent = make_agent(config, environments, device)
        if not resumed:
            warm_start(config, agent)
        visits = _visits(config, environments.spec)
        run = open_run(device)
        streams = Streams(train.seed).child("rollout")
        action_log = ActionLog(streams, train.num_envs, train.reseed_after, run.tapes, 10**6 * train.action_log_size)
        trainer = Trainer(
            agent=agent,
            rollout=Rollout(environments, action_log, streams.generator("act"), Mode.EXPLORE),  # replaced by actors
            action_log=action_log,
            train=train,
            evaluation=config.evaluation,
            evaluate=lambda episodes: evaluator(agent, episodes),
            sinks=[],
            store=RunStore(run, config),
            visits=visits,
            stop=stop,
            on_progress=hooks.on_progress,
            on_step=hooks.on_step,
            on_evaluation=hooks.on_evaluation,
            advice=_advice(config.agent),
        )
        if train.actors is not None:
            trainer.rollout = _remote(config, train.actors, environments.spec, trainer.meters.add)
        protocol = evaluator.protocol(config.evaluation.episodes, "current, during training")
        context = SinkContext(run.path, config, of_run(config.tables()), protocol, resumed_at or 0)
        sinks: list[Sink] = [LineLog(run.metrics, resumed_at or 0)]
        sinks += [Guarded(name, factory, context) for name, factory in factories.items()]
        trainer.sinks = sinks
    except BaseException:
        environments.close()
        evaluator.close()
        raise
    gc.collect()
    gc.freeze()  # later collections skip what was imported and built
    return Session(trainer, run, evaluator, device, environments, sinks)


def _environments(config: Config) -> Environments:
    """The training environments; with actors, only what is known of them."""
    if config.train.actors is not None:
        from rlkit.runs.cluster.actors import NoEnvironments

        return cast(Environments, NoEnvironments(_spec(config)))
    environments: Environments = plugins.load(plugins.ENVS, config.env.name).make(
        config.env, config.train.num_envs, Purpose.TRAIN
    )
    return environments


def _remote(config: Config, actors: ActorsConfig, spec: EnvSpec, report: Callable[[Metrics], None]) -> Rollout:
    from rlkit.runs.cluster.actors import RemoteRollout
    from rlkit.runs.cluster.on_ray import RayFleet

    return cast(Rollout, RemoteRollout(RayFleet(config), actors, spec, report))


def _sink(name: str) -> Callable[[SinkContext], Sink]:
    """Raises ConfigError for an unknown sink, and for one that says that its package is missing."""
    factory: Any = plugins.load(plugins.SINKS, name)
    if hasattr(factory, "require"):
        factory.require()
    return cast("Callable[[SinkContext], Sink]", factory)


def _visits(config: Config, spec: EnvSpec) -> Visits | None:
    """The counts of visits, if the config asks for them. Raises SpecError if a signal that it names is missing."""
    stop = config.evaluation.stop
    if stop is not None and stop.key == "success_rate" and "success" not in spec.signals:
        raise SpecError(
            'evaluation.stop.key: success_rate needs the signal "success", which this environment lacks; a function in '
            "env.signals can give it (docs/your-environment.md, Signals)"
        )
    return Visits(config.train.visits, spec) if config.train.visits else None


def _advice(agent: BaseModel) -> str:
    """What the table of an agent can do about rewards that are never found; "" if it has no exploration bonus."""
    if "bonus" not in type(agent).model_fields:
        return ""
    if agent.bonus is None:  # type: ignore[attr-defined]
        return "; an exploration bonus helps to find rare rewards: --set agent.bonus=true (docs/exploration.md)"
    return "; more steps, or another agent.bonus.beta, may find a reward (docs/exploration.md)"


def describe(config: Config) -> dict[str, str]:
    """The rows of `rlkit check`; builds one environment and the network, but no replay."""
    train, evaluation = config.train, config.evaluation
    device = choose_device(train.device)
    acting = f"epsilon {evaluation.epsilon:g}" + (", sampled" if evaluation_mode(config) is Mode.SAMPLE else "")
    for name in train.sinks:
        _sink(name)
    spec = _spec(config)
    _visits(config, spec)
    with naming_memory("the network"):
        agent = plugins.load(plugins.AGENTS, config.agent.name).describe(config.agent, spec, train.steps)
    warm, begins = train.warm_start, {}
    if warm is not None:
        begins = {"begins with": f"the {warm.checkpoint} policy of {warm.run}"}
    every = f"every {evaluation.every:,} steps, {evaluation.episodes} episodes; " if evaluation.every else ""
    return {
        "observations": str(spec.structure or space_text(spec.observation_space)),
        "actions": str(spec.num_actions),
        "environments": f"{train.num_envs}, {train.steps:,} steps in total",
        "device": f"{device}, {train.threads} thread(s)",
        **agent,
        **begins,
        "evaluation": f"{every}{evaluation.final_episodes} episodes at the end, {acting}",
        "checkpoints": f"every {train.checkpoint_every:,} steps" if train.checkpoint_every else "at the end",
        "digest": digest(config),
    }


def networks(config: Config) -> dict[str, list[LayerSummary]]:
    """The layers of each of the agent's networks. Raises ConfigError if the agent has none to show."""
    plugin: object = plugins.load(plugins.AGENTS, config.agent.name)
    if not isinstance(plugin, HasNetworks):
        raise ConfigError(f'agent "{config.agent.name}" has no networks to describe')
    with naming_memory("the network"):
        return dict(plugin.networks(config.agent, _spec(config)))


def _spec(config: Config) -> EnvSpec:
    """The spec of the environments; builds and closes one of them."""
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.env, 1, Purpose.TRAIN)
    environments.close()
    spec: EnvSpec = environments.spec
    return replace(spec, num_envs=config.train.num_envs)
