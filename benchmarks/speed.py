"""Environment steps a second of DQN on CartPole-v1: rlkit and Stable-Baselines3, in turn, on the same machine.

    python benchmarks/speed.py --out docs/results/data/speed.json

Both do the same work with the same sizes: one update of 128 transitions for every ten environment steps, whatever the
number of environments. Each round builds both sides anew, with the round's number as seed; the side that goes first
alternates, since a machine's clock drifts. What is timed is the training loop alone, after a warm-up of random actions,
first updates and the whole decay of epsilon. The result is the median of the rounds' ratios, with their range.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlkit.assemble import assemble
from rlkit.checkpoint import write_text
from rlkit.config import resolve
from rlkit.run import RunDirectory, machine, today, versions

ENV_ID = "CartPole-v1"
LEARNING_STARTS = 1_000  # random actions until here; then epsilon goes from 1 to EPSILON in EPSILON_STEPS
EPSILON, EPSILON_STEPS = 0.05, 500
WARM_UP = 2_000  # where the clock starts
UPDATES_PER_STEP = 0.1
SETTINGS: dict[str, Any] = {
    "learning_rate": 2.5e-4,
    "batch_size": 128,
    "hidden": [120, 84],
    "gamma": 0.99,
    "replay_capacity": 10_000,
    "target_copy_every_updates": 50,
    "max_grad_norm": 10.0,
}

Side = Callable[[int, int, int], float]  # (environments, steps, seed) → environment steps a second


class Clock(BaseCallback):
    """Reads the time where the warm-up ends and where training ends."""

    def _on_step(self) -> bool:
        if self.num_timesteps == WARM_UP:
            self.begin = time.perf_counter()
        return True

    def _on_training_end(self) -> None:
        self.end = time.perf_counter()


def sb3(num_envs: int, steps: int, seed: int) -> float:
    """A rollout of 40 environment steps and then 4 updates with several environments, of 10 and 1 with one."""
    rollout = 10 if num_envs == 1 else 5 * num_envs
    total = WARM_UP + steps
    env = DummyVecEnv([lambda: Monitor(gym.make(ENV_ID)) for _ in range(num_envs)])
    agent = DQN(
        "MlpPolicy",
        env,
        learning_rate=SETTINGS["learning_rate"],
        buffer_size=SETTINGS["replay_capacity"],
        learning_starts=LEARNING_STARTS,
        batch_size=SETTINGS["batch_size"],
        gamma=SETTINGS["gamma"],
        train_freq=rollout // num_envs,  # counted in steps of the whole vector
        gradient_steps=rollout // 10,
        target_update_interval=int(SETTINGS["target_copy_every_updates"] / UPDATES_PER_STEP),  # environment steps
        max_grad_norm=SETTINGS["max_grad_norm"],
        policy_kwargs={"net_arch": SETTINGS["hidden"]},
        seed=seed,
        device="cpu",
        verbose=0,
    )

    def epsilon(remaining: float) -> float:
        decayed = ((1.0 - remaining) * total - LEARNING_STARTS) / EPSILON_STEPS
        return 1.0 + (EPSILON - 1.0) * min(1.0, max(0.0, decayed))

    agent.exploration_schedule = epsilon  # its own one cannot begin where learning does
    clock = Clock()
    agent.learn(total, callback=clock, log_interval=None)
    env.close()
    _expect_updates(agent._n_updates, total)
    return (agent.num_timesteps - WARM_UP) / (clock.end - clock.begin)


def rlkit(num_envs: int, steps: int, seed: int) -> float:
    """The trainer's own loop, with its meters and its logging, but no sink to write to."""
    total = WARM_UP + steps
    config = resolve(
        "speed",
        {
            "env": {"name": "gymnasium", "id": ENV_ID},
            "agent": {
                "name": "dqn",
                "learning_rate": SETTINGS["learning_rate"],
                "discount": SETTINGS["gamma"],
                "batch_size": SETTINGS["batch_size"],
                "updates_per_step": UPDATES_PER_STEP,
                "learning_starts": LEARNING_STARTS,
                "replay_capacity": SETTINGS["replay_capacity"],
                "max_grad_norm": SETTINGS["max_grad_norm"],
                "network": {"hidden": SETTINGS["hidden"]},
                "target": {"every": SETTINGS["target_copy_every_updates"]},
                "epsilon": {"end": EPSILON, "steps": EPSILON_STEPS},
            },
            "train": {"steps": total, "num_envs": num_envs, "seed": seed, "sinks": [], "device": "cpu"},
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        session = assemble(config, lambda device: RunDirectory.create(Path(folder) / "run", config, {}))
        trainer = session.trainer
        trainer.start()
        _train_until(trainer, WARM_UP)
        begin = time.perf_counter()
        _train_until(trainer, total)
        end = time.perf_counter()
        session.close()
    _expect_updates(trainer.agent.updates, total)
    return (trainer.env_steps - WARM_UP) / (end - begin)


def _train_until(trainer: Any, env_steps: int) -> None:
    while trainer.env_steps < env_steps:
        before = trainer.env_steps
        trainer.step()
        trainer.at_due_times(before)


def _expect_updates(updates: int, env_steps: int) -> None:
    """Both sides must have done the same work; where a rollout straddles the first update one may be ahead by some."""
    wanted = (env_steps - LEARNING_STARTS) * UPDATES_PER_STEP
    if abs(updates - wanted) > 5:
        raise RuntimeError(f"{updates} updates in {env_steps} steps, expected {wanted:.0f}: the comparison is not fair")


def compare(num_envs: int, rounds: int, steps: int) -> dict[str, Any]:
    """Steps a second of both sides in every round, and the ratio rlkit / Stable-Baselines3."""
    sides: dict[str, Side] = {"rlkit": rlkit, "stable-baselines3": sb3}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            speeds[name].append(sides[name](num_envs, steps, number))
    ratios = [ours / theirs for ours, theirs in zip(*speeds.values(), strict=True)]
    return {
        "num_envs": num_envs,
        "env_steps_per_second": {name: [round(speed) for speed in rows] for name, rows in speeds.items()},
        "median": {name: round(statistics.median(rows)) for name, rows in speeds.items()},
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "lowest": round(min(ratios), 2),
            "highest": round(max(ratios), 2),
            "rounds": [round(ratio, 3) for ratio in ratios],
        },
    }


def show(result: dict[str, Any]) -> None:
    ratio, median = result["ratio"], result["median"]
    print(
        f"{result['num_envs']} environment(s): rlkit {median['rlkit']} steps/s, "
        f"stable-baselines3 {median['stable-baselines3']} steps/s; "
        f"ratio {ratio['median']} (from {ratio['lowest']} to {ratio['highest']})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed of rlkit and Stable-Baselines3, in turn.")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6_000, help="environment steps timed, for each side and round")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    arguments = parser.parse_args()
    if any(number != 1 and (number % 2 or WARM_UP % number) for number in arguments.num_envs):
        parser.error(f"--num-envs: 1, or even divisors of {WARM_UP}: else the updates of the two sides do not match")
    torch.set_num_threads(1)
    results = []
    for num_envs in arguments.num_envs:
        results.append(compare(num_envs, arguments.rounds, arguments.steps))
        show(results[-1])
    if arguments.out is not None:
        record = {
            "format": 1,
            "benchmark": "training speed, DQN on CartPole-v1",
            "machine": machine(),
            "date": today(),
            "versions": versions("stable-baselines3"),
            "threads": torch.get_num_threads(),
            "settings": SETTINGS | {"updates_per_step": UPDATES_PER_STEP, "epsilon_while_timed": EPSILON},
            "protocol": {
                "timed": f"{arguments.steps} environment steps, after {WARM_UP} that are not",
                "rounds": f"{arguments.rounds}, both sides built anew in each, in alternating order",
                "environments": "one after the other in the training process, on both sides",
                "sb3_schedule": "with 1: train_freq=10, gradient_steps=1; with N: train_freq=5, gradient_steps=N/2",
            },
            "results": results,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
