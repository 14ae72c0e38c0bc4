"""Videos: what is seen in them, that they are the scored episode, and that a failed one leaves nothing behind."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import rlkit
from agents.hdqn.policy import HDQNPolicy
from rlkit.cli import main
from rlkit.config.load import resolve
from rlkit.errors import ConfigError
from rlkit.runs.evaluate import evaluate_run
from rlkit.runs.video import CHOSEN, FAINT, PANEL, VideoFile, beside, frames_per_second
from rlkit.types import EnvSpec
from rlkit.vector.environment import describe

TABLES: dict[str, Any] = {
    "env": {"name": "atari", "game": "breakout", "protocol": "custom", "max_frames": 120},
    "agent": {"name": "dqn", "replay_capacity": 100, "network": {"encoder": "nature"}},
    "train": {"steps": 4, "sinks": []},
    "evaluation": {"final_episodes": 3, "num_envs": 2, "epsilon": 0.3},
}


def trained(folder: Path, **tables: Any) -> Path:
    return rlkit.train(resolve("test", {**TABLES, **tables}), run=folder / "run").path


def pictures(path: Path) -> NDArray[np.uint8]:
    """(T, H, W, 3)."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_videos_have_the_rate_that_the_environment_states() -> None:
    spec = EnvSpec(gym.spaces.Discrete(2), 2, 1)
    assert frames_per_second(spec) == 15
    assert frames_per_second(replace(spec, frame_skip=2, steps_per_second=9)) == 30
    assert frames_per_second(replace(spec, steps_per_second=50.0)) == 50
    assert describe(lambda: gym.make("CartPole-v1"), 1).steps_per_second == 50


@pytest.mark.slow
def test_the_video_is_the_first_scored_episode_in_colour_and_at_full_size(tmp_path: Path) -> None:
    run, path = trained(tmp_path), tmp_path / "play.mp4"
    scores = evaluate_run(run, video=path).scores
    without = evaluate_run(run).scores
    assert scores.returns.tolist() == without.returns.tolist()
    assert scores.lengths.tolist() == without.lengths.tolist()
    found = pictures(path)
    assert found.shape == (scores.lengths[0] + 1, 420, 2 * 160 + PANEL, 3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 15
    screen = found[:, :, :320].astype(int)
    red_bricks, paddle = screen[5, 120, 160], screen[:, 380:386, 20:300]
    assert np.abs(red_bricks - (200, 72, 72)).max() < 12, "the colour of Breakout's topmost row"
    assert (np.ptp(paddle, axis=0) > 100).any(), "the paddle moves"
    panel = found[:, :, 320:].astype(int)
    assert (np.ptp(panel[:, :90], axis=0) > 60).any(), "the step counter counts"
    assert (np.abs(panel[5] - CHOSEN).max(-1) < 40).any(), "an action is marked"
    assert not (np.abs(panel[-1] - CHOSEN).max(-1) < 40).any(), "none is chosen where the episode is over"


def test_the_panel_has_bars_in_proportion_and_marks_what_was_done() -> None:
    screen = np.zeros((210, 160, 3), np.uint8)
    values = np.array([0.0, 2.0, 1.0], np.float32)

    def lengths(colour: tuple[int, int, int], action: int | None) -> list[int]:
        """How long the bars of one colour are, from top to bottom."""
        panel = beside(screen, ["return  1"], ("NOOP", "UP", "DOWN"), values, action)[:, 320 + 128 : 320 + 195]
        rows = (panel == colour).all(-1).sum(1)
        return [int(row) for row, before in zip(rows[1:], rows[:-1], strict=True) if row and not before]

    assert lengths(CHOSEN, 2) == [33]
    assert lengths(FAINT, 2) == [3, 63]
    assert lengths(CHOSEN, None) == []
    many = tuple(map(str, range(64)))  # a row of text is higher than the room for an action
    assert beside(screen, [], many, np.arange(64.0), 3).shape == (420, 320 + PANEL, 3)
    plain = beside(screen, [], ("NOOP",), None, None)
    assert plain.shape == (420, 320 + PANEL, 3)


def test_a_policy_without_values_and_an_environment_without_a_frame_skip(tmp_path: Path) -> None:
    env = {"name": "gymnasium", "id": "MiniGrid-Empty-5x5-v0", "register": ["minigrid"], "max_episode_steps": 9}
    env["wrappers"] = ["minigrid.wrappers:ImgObsWrapper"]  # type: ignore[assignment]
    run, path = trained(tmp_path, env=env, agent={"name": "random"}), tmp_path / "play.mp4"
    scores = evaluate_run(run, video=path).scores
    assert len(pictures(path)) == scores.lengths[0] + 1
    scores = evaluate_run(run, video=path, video_episodes=2).scores
    assert len(pictures(path)) == scores.lengths[:2].sum() + 2
    with pytest.raises(ConfigError, match=r"needs as many of environment 0, which plays 2 of the 3"):
        evaluate_run(run, video=path, video_episodes=3)


def test_from_the_command_line(tmp_path: Path) -> None:
    run, path = trained(tmp_path), tmp_path / "play.mp4"
    done = CliRunner().invoke(main, ["evaluate", str(run), "--episodes", "1", "--video", str(path)])
    assert done.exit_code == 0, done.output
    assert f"{run / 'evaluation.json'} and {path}" in done.output.replace("\n", "")
    assert len(pictures(path)) > 1


def test_a_video_that_cannot_be_made_is_refused_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"play.avi: videos are written as .mp4"):
        VideoFile(tmp_path / "play.avi", 15)
    with pytest.raises(OSError, match="nowhere"):
        VideoFile(tmp_path / "nowhere" / "play.mp4", 15)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"--video needs av; install rlkit\[video\]"):
        VideoFile(tmp_path / "play.mp4", 15)


def test_a_failed_video_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "play.mp4"
    path.write_text("old")
    with pytest.raises(ValueError, match="shape"), VideoFile(path, 15) as video:
        video.write(np.zeros((31, 31), np.uint8))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["play.mp4"]
    with VideoFile(path, 15) as video:
        video.write(np.zeros((31, 31, 3), np.uint8))
    assert pictures(path).shape == (1, 32, 32, 3)


def test_a_policy_with_goals_says_which(tmp_path: Path) -> None:
    """The line under the value is there while an episode is played, and says what each step was made for."""
    tables: dict[str, Any] = {
        "env": {"name": "gymnasium", "id": "rlkit/Chain-v0"},
        "agent": {
            "name": "agents.hdqn:plugin",
            "goals": {"name": "envs.goals.chain:States"},
            "max_option_steps": 1,
            "repeat_goals": False,
        },
        "train": {"steps": 4, "seed": 5, "sinks": []},
        "evaluation": {"final_episodes": 1, "epsilon": 1.0},  # else it goes left at once, which ends the episode
    }
    run = rlkit.train(resolve("test", tables), run=tmp_path / "run").path
    seen: list[list[str]] = []

    def watched(screen: NDArray[np.uint8], lines: list[str], *rest: Any) -> NDArray[np.uint8]:
        seen.append(list(lines))
        return beside(screen, lines, *rest)

    goals: list[int] = []
    act = HDQNPolicy.act

    def spy(policy: HDQNPolicy, *args: Any) -> Any:
        output = act(policy, *args)
        goals.append(int(output.state["goal"][0]))
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlkit.runs.video.beside", watched)
        patch.setattr(HDQNPolicy, "act", spy)
        evaluate_run(run, video=tmp_path / "play.mp4")
    said = [lines[-1] for lines in seen]
    assert said[:-1] == [f"goal  s{number + 1}" for number in goals[: len(said) - 1]]
    assert len(set(said)) > 1
    assert all(lines[2].startswith("value") for lines in seen[:-1])
