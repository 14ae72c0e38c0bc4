"""Compares the training speed of DQN in rlkit and in Stable-Baselines3 on the same machine.

    python benchmarks/speed.py --out docs/results/data/speed.json
    python benchmarks/speed.py --world atari --out docs/results/data/speed-atari.json
    python benchmarks/speed.py --world atari --precision bfloat16 --out docs/results/data/speed-atari-bfloat16.json

Both libraries do the same work with any number of environments. On CartPole-v1 they make one update of 128 transitions
every ten environment steps. On Pong they make one update of 32 transitions every four steps, with the Nature network.

Each round trains a new agent in each library, with the number of the round as seed. The library that is timed first
alternates, because the speed of a machine drifts. Only the training loop is timed, after a warm-up that contains the
random actions, the first updates and the whole decay of epsilon.

The result is the median over rounds of the ratio of environment steps per second, with its range. On Pong each library
is also represented by its faster number of environments in each round. Ratios of processor time, summed over all
threads, are reported as well. Processor time varies less on a busy machine, but it does not show the gain from running
threads in parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from speed_worlds import WORLDS, World
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

from rlkit.config.load import resolve
from rlkit.files import write_text
from rlkit.runs.assemble import assemble
from rlkit.runs.directory import RunDirectory, machine, today, versions

EPSILON = 0.05  # during the timed steps


@dataclass(frozen=True)
class Pace:
    """Environment steps per second of wall-clock time and of processor time."""

    clock: float
    cpu: float


def now() -> tuple[float, float]:
    """Seconds of (wall-clock time, processor time)."""
    return time.perf_counter(), time.process_time()


def pace(steps: int, begin: tuple[float, float], end: tuple[float, float]) -> Pace:
    return Pace(*(steps / (after - before) for before, after in zip(begin, end, strict=True)))


def better(paces: Iterable[Pace]) -> Pace:
    """The best pace by each measure."""
    clock, cpu = zip(*((one.clock, one.cpu) for one in paces), strict=True)
    return Pace(max(clock), max(cpu))


class Clock(BaseCallback):
    """Reads the time at the end of the warm-up and at the end of training."""

    def __init__(self, warm_up: int) -> None:
        super().__init__()
        self._warm_up = warm_up

    def _on_step(self) -> bool:
        if self.num_timesteps == self._warm_up:
            self.begin = now()
        return True

    def _on_training_end(self) -> None:
        self.end = now()


def sb3(world: World, num_envs: int, steps: int, seed: int) -> Pace:
    """The pace of Stable-Baselines3."""
    rollout, updates = world.sb3_rollout(num_envs)
    total = world.warm_up + steps
    settings = world.settings
    env = world.sb3_env(num_envs, seed)
    agent = DQN(
        world.sb3_policy,
        env,
        learning_rate=settings["learning_rate"],
        buffer_size=settings["replay_capacity"],
        learning_starts=world.learning_starts,
        batch_size=settings["batch_size"],
        gamma=settings["gamma"],
        train_freq=rollout,
        gradient_steps=updates,
        target_update_interval=settings["target_copy_every_updates"] * world.steps_per_update,  # environment steps
        max_grad_norm=settings["max_grad_norm"],
        policy_kwargs=world.sb3_network,
        seed=seed,
        device="cpu",
        verbose=0,
    )

    def epsilon(remaining: float) -> float:
        decayed = ((1.0 - remaining) * total - world.learning_starts) / world.epsilon_steps
        return 1.0 + (EPSILON - 1.0) * min(1.0, max(0.0, decayed))

    agent.exploration_schedule = epsilon  # the default schedule cannot begin at learning_starts
    clock = Clock(world.warm_up)
    agent.learn(total, callback=clock, log_interval=None)
    env.close()
    _expect_updates(world, agent._n_updates, total)  # noqa: SLF001  it has no public counter
    return pace(agent.num_timesteps - world.warm_up, clock.begin, clock.end)


def rlkit(world: World, num_envs: int, steps: int, seed: int, precision: str = "float32") -> Pace:
    """The pace of rlkit's trainer, with meters and logging, but without sinks."""
    total = world.warm_up + steps
    settings = world.settings
    agent = {
        "name": "dqn",
        "double": False,
        "n_step": 1,
        "learning_rate": settings["learning_rate"],
        "discount": settings["gamma"],
        "batch_size": settings["batch_size"],
        "updates_per_step": 1 / world.steps_per_update,
        "learning_starts": world.learning_starts,
        "replay_capacity": settings["replay_capacity"],
        "reward_clip": world.reward_clip,
        "max_grad_norm": settings["max_grad_norm"],
        "network": world.network,
        "target": {"every": settings["target_copy_every_updates"]},
        "epsilon": {"end": EPSILON, "steps": world.epsilon_steps},
        **({} if precision == "float32" else {"precision": precision}),
    }
    train = {"steps": total, "num_envs": num_envs, "seed": seed, "sinks": [], "device": "cpu"}
    config = resolve("speed", {"env": world.env, "agent": agent, "train": {**train, "threads": world.threads}})
    with tempfile.TemporaryDirectory() as folder:
        session = assemble(config, lambda device: RunDirectory.create(Path(folder) / "run", config, {}))
        trainer = session.trainer
        trainer.start()
        _train_until(trainer, world.warm_up)
        begin = now()
        _train_until(trainer, total)
        end = now()
        session.close()
    _expect_updates(world, trainer.agent.updates, total)
    return pace(trainer.env_steps - world.warm_up, begin, end)


def _train_until(trainer: Any, env_steps: int) -> None:
    while trainer.env_steps < env_steps:
        before = trainer.env_steps
        trainer.step()
        trainer.at_due_times(before)


def _expect_updates(world: World, updates: int, env_steps: int) -> None:
    """Checks that the work was the same. A few updates of difference are possible, because rollouts have a length."""
    wanted = (env_steps - world.learning_starts) / world.steps_per_update
    if abs(updates - wanted) > 5:
        raise RuntimeError(
            f"{updates} updates in {env_steps} steps; expected {wanted:.0f}, so the comparison is not fair"
        )


def measure(world: World, numbers: list[int], rounds: int, steps: int, precision: str) -> dict[str, Any]:
    """Paces by library, number of environments and round. The order of the libraries alternates."""
    sides: dict[str, Callable[[int, int], Pace]] = {
        "rlkit": lambda num_envs, seed: rlkit(world, num_envs, steps, seed, precision),
        "stable-baselines3": lambda num_envs, seed: sb3(world, num_envs, steps, seed),
    }
    speeds: dict[str, Any] = {name: {num_envs: [] for num_envs in numbers} for name in sides}
    for num_envs in numbers:
        for number in range(rounds):
            for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
                speeds[name][num_envs].append(sides[name](num_envs, number))
    return speeds


def compared(ours: list[float], theirs: list[float], rival: str) -> dict[str, Any]:
    """Steps per second of all rounds, and their ratios."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return {
        "env_steps_per_second": {"rlkit": [round(x) for x in ours], rival: [round(x) for x in theirs]},
        "median": {"rlkit": round(statistics.median(ours)), rival: round(statistics.median(theirs))},
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "lowest": round(min(ratios), 2),
            "highest": round(max(ratios), 2),
            "rounds": [round(ratio, 3) for ratio in ratios],
        },
    }


def summary(label: Any, ours: list[Pace], theirs: list[Pace], rival: str = "stable-baselines3") -> dict[str, Any]:
    """Prints and returns the ratios of the rounds."""
    result = {
        "num_envs": label,
        **compared([one.clock for one in ours], [other.clock for other in theirs], rival),
        "of_processor_time": compared([one.cpu for one in ours], [other.cpu for other in theirs], rival),
    }
    median, ratio = result["median"], result["ratio"]
    print(
        f"{label} environment(s): rlkit {median['rlkit']} steps/s, {rival} {median[rival]} "
        f"steps/s; ratio {ratio['median']} (from {ratio['lowest']} to {ratio['highest']}); of processor time "
        f"{result['of_processor_time']['ratio']['median']}",
        flush=True,
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compares the training speed of DQN in rlkit and in Stable-Baselines3."
    )
    parser.add_argument("--world", choices=WORLDS, default="cartpole")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed environment steps per library and round")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], default="float32", help="of rlkit; the other uses float32"
    )
    parser.add_argument("--threads", type=int, help="threads of torch, in both libraries")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    world = WORLDS[arguments.world]
    world = replace(world, threads=arguments.threads or world.threads)
    if any(world.warm_up % number for number in arguments.num_envs):
        parser.error(f"--num-envs: must divide {world.warm_up}, the steps of the warm-up")
    torch.set_num_threads(world.threads)
    steps = arguments.steps or world.steps
    speeds = measure(world, arguments.num_envs, arguments.rounds, steps, arguments.precision)
    results = [summary(n, speeds["rlkit"][n], speeds["stable-baselines3"][n]) for n in arguments.num_envs]
    if world.better:
        best = {name: [better(round_) for round_ in zip(*rows.values(), strict=True)] for name, rows in speeds.items()}
        results.append(summary("the better number of", best["rlkit"], best["stable-baselines3"]))
    if arguments.out is not None:
        record = {
            "format": 1,
            "benchmark": f"training speed, DQN on {world.title}",
            "machine": machine(),
            "date": today(),
            "versions": versions("stable-baselines3"),
            "threads": world.threads,
            "conditions": {
                "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                "load_average_at_the_end": [round(load, 1) for load in os.getloadavg()],
            },
            "precision": {"rlkit": arguments.precision, "stable-baselines3": "float32"},
            "settings": {
                **world.settings,
                "network": world.network,
                "updates_per_step": 1 / world.steps_per_update,
                "epsilon_while_timed": EPSILON,
            },
            "protocol": {
                "timed": f"{steps} environment steps, after {world.warm_up} that are not",
                "rounds": f"{arguments.rounds}, both sides built anew in each, in alternating order",
                "sb3_schedule": "; ".join(
                    f"{n} environments: train_freq={world.sb3_rollout(n)[0]}, gradient_steps={world.sb3_rollout(n)[1]}"
                    for n in arguments.num_envs
                ),
            },
            "results": results,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
