"""What earlier versions saved still works: runs resume exactly, policies play, result files are understood."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlkit
from helpers.command import call
from rlkit.config.keys import upgraded
from rlkit.config.load import packaged, read, resolve
from rlkit.runs.checkpoint import load_state
from rlkit.runs.directory import RunDirectory, machine, versions
from rlkit.testing.states import difference, flatten

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def where_numbers_are_alike(info: dict[str, Any]) -> bool:
    """Whether the last digits of this machine and its libraries are those of the run's."""
    here = versions()
    return info["machine"] == machine() and all(
        here.get(name) == version for name, version in info["versions"].items() if name != "rlkit"
    )


@pytest.mark.parametrize("name", ["cartpole", "deep-sea", "hdqn-chain"])
def test_a_run_of_version_0_1_0_resumes_exactly(name: str, tmp_path: Path) -> None:
    """The final policy is the one that version 0.1.0 came to."""
    run = tmp_path / "run"
    shutil.copytree(HERE / name / "run", run)
    with pytest.warns(UserWarning, match=r"rlkit 0\.1\.0 →"):
        rlkit.resume(run)
    expected = json.loads((HERE / name / "expected.json").read_text())
    result = json.loads((run / "result.json").read_text())
    assert result["updates"] == expected["updates"]
    assert result["approximate"] == []
    before = flatten(load_state(HERE / name / "final", HERE / "objects")["policy"])
    now = flatten(RunDirectory.open(run).load_policy("last")[0])
    now = {path: value for path, value in now.items() if path in before}  # a later version may save more
    if where_numbers_are_alike(RunDirectory.open(run).info()):
        assert difference(before, now) is None
        assert {key: result[key] for key in expected} == expected
    else:
        assert before.keys() == now.keys()
        for path, value in before.items():
            torch.testing.assert_close(now[path], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "episodes"), [("cartpole", 5), ("minatar-breakout", 30)])
def test_the_trained_policies_play_as_before(name: str, episodes: int) -> None:
    run = ROOT / "pretrained" / name
    evaluation = rlkit.evaluate_run(run, overrides={"evaluation.final_episodes": episodes})
    final = json.loads((run / "result.json").read_text())["final"]
    assert np.array_equal(evaluation.scores.returns, final["returns"][:episodes])


RESULTS = sorted((ROOT / "docs" / "results" / "data").rglob("*-seed*.json"))


def test_the_configs_of_all_committed_results_are_understood() -> None:
    """Each resolves; else `compare` would take it as it stands, and tell runs apart that are of one experiment."""
    contents = [json.loads(path.read_text()) for path in RESULTS]
    configs = {json.dumps(content["config"]) for content in contents if content.get("config")}
    assert len(configs) > 300
    for config in configs:
        resolve("saved", upgraded(json.loads(config))[0])


# configs that are newer than the default input
WITHOUT_RESULTS = ("classic/", "memory/chain-dqn")


@pytest.mark.parametrize("name", [name for name in packaged() if not name.startswith(WITHOUT_RESULTS)])
def test_configs_behind_published_results_name_their_input(name: str) -> None:
    """They were made with "auto"; the default has changed since, and may change again."""
    agent = read(name)[1]["agent"]
    if agent["name"] in ("dqn", "hdqn"):
        levels = [agent] if agent["name"] == "dqn" else [agent["controller"], agent["meta"]]
        assert [level["network"]["input"] for level in levels] == ["auto"] * len(levels)


@pytest.mark.slow
def test_a_sweep_with_old_keys_finds_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs and files keep the names that the old keys gave them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.toml").write_text(
        f'config = "{HERE / "deep-sea" / "run" / "config.toml"}"\nseeds = 7\n'
        '[set]\ntrain.steps = 250\n[grid]\nagent.bonus.of = ["successor"]\n'
    )
    run = tmp_path / "runs" / "deep-sea-steps=250,of=successor-seed7"
    shutil.copytree(HERE / "deep-sea" / "run", run)
    config = run / "config.toml"
    config.write_text(config.read_text().replace("steps = 400\n", "steps = 250\n"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = call("sweep", "old.toml")
    assert done.exit_code == 0, done.output
    assert "1 run: 1 to resume" in done.output
    assert json.loads((run / "result.json").read_text())["env_steps"] == 250
