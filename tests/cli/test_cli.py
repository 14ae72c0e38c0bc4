"""The command line as a user meets it: real runs, real files, one clear line for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import rlkit
from rlkit.cli import main
from rlkit.metrics.sinks import read_rows
from rlkit.runs.directory import RunDirectory

CONFIG = """
[env]
name = "gymnasium"
id = "CartPole-v1"
[agent]
name = "dqn"
learning_starts = 50
[train]
steps = 400
log_every = 100
[evaluation]
every = 200
episodes = 2
final_episodes = 5
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    done = call("train", place / "small.toml", "--run", place / "run", "--seed", 3)
    assert done.exit_code == 0, done.output
    for word in ("interquartile mean", "Protocol:", "CartPole-v1", "500 steps", "final score"):
        assert word in done.output
    for command in ("view", "evaluate", "resume"):
        assert f"rlkit {command} {place / 'run'}" in done.output
    return place / "run"


def test_what_a_run_leaves_behind(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    assert info["seed"] == 3
    assert info["threads"] == 1
    assert info["device"] in ("cpu", "cuda", "mps")
    assert {"python", "torch", "gymnasium", "numpy", "rlkit"} <= set(info["versions"])
    result = json.loads((run / "result.json").read_text())
    assert result["env_steps"] == 400
    assert result["updates"] == (400 - 50) // 4
    assert len(result["final"]["returns"]) == 5
    assert [row["env_steps"] for row in result["curve"]] == [200, 400]
    assert result["protocol"]["evaluation epsilon"] == "0"
    assert (run / "result.json").stat().st_size < 20_000


def test_the_metrics_file_has_the_scalars(run: Path) -> None:
    rows = read_rows(run / "metrics.jsonl")
    assert [row["env_steps"] for row in rows] == [100, 200, 200, 300, 400, 400, 400]
    names = {name for row in rows for name in row}
    wanted = {
        "episode/return", "episode/length", "evaluation/return_mean", "loss/td", "q/mean", "q/max", "q/td_error",
        "gradient/norm", "explore/epsilon", "replay/fill", "time/env_steps_per_second", "time/updates_per_second",
        "progress/updates", "final/return_iqm",
    }  # fmt: skip
    assert wanted <= names


def test_tensorboard_reads_the_same(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    rows = read_rows(run / "metrics.jsonl")
    for name in ("episode/return", "loss/td", "explore/epsilon", "evaluation/return_mean", "q/max"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row["env_steps"], np.float32(row[name])) for row in rows if name in row]
        assert seen == expected, name
    texts = events.Tags()["tensors"]
    assert "config/text_summary" in texts
    assert "protocol/text_summary" in texts
    plugin = events.summary_metadata["_hparams_/session_start_info"]
    assert b"agent.learning_rate" in plugin.plugin_data.content
    assert b"final/return_iqm" in events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert "final/return_iqm" in events.Tags()["scalars"], "the table of settings would show no final score"
    layout = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    places = [layout.index(title) for title in (b"1 score", b"2 learning", b"3 exploration", b"4 progress")]
    assert places == sorted(places)


def test_view_serves_the_scalars(run: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "rlkit.cli", "view", str(run.parent), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "http://" in line)
        address = line.split("http://")[1].split("/")[0]
        asked = f"http://{address}/data/plugin/scalars/tags"
        for _ in range(100):
            with urllib.request.urlopen(asked) as answer:
                tags = json.load(answer)
            if tags.get("run/tensorboard"):
                break
        assert "episode/return" in tags["run/tensorboard"]
    finally:
        process.terminate()
        process.wait(10)


def test_the_written_config_repeats_the_run(run: Path, place: Path) -> None:
    assert call("train", run / "config.toml", "--run", place / "again").exit_code == 0
    first, second = (json.loads((path / "result.json").read_text()) for path in (run, place / "again"))
    for key in ("experiment", "digest", "curve", "final", "updates", "config"):
        assert first[key] == second[key], key


@pytest.mark.parametrize(("checkpoint", "steps"), [("last", 400), ("best", None), ("400", 400)])
def test_evaluate_states_the_protocol_and_writes_json(run: Path, checkpoint: str, steps: int | None) -> None:
    done = call("evaluate", run, "--checkpoint", checkpoint, "--episodes", 7)
    assert done.exit_code == 0
    assert "Protocol: " in done.output
    written = json.loads((run / "evaluation.json").read_text())
    assert len(written["returns"]) == 7
    assert steps in (None, written["env_steps"])
    assert written["return_mean"] == pytest.approx(np.mean(written["returns"]))
    low, high = written["return_iqm_interval_95"]
    assert low <= written["return_iqm"] <= high


def test_evaluating_again_gives_the_final_score(run: Path) -> None:
    call("evaluate", run)
    result = json.loads((run / "result.json").read_text())
    assert json.loads((run / "evaluation.json").read_text())["returns"] == result["final"]["returns"]


def test_resuming_a_finished_run_says_how_to_extend_it(run: Path, place: Path) -> None:
    copy = place / "copy"
    shutil.copytree(run, copy)
    done = call("resume", copy)
    assert done.exit_code == 2
    assert "--steps N" in done.output
    assert call("resume", copy, "--steps", 500).exit_code == 0
    assert json.loads((copy / "result.json").read_text())["env_steps"] == 500


def test_describe_shows_the_networks() -> None:
    shown = call("describe", "minatar/breakout", "--set", "agent.network.normalisation=weight").output
    for word in ("Q-network", "encoder.layers.0", "conv 16", "norm", "(16, 8, 8)", "36,864", "132,326"):
        assert word in shown, word
    refused = call("describe", "minatar/breakout", "--set", 'agent={name="random"}')
    assert refused.exit_code == 2
    assert 'agent "random" has no networks to describe' in refused.output
    frames = call("describe", "cartpole", "--set", "agent.network.encoder=impala")
    assert frames.exit_code == 2
    assert "(4,)" in frames.output


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (
            "atari/hash-pixels",
            "0.01 / sqrt(n) of the state; pixels of observations, simhash of 256 bits; sketch counts, 24.0 MB",
        ),
        ("hdqn/doorkey", "none paid; vector of state; exact counts; values of untried actions drawn towards 0.3"),
    ],
)
def test_check_says_what_is_counted_and_paid(name: str, row: str) -> None:
    shown = " ".join(call("check", name).output.replace("│", " ").split())
    assert row in shown


def test_list_and_check() -> None:
    listed = call("list").output
    for name in ("dqn", "random", "gymnasium", "tensorboard", "quickstart", "minatar/breakout"):
        assert name in listed
    keys = call("list", "agents", "dqn").output
    assert "learning_rate" in keys
    assert "steps" in call("list", "keys").output
    checked = call("check", "cartpole", "--set", "train.num_envs=8").output
    for word in ("Box", "8, 50,000 steps", "parameters", "MiB", "updates", "episodes", "CartPole-v1", "[agent]"):
        assert word in checked, word


def test_help_has_examples() -> None:
    assert "rlkit train quickstart" in call("--help").output
    for command in main.commands:
        assert f"rlkit {command}" in call(command, "--help").output


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("agent.learnig_rate=1", "learning_rate"),
        ("agent.replay_capacity=-1", "agent.replay_capacity"),
        ("env.id=NoSuch-v0", "NoSuch-v0"),
        ("env.id=Pendulum-v1", "Discrete"),
        ("env.name=atarri", "atarri"),
        ("agent.replay_capacity=9999999999999", "GiB"),
        ("agent.network.encoder=nature", "(4,)"),
        ("train.device=cuda:7", "cuda:7"),
        ("train.sinks=[\"nowhere\"]", "nowhere"),
        ("env.wrappers=[\"gymnasium.wrappers:NormalizeReward\"]", "NormalizeReward"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_writes_nothing(place: Path, setting: str, words: str) -> None:
    folder = place / "never"
    done = call("train", place / "small.toml", "--run", folder, "--set", setting)
    assert done.exit_code == 2, done.output
    message = done.output[done.output.index("Error:") :].strip()
    assert words in message
    assert len(message.splitlines()) == 1
    assert "Traceback" not in done.output
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("resume", "nowhere"),
        ("evaluate", "nowhere"),
        ("view", "nowhere"),
        ("train", "nowhere"),
        ("train",),
        ("list", "agents", "dnq"),
    ],
)
def test_what_is_not_there_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert call(*arguments).exit_code == 2


def test_a_run_is_never_overwritten(run: Path, place: Path) -> None:
    before = (run / "result.json").read_text()
    done = call("train", place / "small.toml", "--run", run)
    assert done.exit_code == 2
    assert f"rlkit resume {run}" in done.output
    assert (run / "result.json").read_text() == before


def test_default_names_are_free_ones(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for name in ("small-seed0", "small-seed0-2"):
        assert call("train", "small.toml", "--steps", 60).exit_code == 0
        assert (place / "runs" / name / "result.json").exists()


def test_one_process_at_a_time_may_write(run: Path, place: Path) -> None:
    copy = place / "locked"
    shutil.copytree(run, copy)
    with RunDirectory.open(copy).lock():
        done = call("resume", copy, "--steps", 500)
    assert done.exit_code == 2
    assert f"pid {os.getpid()}" in done.output
    assert call("resume", copy, "--steps", 500).exit_code == 0


def test_a_run_of_another_agent_is_refused(run: Path, place: Path) -> None:
    copy = place / "other"
    shutil.copytree(run, copy)
    path = copy / "config.toml"
    path.write_text(path.read_text().replace("n_step = 1", "n_step = 2"))
    done = call("resume", copy, "--steps", 500)
    assert done.exit_code == 2
    assert "agent.n_step was 1, is 2" in done.output


def test_an_unknown_checkpoint_is_refused_with_the_known_ones(run: Path) -> None:
    done = call("evaluate", run, "--checkpoint", "123")
    assert done.exit_code == 2
    assert "last, best, 400" in done.output


def test_three_lines_of_python(run: Path) -> None:
    import gymnasium as gym

    env = gym.make("CartPole-v1")
    policy = rlkit.load_policy(run)
    observation, _ = env.reset(seed=1)
    assert policy(observation) in (0, 1)
    with pytest.raises(rlkit.errors.SpecError, match=r"\(3,\).*\(4,\)"):
        policy(observation[:3])


def test_importing_rlkit_and_asking_for_help_is_quick() -> None:
    code = """
import sys
import rlkit
from rlkit.cli import main
for arguments in ["--help"], ["train", "--help"], ["list"], ["list", "configs", "cartpole"]:
    main(arguments, standalone_mode=False)
assert not {"torch", "gymnasium", "matplotlib"} & set(sys.modules)
assert rlkit.train
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(("name", "episodes", "least"), [("cartpole", 10, 400), ("minatar-breakout", 30, 3)])
def test_the_trained_policies_in_the_repository_play(name: str, episodes: int, least: float, tmp_path: Path) -> None:
    run = Path(__file__).parents[2] / "pretrained" / name
    assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 1_000_000
    done = call("evaluate", run, "--episodes", episodes, "--out", tmp_path / "scores.json")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "scores.json").read_text())["return_mean"] >= least


def test_a_run_that_ended_early_says_so_and_shows_its_pictures(tmp_path: Path) -> None:
    """Going on would end at once."""
    changes = ["env.kwargs.size=3", "agent.learning_starts=50", "evaluation.every=60", "evaluation.stop.at_least=-1"]
    settings = [word for change in changes for word in ("--set", change)]
    output = call("train", "quickstart", "--run", str(tmp_path / "run"), *settings).output
    assert "solved after 180 steps" in output
    assert "rlkit resume" not in output
    assert "images/train-visits.png" in output.replace("\n", "")


def test_brackets_in_a_warning_are_text() -> None:
    @main.command("warn", hidden=True)
    def warn() -> None:
        warnings.warn_explicit("give [grid] or [random]", UserWarning, "rlkit/cli/x.py", 1, module="rlkit")

    try:
        assert "give [grid] or [random]" in call("warn").output
    finally:
        main.commands.pop("warn")
