"""Exports a policy as ONNX, with its preprocessing, and checks the file against the policy."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rlkit
from rlkit import plugins
from rlkit.agent import Exported, HasExport
from rlkit.errors import ConfigError, RlkitError
from rlkit.exploration.action_mask import allowed_actions
from rlkit.extras import needed
from rlkit.files import write
from rlkit.nn.weight_norm import plain_copy
from rlkit.runs.policy import LoadedPolicy, load_policy
from rlkit.seeding import Streams
from rlkit.training.evaluation import EpisodeSeeds, RandomActions
from rlkit.training.rollout import Rollout
from rlkit.types import ACTION_MASK, Mode, Purpose

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
    """(observation, other inputs) -> (action (B,), scores (B, A)); actions that a mask forbids have score -inf."""

    def __init__(self, module: nn.Module, *, masked: bool) -> None:
        super().__init__()
        self.module = module
        self._masked = masked

    def forward(self, observation: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        if self._masked:
            *others, allowed = others  # type: ignore[assignment]
        scores: Tensor = self.module(observation, *others)
        if self._masked:
            scores = scores.masked_fill(~allowed, -torch.inf)
        return scores.argmax(1), scores


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
    content = _model(loaded, exported, samples)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _difference(session, exported, samples)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, lambda out: out.write(content))
    return Check(len(samples["observation"]), difference, len(content), _described(session.get_inputs()),
                 _described(session.get_outputs()))  # fmt: skip


def _exported(loaded: LoadedPolicy) -> Exported:
    policy, name = loaded.policy, loaded.config.agent.name
    if not isinstance(policy, HasExport):
        raise ConfigError(f'agent "{name}" with these settings has no policy that can be exported (random play, '
                          "network.memory and bonus.observe_counts have none)")  # fmt: skip
    exported = policy.exported()
    if policy.initial_state(1) and not exported.inputs:
        raise ConfigError(f'agent "{name}": its policy remembers {", ".join(policy.initial_state(1))} from step to '
                          "step (network.memory); such policies cannot be exported yet")  # fmt: skip
    exported.module.eval()
    return exported


def _collected(loaded: LoadedPolicy, exported: Exported) -> dict[str, NDArray[Any]]:
    """Inputs for CHECKED observations of the policy at play: name → (CHECKED, ...)."""
    config, spec = loaded.config, loaded.spec
    environments = plugins.load(plugins.ENVS, config.env.name).make(config.evaluation_env, 1, Purpose.EVALUATE)
    streams = Streams(config.train.seed).child("export")
    rng = streams.generator("inputs")
    policy = RandomActions(loaded.policy, RANDOM, spec.num_actions, streams.generator("random actions"))
    rollout = Rollout(environments, EpisodeSeeds(streams, 1), streams.generator("act"), Mode.EVALUATE)
    seen: dict[str, list[NDArray[Any]]] = {"observation": []}
    try:
        rollout.start(policy)
        for _ in range(CHECKED):
            observation = rollout.observation
            seen["observation"].append(observation.obs[0])
            if (allowed := allowed_actions(observation)) is not None:
                seen.setdefault(ACTION_MASK, []).append(allowed[0])
            rollout.act(policy)
            if "goal" in exported.inputs:
                goals = len(getattr(loaded.policy, "goals").names)  # noqa: B009
                seen.setdefault("goal", []).append(np.array(rng.integers(goals)))
            rollout.send()
            rollout.receive()
            rollout.reset_ended()
    finally:
        environments.close()
    order = ["observation", *exported.inputs, ACTION_MASK]
    return {name: np.stack(seen[name]) for name in order if name in seen}


def _model(loaded: LoadedPolicy, exported: Exported, samples: dict[str, NDArray[Any]]) -> bytes:
    """The serialised ONNX model; the batch is dynamic."""
    module = plain_copy(_Acting(exported.module, masked=ACTION_MASK in samples)).eval()  # weights as they act
    example = tuple(torch.from_numpy(np.array(values[:2])) for values in samples.values())
    batch = torch.export.Dim("batch")
    shapes = ({0: batch}, tuple({0: batch} for _ in example[1:])) if len(example) > 1 else ({0: batch},)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            program = torch.onnx.export(
                module, example, dynamo=True, input_names=list(samples), output_names=["action", exported.scores],
                dynamic_shapes=shapes, verbose=False,
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


def _difference(session: Any, exported: Exported, samples: dict[str, NDArray[Any]]) -> float:
    """The largest difference of a score. Raises RlkitError if it is too large, or an action differs without a tie."""
    try:
        action, scores = session.run(None, samples)
    except Exception as error:  # for example a batch size that an encoder of the user made a constant
        first = (str(error).strip().splitlines() or [""])[0]
        raise RlkitError(f"onnxruntime cannot run the network; no file was written: {first:.200}") from error
    with torch.no_grad():
        tensors = [torch.from_numpy(values) for values in samples.values()]
        module = _Acting(exported.module, masked=ACTION_MASK in samples)
        own_action, own_scores = (each.numpy() for each in module(*tensors))
    finite = np.isfinite(own_scores)
    difference = float(np.abs(np.where(finite, scores - own_scores, 0.0)).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(own_scores[finite]).max()))
    rows = np.arange(len(action))
    gap = own_scores[rows, own_action] - own_scores[rows, action]  # 0 where the actions agree
    if not difference <= allowed or not gap.max() <= allowed or not (np.isfinite(scores) == finite).all():
        raise RlkitError(
            f"onnxruntime disagrees with the policy: scores differ by up to {difference:g} on {len(action)} "
            f"observations, {np.count_nonzero(action != own_action)} actions differ; no file was written"
        )
    return difference


def _described(entries: Any) -> dict[str, str]:
    return {entry.name: f"{entry.type.removeprefix('tensor(').rstrip(')')} {tuple(entry.shape)}" for entry in entries}
