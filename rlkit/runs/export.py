"""Exports a policy as ONNX, with its preprocessing, and checks the file against the policy."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rlkit
from rlkit import plugins
from rlkit.agent import Exported, HasExport, Policy
from rlkit.errors import ConfigError, RlkitError
from rlkit.exploration.action_mask import allowed_actions
from rlkit.exploration.observed import KEPT
from rlkit.extras import needed
from rlkit.files import write
from rlkit.nn.weight_norm import plain_copy
from rlkit.runs.policy import LoadedPolicy, load_policy
from rlkit.seeding import Streams
from rlkit.training.evaluation import EpisodeSeeds, RandomActions
from rlkit.training.rollout import Rollout
from rlkit.types import ACTION_MASK, ActorOutput, ActorState, Mode, Observation, Purpose, State

CHECKED = 1000  # observations
RANDOM = 0.1  # the probability of a random action while they are collected, so that they differ
TOLERANCE = 1e-4  # of scores, relative to their largest magnitude or 1


@dataclass(frozen=True, slots=True)
class Check:
    """What comparing a file with its policy showed."""

    observations: int
    difference: float  # the largest of any score
    size: int  # bytes of the file
    inputs: dict[str, str]  # name → dtype and shape
    outputs: dict[str, str]


class _Acting(nn.Module):
    """(observation, other inputs) -> (action (B,), scores (B, A), other outputs); forbidden actions have score -inf."""

    def __init__(self, exported: Exported, *, masked: bool) -> None:
        super().__init__()
        self.module = exported.module
        self._more = bool(exported.outputs)
        self._masked = masked

    def forward(self, observation: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        if self._masked:
            *others, allowed = others  # type: ignore[assignment]
        scores, *more = self.module(observation, *others) if self._more else (self.module(observation, *others),)
        if self._masked:
            scores = scores.masked_fill(~allowed, -torch.inf)
        return scores.argmax(1), scores, *more


def export(path: str | Path, file: Path, checkpoint: str = "last") -> Check:
    """Writes the policy of a run to `file`, an ONNX model of raw observations, and checks it with onnxruntime.

    Raises ConfigError if the policy cannot be exported, RlkitError if the file acts differently: then there is none.
    """
    needed("onnx", "rlkit export", "onnx")
    needed("onnxscript", "rlkit export", "onnx")
    runtime = needed("onnxruntime", "rlkit export", "onnx")
    loaded = load_policy(path, checkpoint, overrides={"train.device": "cpu"})
    exported = _exported(loaded)
    samples = _collected(loaded, exported)
    content = _model(loaded, exported, samples.inputs)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _difference(session, exported, samples)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, lambda out: out.write(content))
    return Check(len(samples.action), difference, len(content), _described(session.get_inputs()),
                 _described(session.get_outputs()))  # fmt: skip


def _exported(loaded: LoadedPolicy) -> Exported:
    policy, name = loaded.policy, loaded.config.agent.name
    if not isinstance(policy, HasExport):
        if any(name.startswith(KEPT) for name in policy.initial_state(1)):
            raise ConfigError(f'agent "{name}": its policy counts the states of each episode (bonus.observe_counts), '
                              "which an ONNX file cannot")  # fmt: skip
        raise ConfigError(f'agent "{name}" has no policy that can be exported: it lacks the method exported '
                          "(rlkit.agent.HasExport)")  # fmt: skip
    exported = policy.exported()
    if policy.initial_state(1) and not exported.inputs:
        raise ConfigError(f'agent "{name}": its policy remembers {", ".join(policy.initial_state(1))} from step to '
                          "step, which its exported module has no inputs for")  # fmt: skip
    exported.module.eval()
    return exported


@dataclass(frozen=True, slots=True)
class _Samples:
    """What the policy did at CHECKED observations."""

    inputs: dict[str, NDArray[Any]]  # name → (CHECKED, ...), in the order of the model's inputs
    action: NDArray[np.int64]  # (CHECKED,)
    outputs: list[NDArray[Any]]  # (CHECKED, ...) each, the actor state after it: what the further outputs must be


class _Recorded:
    """Acts as a policy, and keeps its actions and what it remembers."""

    def __init__(self, policy: Policy, kept: Sequence[str]) -> None:
        self._policy, self._kept = policy, kept
        self.actions: list[int] = []
        self.states: list[list[NDArray[Any]]] = []

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        output = self._policy.act(observation, state, rng, mode)
        self.actions.append(int(output.action[0]))
        self.states.append([output.state[name][0] for name in self._kept])
        return output

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)


def _collected(loaded: LoadedPolicy, exported: Exported) -> _Samples:
    config, spec = loaded.config, loaded.spec
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.evaluation_env, 1, Purpose.EVALUATE)
    streams = Streams(config.train.seed).child("export")
    recorded = _Recorded(loaded.policy, [name.removeprefix("next_") for name in exported.outputs])
    policy = RandomActions(recorded, RANDOM, spec.num_actions, streams.generator("random actions"))
    rollout = Rollout(environments, EpisodeSeeds(streams, 1), streams.generator("act"), Mode.EVALUATE)
    seen: dict[str, list[NDArray[Any]]] = {}
    try:
        rollout.start(policy)
        for _ in range(CHECKED):
            for name, rows in _inputs(exported, rollout.observation, rollout.actor_state).items():
                seen.setdefault(name, []).append(rows[0])
            rollout.act(policy)
            rollout.send()
            rollout.receive()
            rollout.reset_ended()
    finally:
        environments.close()
    outputs = [np.stack(rows) for rows in zip(*recorded.states, strict=True)]
    return _Samples({name: np.stack(rows) for name, rows in seen.items()}, np.array(recorded.actions), outputs)


def _inputs(exported: Exported, observation: Observation, state: ActorState) -> dict[str, NDArray[Any]]:
    """(N, ...) each, in the order of the model's inputs."""
    given = {} if exported.given is None else exported.given(observation, state)
    allowed = allowed_actions(observation)
    mask = {} if allowed is None else {ACTION_MASK: allowed}
    return {"observation": observation.obs, **{name: given[name] for name in exported.inputs}, **mask}


def _model(loaded: LoadedPolicy, exported: Exported, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """The serialised ONNX model; the batch is dynamic."""
    module = plain_copy(_Acting(exported, masked=ACTION_MASK in inputs)).eval()  # weights as they act
    example = tuple(torch.from_numpy(np.array(values[:2])) for values in inputs.values())
    batch = torch.export.Dim("batch")
    shapes = ({0: batch}, tuple({0: batch} for _ in example[1:])) if len(example) > 1 else ({0: batch},)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            program = torch.onnx.export(
                module, example, dynamo=True, input_names=list(inputs),
                output_names=["action", exported.scores, *exported.outputs], dynamic_shapes=shapes, verbose=False,
            )  # fmt: skip
    except Exception as error:  # whatever a user's encoder does that ONNX lacks
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(f"the network cannot be written as ONNX: {type(error).__name__}: {first:.200}") from error
    finally:
        logger.setLevel(level)
    assert program is not None
    model = program.model_proto
    about = {
        "rlkit": rlkit.__version__, "experiment": loaded.config.label, "env_steps": str(loaded.env_steps),
        "config": json.dumps(loaded.config.tables()), "action_names": json.dumps(loaded.spec.action_names),
    }  # fmt: skip
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content


def _difference(session: Any, exported: Exported, samples: _Samples) -> float:
    """The largest difference of a score or a further output, between the file and the policy.

    Raises RlkitError if it is too large, or an action is another than the policy's and not as good.
    """
    try:
        action, scores, *more = session.run(None, samples.inputs)
    except Exception as error:  # for example a batch size that an encoder of the user made a constant
        first = (str(error).strip().splitlines() or [""])[0]
        raise RlkitError(f"onnxruntime cannot run the network; no file was written: {first:.200}") from error
    with torch.no_grad():
        tensors = [torch.from_numpy(values) for values in samples.inputs.values()]
        own = _Acting(exported, masked=ACTION_MASK in samples.inputs)(*tensors)[1].numpy()
    finite = np.isfinite(own)
    pairs = [(np.where(finite, scores, 0.0), np.where(finite, own, 0.0)), *zip(more, samples.outputs, strict=True)]
    difference = max(float(np.abs(found - expected).max()) for found, expected in pairs)
    allowed = TOLERANCE * max(1.0, float(np.abs(own[finite]).max()))
    rows = np.arange(len(action))
    gap = own[rows, samples.action] - own[rows, action]  # 0 where the actions agree
    if not difference <= allowed or not np.abs(gap).max() <= allowed or not (np.isfinite(scores) == finite).all():
        raise RlkitError(
            f"onnxruntime disagrees with the policy: scores differ by up to {difference:g} on {len(action)} "
            f"observations, {np.count_nonzero(action != samples.action)} actions differ; no file was written"
        )
    return difference


def _described(entries: Any) -> dict[str, str]:
    return {entry.name: f"{entry.type.removeprefix('tensor(').rstrip(')')} {tuple(entry.shape)}" for entry in entries}
