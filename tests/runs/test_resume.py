"""A resumed run is the uninterrupted run, bit for bit: real processes, really killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlkit
from helpers import crash
from rlkit.config.load import load
from rlkit.errors import RunError
from rlkit.metrics.line_log import read_rows
from rlkit.runs.checkpoint import CheckpointStore
from rlkit.testing.states import state_hash

FRESH = ("cartpole",)  # worlds whose every process is a new interpreter, with another hash seed
FORKS = multiprocessing.get_context("forkserver")  # the others are forked from one that has imported and done nothing
FORKS.set_forkserver_preload(
    [
        "rlkit.runs.api",
        "agents.dqn",
        "agents.hdqn",
        "agents.ppo",
        "agents.pqn",
        "envs.gymnasium",
        "envs.atari",
        "torch._dynamo",
        "minatar.gym",
    ]
)
PHASES = {"writing": 8, "renaming": 2, "learning": 40, "receiving": 40, "observing": 40, "logging": 2}  # latest kill
CHECKPOINTED = 45  # calls until the first checkpoint, after 90 steps of two environments

BASE = """
[agent]
name = "dqn"
batch_size = 8
replay_capacity = 400
learning_starts = 60
updates_per_step = 0.1
n_step = 3
double = true
prioritised = {}
[agent.target]
every = 7
[agent.network]
encoder = "ENCODER"
hidden = [16]
dueling = true
[agent.epsilon]
steps = 300
[train]
steps = 600
seed = 5
num_envs = 2
log_every = 50
checkpoint_every = 90
sinks = []
reseed_after = 40
[evaluation]
every = 200
episodes = 2
final_episodes = 2
num_envs = 2
[env]
"""

GYMNASIUM = 'name = "gymnasium"\n'
CARTPOLE = GYMNASIUM + 'id = "CartPole-v1"'
MINATAR = GYMNASIUM + 'id = "MinAtar/GAME-v1"\nregister = ["minatar.gym:register_envs"]\nmax_episode_steps = 120'
MINIGRID = """name = "gymnasium"
id = "MiniGrid-Dynamic-Obstacles-6x6-v0"
register = ["minigrid"]
wrappers = ["minigrid.wrappers:ImgObsWrapper"]
max_episode_steps = 60"""

ATARI = """name = "atari"
game = "breakout"
protocol = "custom"
sticky_actions = 0.25
noop_max = 10
life_loss = true
max_frames = 320
threads = """

WORLDS = {
    "cartpole": ("mlp", CARTPOLE),
    "cartpole-async": ("mlp", CARTPOLE + '\nmode = "async"'),
    "minigrid": ("mlp", MINIGRID),
    "atari-one-thread": ("nature", ATARI + "1"),
    "atari-two-threads": ("nature", ATARI + "2"),
    **{
        f"minatar-{game}": ("minatar", MINATAR.replace("GAME", game))
        for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
    },
}

WORLDS["deep-sea-counting"] = (
    "mlp",
    GYMNASIUM
    + """id = "rlkit/DeepSea-v0"
kwargs = { size = 6 }
signals = "envs.deep_sea:state"
[agent.bonus]
hash = { type = "simhash", bits = 32 }
counts = { type = "sketch", primes = [499, 503] }
count_of = "successor"
optimism = {}
[train.visits]
columns = [1, 0]
low = [0, 0]
high = [6, 7]
cells = [6, 7]
""",
)

# Options go on for long, so that most checkpoints and kills fall into the middle of one
OPTIONS = """[agent]
name = "agents.hdqn:plugin"
goals = { name = "GOALS" }
option_discount = "smdp"
max_option_steps = 15
repeat_goals = false
pretraining_steps = 100
[agent.controller]
updates_per_step = 0.1
learning_starts = 60
batch_size = 8
replay_capacity = 400
n_step = 3
epsilon_by = "success"
hindsight = true
bonus = true
[agent.meta]
learning_starts = 5
batch_size = 8
capacity = 60
bonus = { count_of = "successor" }
"""

WORLDS["hdqn-chain"] = ("envs.goals.chain:States", GYMNASIUM + 'id = "rlkit/Chain-v0"\nkwargs = { length = 9 }')
WORLDS["hdqn-minigrid"] = (
    "envs.goals.minigrid:Objects",
    GYMNASIUM
    + """id = "MiniGrid-DoorKey-5x5-v0"
register = ["minigrid"]
signals = "envs.minigrid:situation"
wrappers = ["minigrid.wrappers:ImgObsWrapper"]
max_episode_steps = 60""",
)

WORLDS["hdqn-montezuma"] = (
    "envs.goals.montezuma:Entities",
    """name = "atari"
game = "montezuma_revenge"
protocol = "custom"
sticky_actions = 0.25
noop_max = 10
life_loss = true
max_frames = 320
backend = "gymnasium"
signals = ["ram"]
[agent.meta.network]
encoder = "nature"
hidden = [16]
[agent.controller.network]
encoder = "nature"
hidden = [16]
""",
)

# A rollout is 16 steps, and a checkpoint falls into one of every third
PPO = """[agent]
name = "agents.ppo:plugin"
rollout_steps = 16
minibatch_size = 8
epochs = 2
anneal = { steps = 600, clip = 0.5 }
[agent.network]
hidden = [16]
activation = "tanh"
"""
WORLDS["ppo-deep-sea"] = (
    PPO,
    GYMNASIUM
    + """id = "rlkit/DeepSea-v0"
kwargs = { size = 6 }
[agent.bonus]
hash = { type = "simhash", bits = 32 }
count_of = "successor"
""",
)

PQN = (
    PPO.replace("agents.ppo", "agents.pqn")
    .replace(", clip = 0.5", "")
    .replace("[agent.network]", "softmax = true\nepsilon = { steps = 300 }\n[agent.network]")
)
WORLDS["pqn-cartpole"] = (PQN, CARTPOLE)

# Episodes are longer than rollouts, so checkpoints fall into the middle of what is remembered
WORLDS["ppo-memory"] = (
    PPO + 'memory = { type = "lstm", size = 4, last_action = true, last_reward = true }\n',
    GYMNASIUM + 'id = "rlkit/MemoryChain-v0"\nkwargs = { length = 23 }',
)


# A thread learns while worker processes step
WORLDS["ppo-overlap-async"] = (
    PPO.replace("epochs = 2\n", "epochs = 2\noverlap = true\n"),
    CARTPOLE + '\nmode = "async"',
)
WORLDS["ppo-atari"] = (
    PPO.replace('hidden = [16]\nactivation = "tanh"', 'encoder = "nips"\nhidden = [16]'),
    ATARI + "2",
)
WORLDS["pqn-memory"] = (
    PQN + 'memory = { type = "gru", size = 4 }\n',
    GYMNASIUM + 'id = "rlkit/MemoryChain-v0"\nkwargs = { length = 23 }',
)


def write_config(folder: Path, world: str) -> Path:
    part, env = WORLDS[world]
    path = folder / f"{world}.toml"
    if world.startswith("hdqn"):
        base = OPTIONS.replace("GOALS", part) + BASE[BASE.index("[train]") :]
    elif world.startswith(("ppo", "pqn")):
        base = part + BASE[BASE.index("[train]") :]
    else:
        base = BASE.replace("ENCODER", part)
    if 'name = "atari"' in env:  # where a seeded reset loads the game anew
        base = base.replace("reseed_after = 40", "reseed_after = 100").replace("every = 200", "every = 400")
    path.write_text(base + env)
    return path


def outcome(run: Path) -> dict[str, Any]:
    """Everything of a run that must not depend on interruptions."""
    store = CheckpointStore(run / "checkpoints")
    result = json.loads((run / "result.json").read_text())
    return {
        "checkpoint": state_hash(store.load(store.steps()[-1]), ignore=("seconds", "processor_seconds")),
        "final policy": state_hash(rlkit.load_policy(run).policy.state_dict()),  # type: ignore[attr-defined]
        "best": (run / "policies" / "best" / "state.json").read_text(),
        "result": [result[key] for key in ("env_steps", "updates", "curve", "training", "final", "approximate")],
        "metrics": [
            {key: value for key, value in row.items() if not key.startswith("time/")}
            for row in read_rows(run / "metrics.jsonl")
        ],
        "tapes": {path.name: np.load(path).tolist() for path in sorted((run / "tapes").iterdir())},
    }


def run_crashing(run: Path, config: Path, phase: str, count: int) -> int:
    """The exit code of a process that trains or resumes the run, and kills itself."""
    world = config.stem
    return (in_new_interpreter if world in FRESH else in_fork)(run, config, phase, count)


def in_fork(run: Path, config: Path, phase: str, count: int) -> int:
    errors = run.with_suffix(".errors")
    process = FORKS.Process(target=crash.logged, args=(errors, run, str(config), phase, count))
    process.start()
    process.join(300)  # seconds; on an idle machine it takes one to five
    assert process.exitcode in (0, -signal.SIGKILL), f"exit code {process.exitcode}: {errors.read_text()[-3000:]}"
    return process.exitcode


def in_new_interpreter(run: Path, config: Path, phase: str, count: int) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(count)}
    command = [sys.executable, crash.__file__, str(run), str(config), phase, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return done.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 steps of cartpole without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return rlkit.train(write_config(folder, "cartpole"), run=folder / "run").path


@pytest.fixture(scope="module")
def first_part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 400 of these steps."""
    folder = tmp_path_factory.mktemp("part")
    return rlkit.train(write_config(folder, "cartpole"), {"train.steps": 400}, run=folder / "run").path


@pytest.fixture
def part(first_part: Path, tmp_path: Path) -> Path:
    """A copy of them, to go on with."""
    return Path(shutil.copytree(first_part, tmp_path / "part"))


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


SLOW = {  # each has a neighbour of its kind that is fast
    "atari-one-thread", "cartpole", "cartpole-async", "hdqn-montezuma", "ppo-atari", "ppo-overlap-async", "pqn-memory",
    *(f"minatar-{game}" for game in ("Asterix", "Freeway", "Seaquest", "SpaceInvaders")),
}  # fmt: skip


@pytest.mark.parametrize("world", [slow(world) if world in SLOW else world for world in WORLDS])
def test_killed_at_random_moments(world: str, tmp_path: Path) -> None:
    config = write_config(tmp_path, world)
    whole = outcome(rlkit.train(config, run=tmp_path / "whole").path)
    assert whole["metrics"]
    assert whole["tapes"], "the tape must be re-seeded within the run, or this test shows too little"
    rng = np.random.default_rng(list(world.encode()))
    run, kills = tmp_path / "killed", 0
    first = str(rng.choice(("learning", "receiving", "observing")))
    kills += run_crashing(run, config, first, CHECKPOINTED + int(rng.integers(1, 1 + 2 * CHECKPOINTED))) != 0
    phases = [first, *rng.permutation(list(PHASES))[: 4 if world == "cartpole" else 2]]
    for phase in phases[1:]:
        assert CheckpointStore(run / "checkpoints").steps(), "else it begins anew, and nothing is resumed"
        kills += run_crashing(run, config, phase, int(rng.integers(1, 1 + PHASES[phase]))) != 0
        if (run / "result.json").exists():
            break
    if not (run / "result.json").exists():
        assert run_crashing(run, config, "none", 0) == 0
    assert kills >= len(phases) - 1
    assert outcome(run) == whole


@pytest.mark.parametrize(
    ("world", "number"),
    [slow("cartpole", signal.SIGINT), slow("cartpole-async", signal.SIGINT), slow("cartpole-async", signal.SIGTERM)],
)
def test_stopped_by_a_signal_to_the_whole_process_group(world: str, number: signal.Signals, tmp_path: Path) -> None:
    config, run = write_config(tmp_path, world), tmp_path / "stopped"
    whole = rlkit.train(load(config, {"train.steps": 2000}), run=tmp_path / "whole").path
    command = [sys.executable, "-m", "rlkit.cli", "train", str(config), "--run", str(run), "--set", "train.steps=2000"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    stops = 0
    while process.poll() is None:
        deadline = time.monotonic() + 60
        seen = len(read_rows(run / "metrics.jsonl"))
        while process.poll() is None and len(read_rows(run / "metrics.jsonl")) <= seen + 12:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if process.poll() is None:
            os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        stops += 1
        assert process.returncode == 128 + number, errors
        assert f"rlkit resume {run}" in errors
        assert "Traceback" not in errors
        command = [sys.executable, "-m", "rlkit.cli", "resume", str(run)]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    assert stops >= 2
    assert outcome(run) == outcome(whole)


def test_an_extended_run_equals_a_longer_one(part: Path, whole: Path) -> None:
    rlkit.resume(part, 600)
    assert outcome(part) == outcome(whole)


NORMALISED = {
    "weight": {"agent.network.weight_norm": {"initial_batch": 50, "project": True}},
    "batch": {"agent.diagnostics_every": 20},
}


@pytest.mark.parametrize(
    ("normalisation", "stopped"), [slow("weight", 50), ("weight", 64), slow("weight", 66), slow("batch", 200)]
)
def test_an_extended_run_of_a_normalised_network(normalisation: str, stopped: int, tmp_path: Path) -> None:
    """Before, at and after the initialisation: the first update is owed from step 64 on and made by step 66."""
    config = write_config(tmp_path, "cartpole")
    changes = {"agent.network.normalisation": normalisation, **NORMALISED[normalisation]}
    longer = rlkit.train(config, {**changes, "train.steps": 240}, run=tmp_path / "longer").path
    run = rlkit.train(config, {**changes, "train.steps": stopped}, run=tmp_path / "extended").path
    rlkit.resume(run, 240)
    assert outcome(run) == outcome(longer)


def test_an_environment_that_does_not_play_back_is_reported(part: Path) -> None:
    store = CheckpointStore(part / "checkpoints")
    state = store.load(400)
    state["tape"]["hash"][0] ^= 1
    store.save(400, state, keep=1)
    with pytest.warns(UserWarning, match="could not be restored"):
        rlkit.resume(part, 600)
    result = json.loads((part / "result.json").read_text())
    assert result["approximate"] == [400]
    assert result["env_steps"] == 600


def test_the_time_of_training_includes_that_of_earlier_processes(part: Path) -> None:
    store = CheckpointStore(part / "checkpoints")
    state = store.load(400)
    state["seconds"], state["processor_seconds"] = 2e6, 1e6
    store.save(400, state, keep=1)
    rlkit.resume(part, 450)
    result = json.loads((part / "result.json").read_text())
    assert 2e6 <= result["train_seconds"] < 2e6 + 1e4
    assert 1e6 <= result["train_processor_seconds"] < 1e6 + 1e4


def test_a_damaged_checkpoint_falls_back_to_the_one_before(part: Path, whole: Path) -> None:
    newest = CheckpointStore(part / "checkpoints").folder(400) / "arrays.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"damaged.*resuming from step 360"):
        rlkit.resume(part, 600)
    assert outcome(part) == outcome(whole)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_loses_nothing(whole: Path, tmp_path: Path) -> None:
    """The operating system refuses files beyond a size, as a full disk would, from some checkpoint on."""
    config, run = write_config(tmp_path, "cartpole"), tmp_path / "full"
    sizes = [path.stat().st_size for path in (whole / "checkpoints").glob("*/arrays.safetensors")]
    limit = min(sizes) - 5_000  # the first checkpoints are smaller, the later ones larger
    done = subprocess.run(
        [sys.executable, "-m", "rlkit.cli", "train", str(config), "--run", str(run)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "could not write checkpoint" in done.stderr
    assert "File too large" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    kept = CheckpointStore(run / "checkpoints").steps()
    assert kept
    assert kept[-1] < 600
    rlkit.resume(run)
    assert outcome(run) == outcome(whole)


@pytest.mark.slow
def test_a_kill_in_the_final_evaluation_of_an_extended_run(part: Path, whole: Path) -> None:
    """result.json is still that of the shorter run: it must not pass for the longer one's."""
    program = """
import os, sys, rlkit
from rlkit.training.trainer import Trainer
Trainer.finish = lambda trainer: os.kill(os.getpid(), 9)
rlkit.resume(sys.argv[1], 600)
"""
    done = subprocess.run([sys.executable, "-c", program, str(part)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert rlkit.load_policy(part).env_steps == 600, "the newest parameters, not the shorter run's final ones"
    (part / "config.toml").write_text((whole / "config.toml").read_text())
    rlkit.resume(part)
    assert outcome(part) == outcome(whole)


def test_more_evaluation_environments_than_episodes(tmp_path: Path) -> None:
    settings = {"evaluation.num_envs": 7, "evaluation.final_episodes": 9}
    config = load(write_config(tmp_path, "cartpole"), settings)
    whole = rlkit.train(config, run=tmp_path / "whole").path
    run = rlkit.train(load(write_config(tmp_path, "cartpole"), {**settings, "train.steps": 500}), run=tmp_path / "run")
    rlkit.resume(run.path, 600)
    assert outcome(run.path) == outcome(whole)


def test_a_smaller_total_is_refused(part: Path) -> None:
    (part / "result.json").unlink()
    with pytest.raises(RunError, match="already at step 400"):
        rlkit.resume(part, 300)
