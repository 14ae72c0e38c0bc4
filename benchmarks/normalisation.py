"""Measures the cost of normalisation: updates of normalised and plain Nature networks, alternating in one process.

    python benchmarks/normalisation.py --out docs/results/data/normalisation-cost.json
    python benchmarks/normalisation.py --kinds weight projected --rounds 300 --threads 4

Each round makes one update of each kind of network, in random order. The output is the ratio to the plain update of the
same round: its median and quartiles over rounds. "control" is a second plain network; its distance from a ratio of 1
shows the error of the measurement. The benchmark also measures the choice of one greedy action, as a ratio in the same
way, and one pass of the layer diagnostics (`agent.diagnostics_every`), as a multiple of a plain update.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from rlkit.files import write_text
from rlkit.learning.gradient import GradientSettings
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.learning.q_learner import LearnerSettings, QLearner
from rlkit.learning.q_losses import QLoss
from rlkit.learning.target import TargetConfig
from rlkit.learning.value_loss import Transitions
from rlkit.nn.config import NetworkConfig, WeightNormConfig
from rlkit.nn.diagnostics import Diagnostics
from rlkit.nn.qnetwork import build_q_network
from rlkit.runs.directory import machine, today, versions
from rlkit.seeding import torch_seeded

SPACE = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
ACTIONS = 6
LEARNING_RATE = 1e-4
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "control": {},
    "weight": {"normalisation": "weight"},
    "projected": {"normalisation": "weight", "weight_norm": WeightNormConfig(project=True)},
    "weight_mean_batch": {"normalisation": "weight_mean_batch"},
    "layer": {"normalisation": "layer"},
    "batch": {"normalisation": "batch"},
    "spectral": {"normalisation": "spectral"},
}


class Side:
    """A network with its learner and a batch."""

    def __init__(self, kind: str, batch_size: int, device: torch.device) -> None:
        with torch_seeded(0):
            network = build_q_network(NetworkConfig(encoder="nature", **KINDS[kind]), SPACE, ACTIONS)
        self.network = network.to(device)
        gradient = GradientSettings(LEARNING_RATE, OptimizerConfig(), max_grad_norm=10.0)
        settings = LearnerSettings(gradient, TargetConfig(every=10_000), QLoss("huber"))
        self.learner = QLearner(self.network, settings)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (2, batch_size, 4, 84, 84), dtype=torch.uint8, generator=generator).to(device)
        action, reward = torch.zeros(batch_size, dtype=torch.int64), torch.rand(batch_size, generator=generator)
        rest = [values.to(device) for values in (action, reward, torch.full((batch_size,), 0.99))]
        self.batch = Transitions((images[0],), *rest, (images[1],), torch.ones(batch_size, device=device))
        self.learner.initialise(self.batch.obs)

    def update(self) -> None:
        self.learner.update(self.batch)

    def act(self) -> None:
        with torch.inference_mode():
            self.network(self.batch.obs[0][:1]).cpu()


def seconds(do: Callable[[], None], device: torch.device) -> float:
    """Processor time on a CPU with one thread, which other programs hardly affect; else wall-clock time."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    do()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begin


def alternating(
    actions: dict[str, Callable[[], None]], rounds: int, warm_up: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each action in each round after the warm-up. The order is random in each round."""
    names, rng = list(actions), random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        for name in rng.sample(names, len(names)):
            time_taken = seconds(actions[name], device)
            if number >= warm_up:
                taken[name].append(time_taken)
    return taken


def ratios(taken: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """The ratio of each kind to the plain one in the same round: median and quartiles."""
    rows = {}
    for name, times in taken.items():
        against = [one / other for one, other in zip(times, taken["plain"], strict=True)]
        low, middle, high = statistics.quantiles(against, n=4)
        rows[name] = {
            "ratio": round(middle, 4),
            "quartiles": [round(low, 4), round(high, 4)],  # type: ignore[dict-item]
            "milliseconds": round(1000 * statistics.median(times), 3),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS)[2:], default=["weight", "projected", "layer"])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    sides = {name: Side(name, chosen.batch, device) for name in ("plain", "control", *chosen.kinds)}
    warm_up = max(5, chosen.rounds // 10)
    updates = alternating({name: side.update for name, side in sides.items()}, chosen.rounds, warm_up, device)
    acts = alternating({name: side.act for name, side in sides.items()}, 2 * chosen.rounds, warm_up, device)
    looks = []
    for name in ("plain", *chosen.kinds[:1]):
        look = Diagnostics(sides[name].network, LEARNING_RATE)
        looks += [seconds(lambda look=look, name=name: look(sides[name].batch.obs) and None, device) for _ in range(12)]
    result = {
        "update": ratios(updates),
        "act": ratios(acts),
        "look_in_plain_updates": round(statistics.median(looks) / statistics.median(updates["plain"]), 3),
        "batch": chosen.batch,
        "rounds": chosen.rounds,
        "threads": chosen.threads,
        "device": chosen.device,
        "date": today(),
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps({key: result[key] for key in ("update", "act", "look_in_plain_updates")}, indent=1))
    if chosen.out:
        write_text(chosen.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
