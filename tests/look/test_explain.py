"""`rlkit explain`."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

import rlkit
from envs.gymnasium import register_ids
from envs.screens import view_cells
from helpers.command import call
from rlkit.agent import ScoreFunction
from rlkit.config.load import resolve
from rlkit.look.explain import Kept, _decisive, explain
from rlkit.look.overlay import on_screen, overlaid
from rlkit.look.playing import load_for_looking
from rlkit.look.probe import decode, layers_of
from rlkit.look.robustness import robustness
from rlkit.look.samples import Samples
from rlkit.runs.policy import LoadedPolicy
from rlkit.types import ActorOutput, Mode, Observation

ROOT = Path(__file__).parents[2]


def shown(*words: object) -> str:
    done = call("explain", *words)
    assert done.exit_code == 0, done.output
    return done.output.replace("\n", "")


def test_bars_of_a_vector_and_a_video(tmp_path: Path) -> None:
    picture, video = tmp_path / "bars.png", tmp_path / "play.mp4"
    words = (ROOT / "pretrained" / "cartpole", "--out", picture, "--video", video, "--steps", 4)
    output = shown(*words, "--set", "env.max_episode_steps=12")
    assert "return of the episode: 12" in output
    assert "4 steps" in output
    assert video.stat().st_size > 1000
    with Image.open(picture) as image:
        assert image.mode == "P"
        assert min(image.size) > 200


def test_maps_over_pictures(tmp_path: Path) -> None:
    picture = tmp_path / "maps.png"
    run = ROOT / "pretrained" / "minatar-breakout"
    shown(run, "--out", picture, "--method", "occlusion", "--frames", 2)
    assert picture.stat().st_size < 100_000


class Linear:
    """A policy as somebody else would write it: values are linear in the observation."""

    def __init__(self) -> None:
        self.layer = torch.nn.Linear(4, 2)

    def initial_state(self, num_envs: int) -> dict[str, Any]:
        return {}

    def load_policy_state(self, state: Any) -> None:
        """Nothing to load."""

    def act(self, observation: Observation, state: Any, rng: Any, mode: Mode) -> ActorOutput:
        with torch.no_grad():
            return ActorOutput(self.layer(torch.from_numpy(observation.obs)).argmax(1).numpy(), {}, {})

    def score_functions(self, observation: Observation, state: Any) -> list[ScoreFunction]:
        action = self.act(observation, state, None, Mode.EVALUATE).action
        return [ScoreFunction("action values", (), action, lambda obs: obs, self.layer, self.layer)]


def test_a_policy_of_somebody_else_is_explained() -> None:
    loaded, policy = load_for_looking(ROOT / "pretrained" / "cartpole"), Linear()
    other = LoadedPolicy(policy, loaded.spec, loaded.config, 0)
    found = explain(other, 1, "gradient", 4, lambda done, total: None)
    weights = policy.layer.weight.detach().abs().numpy()
    assert len(found.moments) == found.returns[0]
    assert np.allclose(found.parts[0].maps, weights[found.parts[0].chosen])
    assert [moment.action for moment in found.moments] == found.parts[0].chosen.tolist()


def test_a_policy_of_somebody_else_is_attacked_and_probed() -> None:
    """The pole's angle and its speed decide: the attack moves these, and the output says where it leans."""
    loaded, policy = load_for_looking(ROOT / "pretrained" / "cartpole"), Linear()
    with torch.no_grad():
        policy.layer.weight.copy_(torch.tensor([[0.0] * 4, [0.0, 0.0, 1.0, 1.0]]))
        policy.layer.bias.zero_()
    other = LoadedPolicy(policy, loaded.spec, loaded.config, 0)
    found = robustness(other, (0.0, 0.2), 2, 60, lambda done, total: None)
    assert found.returns[0, 0].tolist() == [60.0, 60.0]
    assert found.returns[1, 1].mean() < found.returns[2, 1].mean(), "PGD against noise of the same size"
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(300, 4)).astype(np.float32)
    leans = (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)
    seen = Observation(obs, {}, np.zeros(300, np.bool_))
    samples = Samples(seen, ({},), {"leans": leans, "drifts": (obs[:, 0] > 0).astype(np.int64)}, np.arange(300) // 10)
    layers = layers_of(policy, samples)
    assert list(layers) == ["input", "1 linear 2"]
    read = decode(layers["1 linear 2"], samples, ["leans", "drifts"])
    assert read["leans"][0] > 0.95
    assert read["drifts"][0] < 0.65, "the layer has not got the position"


def test_policies_without_a_network_and_missing_packages_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: dict[str, Any] = {
        "env": {"name": "gymnasium", "id": "CartPole-v1"},
        "agent": {"name": "random"},
        "train": {"steps": 10, "sinks": []},
        "evaluation": {"final_episodes": 1},
    }
    run = rlkit.train(resolve("random", tables), run=tmp_path / "run").path
    refused = call("explain", run)
    assert refused.exit_code == 2
    assert 'agent "random": its policy offers no network to look into; it lacks the method score_functions' in (
        refused.output.replace("\n", " ")
    )
    assert call("explain", ROOT / "pretrained" / "cartpole", "--video", tmp_path / "a.avi").exit_code == 2
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("captum"):
            raise ModuleNotFoundError("No module named 'captum'", name="captum")
        return real(name, *rest)

    monkeypatch.setattr("importlib.import_module", lambda name: without(name))
    refused = call("explain", ROOT / "pretrained" / "cartpole")
    assert refused.exit_code == 2
    assert "needs captum; install it with: pip install '.[look]'" in refused.output


def test_the_cells_of_a_view_are_found_on_the_screen() -> None:
    """Against the package: what the agent sees in a cell is what the grid has there."""
    register_ids("minigrid")
    env = gym.make("MiniGrid-DoorKey-8x8-v0")
    world: Any = env.unwrapped
    rng = np.random.default_rng(0)
    for seed in range(5):
        view, _ = env.reset(seed=seed)
        for _ in range(12):
            view = env.step(int(rng.integers(0, 3)))[0]
        cells = view_cells(np.array(world.agent_pos), world.agent_dir, (8, 8), 7, 10)
        grid = world.grid.encode()
        for column, row in zip(*np.nonzero(view["image"][..., 0]), strict=True):  # 0: not seen
            top, left, bottom, right = cells[column, row]
            assert (bottom - top, right - left) == (10, 10)
            if (left // 10, top // 10) != tuple(world.agent_pos):
                assert view["image"][column, row].tolist() == grid[left // 10, top // 10].tolist()
        outside = cells.reshape(-1, 4)[(cells.reshape(-1, 4) == 0).all(1)]
        assert len(outside) + len(np.unique(cells.reshape(-1, 4), axis=0)) >= 49


def test_values_are_drawn_where_their_cells_are() -> None:
    screen = np.full((1, 4, 6, 3), 100, np.uint8)
    cells = np.array([[[[0, 0, 2, 3], [2, 3, 4, 6]]]])  # (1, 1, 2, 4)
    observation = Observation(np.zeros((1, 1, 2, 3)), {"screen": screen, "screen_cells": cells}, np.ones(1, np.bool_))
    placed = on_screen(np.array([[1.0, 2.0]]), observation)
    assert placed[1, 2] == 1
    assert placed[3, 5] == 2
    assert placed[0, 5] == 0
    drawn = overlaid(screen[0], placed, 2.0, "gradient")
    assert drawn[0, 5].tolist() == [70, 70, 70]
    assert drawn[3, 5, 0] > 230
    plain = Observation(np.zeros((1, 2, 2)), {"screen": screen}, np.ones(1, np.bool_))
    assert on_screen(np.array([[1.0, 2.0], [3.0, 4.0]]), plain)[3, 5] == 4


def test_the_most_decisive_step_of_each_part_is_shown() -> None:
    values = np.array([[0, 1, 5], [0, 1, 2], [3, 3, 0], [1, 0, 9]], np.float64)
    assert _decisive(values, 2) == [0, 3]
    assert _decisive(values, 9) == [0, 1, 2, 3]
    kept = Kept()
    for number in range(1000):
        kept.add(number)  # type: ignore[arg-type]
    steps = np.diff(kept.moments)  # type: ignore[arg-type]
    assert len(kept.moments) < 400
    assert len(set(steps.tolist())) == 1
