"""Linear probes: what can be read from each layer of a network, beside an untrained one and the observation itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit import plugins
from rlkit.agent import HasScores, ScoreFunction
from rlkit.devices import choose_device
from rlkit.errors import SpecError
from rlkit.look.extra import needed
from rlkit.look.playing import require_scores
from rlkit.look.samples import Samples
from rlkit.nn.encoders import Flat
from rlkit.nn.summary import describe_layer
from rlkit.runs.directory import RunDirectory
from rlkit.runs.policy import LoadedPolicy

CLASSES = 8  # of a label with more values: equal parts of these
HELD_OUT = 3  # every third episode is
RESAMPLES = 500
RAW = "observation"
LAYERS = (nn.Linear, nn.Conv2d, nn.RNNBase)  # which begin a layer; what follows them is part of it


@dataclass(frozen=True, slots=True)
class Decoded:
    """The accuracy of one probe on held-out episodes."""

    network: str  # "trained", "untrained" or RAW
    env_steps: int | None  # of training; None: not trained
    layer: str
    label: str
    accuracy: float
    low: float  # 95% bootstrap interval over episodes
    high: float
    chance: float  # accuracy of always guessing the commonest class of the training episodes


def layers_of(policy: HasScores, samples: Samples, which: int = -1) -> dict[str, NDArray[np.float32]]:
    """(n, d) the representations of each network of a policy: its input, and each layer after its activation.

    which: of the states of `samples`, the policy's.
    """
    functions = policy.score_functions(samples.observation, samples.states[which])
    networks = {id(function.module): function for function in reversed(functions)}  # one for outputs of one network
    found: dict[str, NDArray[np.float32]] = {}
    for function in reversed(networks.values()):
        prefix = "" if len(networks) == 1 else f"{function.name}: "
        found |= {f"{prefix}{name}": values for name, values in _representations(function, samples).items()}
    return found


def _representations(function: ScoreFunction, samples: Samples) -> dict[str, NDArray[np.float32]]:
    """The outputs of the layers with parameters, each after what follows it: normalisation and activation."""
    outputs: list[tuple[str, Tensor]] = []

    def passed(layer: nn.Module, args: Any, out: Tensor) -> None:
        if isinstance(layer, Flat):
            return
        own = any(True for _ in layer.parameters(recurse=False))
        starts = isinstance(layer, LAYERS) or (own and not outputs)
        name = describe_layer(layer) if starts or not outputs else outputs.pop()[0]
        out = out[0][0] if isinstance(layer, nn.RNNBase) else out  # (1, n, size), and its state
        outputs.append((name, out.detach().flatten(1).clone()))

    obs = torch.from_numpy(np.array(samples.observation.obs)).to(next(function.module.parameters()).device)
    with torch.no_grad(), ExitStack() as hooks:
        inputs = function.encode(obs)
        for layer in function.module.modules():
            if not any(True for _ in layer.children()) or isinstance(layer, LAYERS):
                hooks.callback(layer.register_forward_hook(passed).remove)
        function.function(inputs, *function.context)
    named = {"input": inputs.flatten(1)}
    for number, (name, values) in enumerate(outputs, 1):
        named[f"{number} {name}"] = values
    return {name: values.cpu().float().numpy() for name, values in named.items()}


def classes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the values as numbers of classes; more than CLASSES values are cut into as many parts of equal counts."""
    distinct, numbers = np.unique(values, return_inverse=True)
    if len(distinct) <= CLASSES:
        return numbers.astype(np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, CLASSES + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def compact(train: NDArray[np.float32], test: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standardised features; of more features than training rows their coordinates in the space of these rows.

    That changes no linear classifier with an L2 penalty, whose weights lie in this space.
    """
    mean, deviation = train.mean(0), train.std(0)
    used = deviation > 1e-6
    train, test = ((rows[:, used] - mean[used]) / deviation[used] for rows in (train, test))
    if train.shape[1] <= len(train):
        return train.astype(np.float64), test.astype(np.float64)
    squares, vectors = np.linalg.eigh((train @ train.T).astype(np.float64))
    kept = squares > 1e-6 * squares[-1]
    lengths, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    return vectors * lengths, (test @ train.T).astype(np.float64) @ vectors / lengths


def decode(
    features: NDArray[np.float32], samples: Samples, names: Sequence[str]
) -> dict[str, tuple[float, float, float, float]]:
    """label → (accuracy, low, high, chance) of a logistic regression on held-out episodes; labels that vary alone."""
    linear = needed("sklearn.linear_model", "rlkit probe")
    held_out = samples.episode % HELD_OUT == HELD_OUT - 1
    train, test = compact(features[~held_out], features[held_out])
    found = {}
    for name in names:
        label = classes(samples.labels[name])
        seen = np.bincount(label[~held_out])
        if np.count_nonzero(seen) < 2 or train.shape[1] == 0:
            continue
        model = linear.LogisticRegression(max_iter=150, C=0.1, tol=1e-3).fit(train, label[~held_out])
        right = model.predict(test) == label[held_out]
        low, high = _interval(right, samples.episode[held_out])
        chance = float((label[held_out] == seen.argmax()).mean())
        found[name] = (float(right.mean()), low, high, chance)
    return found


def _interval(right: NDArray[np.bool_], episode: NDArray[np.int64]) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the mean over episodes."""
    ids = np.unique(episode)
    sums = np.array([right[episode == each].sum() for each in ids])
    sizes = np.array([np.count_nonzero(episode == each) for each in ids])
    draws = np.random.default_rng(0).integers(0, len(ids), (RESAMPLES, len(ids)))
    low, high = np.quantile(sums[draws].sum(1) / sizes[draws].sum(1), [0.025, 0.975])
    return float(low), float(high)


def untrained(loaded: LoadedPolicy) -> LoadedPolicy:
    """A policy of the same config with initial parameters."""
    plugin = plugins.load(plugins.AGENTS, loaded.config.agent.name)
    policy: Any = plugin.policy(loaded.config.agent, loaded.spec, choose_device(loaded.config.train.device))
    return LoadedPolicy(policy, loaded.spec, loaded.config, 0)


def probe(
    policies: Sequence[LoadedPolicy], samples: Samples, names: Sequence[str], progress: Callable[[int, int], None]
) -> list[Decoded]:
    """The probes of all layers of policies, and of observations.

    policies: an untrained one, then others in the order of their training; in the order of the states of `samples`.
    """
    if len(np.unique(samples.episode % HELD_OUT == HELD_OUT - 1)) < 2:
        raise SpecError("probes need at least 3 episodes: every third one is held out (--episodes)")
    sources: list[tuple[str, int | None, dict[str, NDArray[np.float32]]]] = []
    raw = samples.observation.obs.reshape(len(samples.episode), -1).astype(np.float32)
    sources.append((RAW, None, {RAW: raw}))
    for which, loaded in enumerate(policies):
        network, env_steps = ("trained", loaded.env_steps) if which else ("untrained", None)
        sources.append((network, env_steps, layers_of(require_scores(loaded), samples, which)))
    total, done, found = sum(len(layers) for _, _, layers in sources), 0, []
    for network, env_steps, layers in sources:
        for layer, features in layers.items():
            for label, numbers in decode(features, samples, names).items():
                found.append(Decoded(network, env_steps, layer, label, *numbers))
            done += 1
            progress(done, total)
    return found


def table_of(found: Sequence[Decoded], newest: int) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): a row for each label, a column for each layer: "trained (untrained)"."""
    layers = list(dict.fromkeys(each.layer for each in found))
    known = {
        (each.label, each.layer, each.network): each.accuracy for each in found if each.env_steps in (None, newest)
    }
    rows = []
    for label in dict.fromkeys(each.label for each in found):
        chance = next(each.chance for each in found if each.label == label)
        cells = [f"{known[label, RAW, RAW]:.2f}"] if (label, RAW, RAW) in known else ["-"]
        for layer in layers[1:]:
            cells.append(f"{known[label, layer, 'trained']:.2f} ({known[label, layer, 'untrained']:.2f})")
        rows.append([label, f"{chance:.2f}", *cells])
    return ["label", "chance", *layers], rows


def varying(samples: Samples) -> list[str]:
    """The labels that are not constant."""
    return [name for name, values in samples.labels.items() if len(np.unique(values)) > 1]


def kept_policies(path: Path, most: int) -> list[str]:
    """At most `most` checkpoints of a run, evenly spaced, the last of them "last"; in the order of training."""
    run = RunDirectory.open(path)
    steps = run.checkpoints.steps()
    earlier = [step for step in steps if step < run.load_policy("last")[1]]
    if most == 1 or not earlier:
        return ["last"]
    places = np.unique(np.linspace(0, len(earlier) - 1, min(most - 1, len(earlier))).astype(np.int64))
    return [*(str(earlier[place]) for place in places), "last"]
