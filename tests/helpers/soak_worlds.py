"""The configs of the runs that `make soak` kills."""

from __future__ import annotations

from typing import Any

SEEDS = "the command --seeds"  # its config is trained with two seeds
TRAIN = {
    "steps": 300,
    "seed": 5,
    "num_envs": 2,
    "log_every": 50,
    "checkpoint_every": 60,
    "sinks": [],
    "reseed_after": 40,
}
EVALUATION = {"every": 100, "episodes": 2, "final_episodes": 2, "num_envs": 2}
DQN: dict[str, Any] = {
    "name": "dqn", "batch_size": 8, "replay_capacity": 200, "learning_starts": 60, "updates_per_step": 0.2, "n_step": 3,
    "prioritised": {}, "target": {"every": 7}, "network": {"encoder": "mlp", "hidden": [16]}, "epsilon": {"steps": 200},
}  # fmt: skip
CARTPOLE = {"name": "gymnasium", "id": "CartPole-v1"}
SEA = {"name": "gymnasium", "id": "rlkit/DeepSea-v0", "kwargs": {"size": 6}, "signals": "envs.deep_sea:state"}
OPTIONS: dict[str, Any] = {
    "name": "hdqn", "goals": {"name": "chain-states"}, "option_discount": "smdp", "max_option_steps": 15,
    "repeat_goals": False, "pretraining_steps": 100,
    "controller": {
        "updates_per_step": 0.1, "learning_starts": 60, "batch_size": 8, "replay_capacity": 200, "n_step": 3,
        "epsilon_by": "success", "hindsight": True, "bonus": True,
    },
    "meta": {"learning_starts": 5, "batch_size": 8, "capacity": 60, "bonus": {"count_of": "successor"}},
}  # fmt: skip
ROOM = {
    "name": "gymnasium", "id": "MiniGrid-Empty-5x5-v0", "register": ["minigrid"], "max_episode_steps": 20,
    "wrappers": ["minigrid.wrappers:RGBImgPartialObsWrapper", "minigrid.wrappers:ImgObsWrapper"],
}  # fmt: skip
CODES = {
    "features": {
        "type": "learned", "side": 16, "codes": 24, "levels": 8, "updates_per_step": 0.1, "refit_every": 60,
        "batch_size": 8,
    }
}  # fmt: skip
NORMALISED = {"encoder": "mlp", "hidden": [16], "normalisation": "weight", "weight_norm": {"initial_batch": 50}}
PPO = {
    "name": "ppo", "rollout_steps": 16, "minibatch_size": 8, "epochs": 2, "network": {"hidden": [16]},
    "bonus": {"hash": {"type": "simhash", "bits": 32}},
}  # fmt: skip
PQN = {
    "name": "pqn", "rollout_steps": 16, "minibatch_size": 8, "epochs": 2, "network": {"hidden": [16]},
    "epsilon": {"steps": 200}, "bonus": {"type": "rnd", "outputs": 8},
}  # fmt: skip
RECALLING = {"hidden": [16], "memory": {"size": 8, "last_action": True}}
BREAKOUT = {
    "name": "atari", "game": "breakout", "protocol": "custom", "sticky_actions": 0.25, "noop_max": 10,
    "life_loss": True,
    "max_frames": 320, "threads": 2,
}  # fmt: skip


def _dqn(env: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"env": env, "agent": {**DQN, **changes}}


WORLDS: dict[str, dict[str, Any]] = {
    "prioritised n-step DQN, SimHash": _dqn(SEA, bonus={"hash": {"type": "simhash", "bits": 32}, "optimism": {}}),
    "h-DQN, in the middle of options": {
        "env": {"name": "gymnasium", "id": "rlkit/Chain-v0", "kwargs": {"length": 9}}, "agent": OPTIONS,
    },
    "learned codes": _dqn(ROOM, network={"encoder": "impala", "hidden": [16]}, bonus=CODES),
    "PPO, in the middle of rollouts": {"env": SEA, "agent": PPO},
    "PQN, in the middle of rollouts": {"env": CARTPOLE, "agent": PQN},
    "DQN with memory": _dqn(CARTPOLE, network=RECALLING),
    "PPO with memory": {"env": CARTPOLE, "agent": {**PPO, "bonus": False, "network": RECALLING}},
    "PQN with memory": {"env": CARTPOLE, "agent": {**PQN, "network": RECALLING}},
    "weight normalisation": _dqn(CARTPOLE, network=NORMALISED),
    "ALE, sticky actions": _dqn(BREAKOUT, network={"encoder": "nature", "hidden": [16]}),
    "worker processes": _dqn({**CARTPOLE, "mode": "async"}),
    SEEDS: {**_dqn(CARTPOLE), "train": {**TRAIN, "steps": 3000}},
}  # fmt: skip


def tables(world: str) -> dict[str, Any]:
    """The config of a world."""
    return {"train": TRAIN, "evaluation": EVALUATION, **WORLDS[world]}
