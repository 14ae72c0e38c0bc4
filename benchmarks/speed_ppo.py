"""Compares the training speed of PPO in rlkit, in Stable-Baselines3 and in sbx on the same machine.

    python benchmarks/speed_ppo.py --out docs/results/data/speed-ppo.json
    python benchmarks/speed_ppo.py --world atari --num-envs 8 --rounds 3 --steps 2048 --threads 1 \
        --out docs/results/data/speed-ppo-atari.json

All libraries do the same work: rollouts of 128 steps of each environment, 4 epochs, minibatches of 256 steps. On
CartPole-v1, policy and value are two networks of 64 and 64 tanh units; on Pong, they share the Nature network.

Rounds, warm-up, alternation and results are those of speed.py. The warm-up is one rollout with its updates; sbx (JAX)
compiles in it. sbx is not an extra of rlkit: install it (`pip install sbx-rl`) in an environment of its own, else it
is left out with a note. With one thread, JAX must be told so before it starts: the script sets XLA_FLAGS.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from speed import Pace, now, pace, summary
from speed_worlds import WORLDS
from stable_baselines3 import PPO

from rlkit.config.load import resolve
from rlkit.runs.assemble import assemble
from rlkit.runs.checkpoint import write_text
from rlkit.runs.directory import RunDirectory, machine, today, versions

SETTINGS = {
    "learning_rate": 3e-4,
    "rollout_steps": 128,
    "epochs": 4,
    "minibatch_size": 256,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip": 0.2,
    "entropy_weight": 0.01,
    "max_grad_norm": 0.5,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "cartpole": {"separate_networks": True, "network": {"hidden": [64, 64], "activation": "tanh", "input": "raw"}},
    "atari": {"network": {"encoder": "nature"}},
}
STEPS = {"cartpole": 40_960, "atari": 4_096}  # timed environment steps, rounded up to whole rollouts


def rollouts(steps: int, num_envs: int) -> int:
    """Environment steps of the whole rollouts that hold `steps`."""
    size = SETTINGS["rollout_steps"] * num_envs
    return int(-(-steps // size) * size)


def sb3(world: str, num_envs: int, steps: int, seed: int, library: Any = PPO) -> Pace:
    """The pace of Stable-Baselines3, or of a `library` with its interface."""
    warm_up, timed = rollouts(1, num_envs), rollouts(steps, num_envs)
    env = WORLDS[world].sb3_env(num_envs, seed)
    agent = library(
        WORLDS[world].sb3_policy,
        env,
        learning_rate=SETTINGS["learning_rate"],
        n_steps=int(SETTINGS["rollout_steps"]),
        batch_size=int(SETTINGS["minibatch_size"]),
        n_epochs=int(SETTINGS["epochs"]),
        gamma=SETTINGS["gamma"],
        gae_lambda=SETTINGS["gae_lambda"],
        clip_range=SETTINGS["clip"],
        ent_coef=SETTINGS["entropy_weight"],
        max_grad_norm=SETTINGS["max_grad_norm"],
        seed=seed,
        device="cpu",
        verbose=0,
    )
    agent.learn(warm_up, log_interval=None)
    begin = now()
    agent.learn(timed, log_interval=None, reset_num_timesteps=False)
    end = now()
    env.close()
    return pace(timed, begin, end)


def rlkit(world: str, num_envs: int, steps: int, seed: int) -> Pace:
    """The pace of rlkit's trainer, with meters and logging, but without sinks and checkpoints."""
    warm_up, timed = rollouts(1, num_envs), rollouts(steps, num_envs)
    settings = {name: value for name, value in SETTINGS.items() if name != "gamma"}
    agent = {"name": "ppo", **settings, "discount": SETTINGS["gamma"], **NETWORKS[world]}
    agent["reward_clip"] = WORLDS[world].reward_clip
    train = {"steps": warm_up + timed + num_envs, "num_envs": num_envs, "seed": seed, "sinks": [], "device": "cpu"}
    train |= {"checkpoint_every": 0, "threads": torch.get_num_threads()}
    config = resolve("speed", {"env": WORLDS[world].env, "agent": agent, "train": train})
    with tempfile.TemporaryDirectory() as folder:
        session = assemble(config, lambda device: RunDirectory.create(Path(folder) / "run", config, {}))
        trainer = session.trainer
        trainer.start()
        readings = []
        for end in (warm_up, warm_up + timed):
            while trainer.env_steps < end + num_envs:  # one step more, during which the rollout is learned from
                before = trainer.env_steps
                trainer.step()
                trainer.at_due_times(before)
            readings.append(now())
        session.close()
    expected = int(SETTINGS["epochs"] * (warm_up + timed) // SETTINGS["minibatch_size"])
    if trainer.agent.updates != expected:
        raise RuntimeError(f"{trainer.agent.updates} updates; expected {expected}, so the comparison is not fair")
    return pace(timed, *readings)


def libraries() -> dict[str, Callable[..., Pace]]:
    """What is measured, rlkit first."""
    sides: dict[str, Callable[..., Pace]] = {"rlkit": rlkit, "stable-baselines3": sb3}
    if importlib.util.find_spec("sbx") is None:
        print("sbx is not installed and left out", file=sys.stderr)
        return sides
    return sides | {"sbx": functools.partial(sb3, library=importlib.import_module("sbx").PPO)}


def measure(
    sides: dict[str, Callable[..., Pace]], world: str, numbers: list[int], rounds: int, steps: int
) -> dict[str, Any]:
    """Paces by library, number of environments and round. The order of the libraries alternates."""
    speeds: dict[str, Any] = {name: {num_envs: [] for num_envs in numbers} for name in sides}
    for num_envs in numbers:
        for number in range(rounds):
            for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
                speeds[name][num_envs].append(sides[name](world, num_envs, steps, number))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compares the training speed of PPO in rlkit, Stable-Baselines3 and sbx."
    )
    parser.add_argument("--world", choices=NETWORKS, default="cartpole")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed environment steps per library and round")
    parser.add_argument("--threads", type=int, help="threads of torch, in rlkit and Stable-Baselines3")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    threads = arguments.threads or WORLDS[arguments.world].threads
    torch.set_num_threads(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    steps = arguments.steps or STEPS[arguments.world]
    sides = libraries()
    speeds = measure(sides, arguments.world, arguments.num_envs, arguments.rounds, steps)
    results = [
        summary(n, speeds["rlkit"][n], speeds[rival][n], rival)
        for n in arguments.num_envs
        for rival in sides
        if rival != "rlkit"
    ]
    if arguments.out is not None:
        record = {
            "format": 1,
            "benchmark": f"training speed, PPO on {WORLDS[arguments.world].title}",
            "machine": machine(),
            "date": today(),
            "versions": versions("stable-baselines3", "sbx-rl", "jax"),
            "threads": threads,
            "conditions": {
                "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                "load_average_at_the_end": [round(load, 1) for load in os.getloadavg()],
            },
            "settings": {**SETTINGS, **NETWORKS[arguments.world]},
            "protocol": {
                "timed": f"{steps} environment steps or the next whole rollout, after one rollout that is not timed",
                "rounds": f"{arguments.rounds}, all sides built anew in each, in alternating order",
            },
            "results": results,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
