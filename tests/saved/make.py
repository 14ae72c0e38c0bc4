"""Makes the run directories of this folder, with version 0.1.0 of rlkit on the path: `python make.py FOLDER`.

FOLDER/NAME/run was stopped in the middle. Beside it lies what the same version makes of it, resumed or uninterrupted:
`final` is the state of the final policy, expected.json the end of the run's result.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import rlkit
from rlkit.testing.states import state_hash
from rlkit.training import Stopped  # where version 0.1.0 has it

STOP_AT = 240
COMMON = """
[train]
steps = 400
num_envs = 2
seed = 7
device = "cpu"
log_every = 40
checkpoint_every = 120
keep_checkpoints = 1
reseed_after = 50
sinks = ["jsonl"]
[evaluation]
every = 80
episodes = 2
final_episodes = 4
"""
CONFIGS = {
    "cartpole": """
[env]
name = "gymnasium"
id = "CartPole-v1"
[agent]
name = "dqn"
learning_starts = 60
batch_size = 8
replay_capacity = 300
n_step = 3
double = true
prioritised = true
network = { hidden = [16, 16], dueling = true }
target = { every = 7 }
""",
    "deep-sea": """
[env]
name = "gymnasium"
id = "rlkit/DeepSea-v0"
kwargs = { size = 6 }
signals = "envs.deep_sea:state"
[agent]
name = "dqn"
learning_starts = 60
batch_size = 8
replay_capacity = 300
n_step = 3
network = { hidden = [16] }
[agent.bonus]
of = "successor"
hash = { type = "simhash", bits = 32 }
optimism = { scale = 0.1 }
""",
    "hdqn-chain": """
[env]
name = "gymnasium"
id = "rlkit/Chain-v0"
signals = "envs.chain:state"
[agent]
name = "hdqn"
goals = { name = "chain-states" }
option_discount = "smdp"
max_option_steps = 15
[agent.controller]
learning_starts = 60
batch_size = 8
replay_capacity = 300
n_step = 3
hindsight = true
bonus = { of = "pair" }
network = { hidden = [16] }
[agent.meta]
learning_starts = 5
batch_size = 8
capacity = 60
bonus = { of = "successor" }
network = { hidden = [16] }
""",
}


def final_policy(run: Path) -> str:
    policy: Any = rlkit.load_policy(run).policy
    return state_hash(policy.state_dict())


def make(name: str, text: str, out: Path) -> None:
    def stop(trainer: Any) -> None:
        if trainer.env_steps >= STOP_AT:
            trainer.stop.signal = signal.SIGINT

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / f"{name}.toml"
        config.write_text(text + COMMON)
        run, whole = Path(folder) / "run", Path(folder) / "whole"
        with pytest.raises(Stopped):
            rlkit.train(config, run=run, on_progress=stop)
        (run / "lock").unlink()
        shutil.copytree(run, out / name / "run")
        rlkit.resume(run)
        rlkit.train(config, run=whole)
        assert final_policy(run) == final_policy(whole)
        shutil.copytree(whole / "policies" / "final", out / name / "final")
        result = json.loads((whole / "result.json").read_text())
        expected = {key: result[key] for key in ("updates", "curve", "final")}
        (out / name / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    assert rlkit.__version__ == "0.1.0", "a later version's directories are of no use here"
    for name, text in CONFIGS.items():
        make(name, text, Path(sys.argv[1]))
