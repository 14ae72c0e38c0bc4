"""Agents, environments and sinks of somebody else's plug in, by "module:attr" and by entry point."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envs.gymnasium import plugin as gymnasium
from rlkit import plugins, train
from rlkit.errors import ConfigError
from rlkit.testing import check_agent, check_env

ROOT = Path(__file__).parents[1]
CORRIDOR = """
[env]
name = "ENV"
length = 6
[agent]
name = "AGENT"
epsilon = 0.2
[train]
steps = 4000
num_envs = 2
sinks = ["SINK"]
reseed_after = 100
"""
ENTRY_POINTS = """[rlkit.agents]
qtable = my_agent:plugin
broken = my_agent_is_not_here:plugin
[rlkit.envs]
corridor = third_party:corridor
[rlkit.sinks]
counting = third_party:CountingSink
[rlkit.configs]
thirdparty = my_configs
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed distribution: README's agent, tests/helpers/third_party.py, a config, and entry points to them."""
    site = tmp_path_factory.mktemp("site")
    (agent,) = re.findall(r"```python\n(# my_agent\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (site / "my_agent.py").write_text(agent)
    (site / "third_party.py").write_text((ROOT / "tests" / "helpers" / "third_party.py").read_text())
    (site / "my_configs").mkdir()
    (site / "my_configs" / "__init__.py").touch()
    by_name = CORRIDOR.replace("ENV", "corridor").replace("AGENT", "qtable").replace("SINK", "counting")
    (site / "my_configs" / "corridor.toml").write_text("# A corridor\n" + by_name)
    info = site / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


def rlkit(folder: Path, *arguments: str, path: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [str(Path(sys.executable).with_name("rlkit")), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_by_entry_point(package: Path, tmp_path: Path) -> None:
    listed = rlkit(tmp_path, "list", path=package)
    for name in ("qtable", "corridor", "counting", "broken", "A corridor"):
        assert name in listed, "listing imports nothing, so a broken plug-in is listed too"
    rlkit(tmp_path, "train", "corridor", "--run", "run", path=package)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["protocol"]["environment"] == "corridor of 6"
    assert sum(result["final"]["returns"]) == 100, "tabular Q-learning solves a corridor of six cells"
    assert json.loads((tmp_path / "run" / "rows.json").read_text())["q/max"] == 4
    again = "from rlkit.cli import main; main(sys.argv[1:4], standalone_mode=False); main(sys.argv[4:])"
    command = [sys.executable, "-c", f"import sys; {again}", "resume", "run", "--steps=5000", "evaluate", "run"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(package)}, check=True)


@pytest.mark.slow
def test_by_module_and_attribute_from_the_current_folder(package: Path) -> None:
    text = CORRIDOR.replace("ENV", "third_party:corridor").replace("AGENT", "my_agent:plugin")
    (package / "own.toml").write_text(text.replace("SINK", "third_party:CountingSink"))
    rlkit(package, "train", "own.toml", "--run", "run")
    assert (package / "run" / "rows.json").exists()


def test_the_readme_trains_its_own_agent(package: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (config,) = re.findall(r"```toml\n# (lake\.toml\n.*?)```", readme, re.DOTALL)
    name, _, text = config.partition("\n")
    (package / name).write_text(text)
    assert f"rlkit train {name}\n" in readme
    rlkit(package, "train", name, "--run", "lake", "--steps", "20000")
    returns = json.loads((package / "lake" / "result.json").read_text())["final"]["returns"]
    assert sum(returns) >= 40, "random actions reach the goal in about 1 of 100 episodes, the optimum in 74"


def test_they_pass_the_conformance_suites(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    corridor = plugins.load(plugins.ENVS, "helpers.third_party:corridor")
    check_env(corridor, corridor.config(name="helpers.third_party:corridor"))
    agent = plugins.load(plugins.AGENTS, "my_agent:plugin")
    frozen_lake = gymnasium.config(name="gymnasium", id="FrozenLake-v1")
    check_agent(agent, agent.config(name="my_agent:plugin"), gymnasium, frozen_lake)


def test_a_plug_in_that_cannot_be_imported_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    with pytest.raises(ConfigError, match=r"'broken' \(my_agent_is_not_here:plugin\).*my_agent_is_not_here"):
        plugins.load(plugins.AGENTS, "broken")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("json:loads", "no config, agent, policy, describe"),
        (":plugin", "names no object"),
        ("my_agent:Plugin", "is a class; name an instance"),
        ("half_written:plugin", "SyntaxError"),
        ("divided:plugin", r"ZeroDivisionError: .* \(in worked_out, divided.py, line 2\)"),
    ],
)
def test_what_is_no_plug_in_is_refused(name: str, words: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    (package / "half_written.py").write_text("def plugin(:\n")
    (package / "divided.py").write_text("def worked_out():\n    return 1 // 0\n\n\nplugin = worked_out()\n")
    with pytest.raises(ConfigError, match=words):
        plugins.load(plugins.AGENTS, name)


def test_an_agent_that_lacks_a_part_is_refused_in_one_line(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    whole = (package / "my_agent.py").read_text()
    (tmp_path / "lacking.py").write_text(re.sub(r"    updates = 0.*\n", "", whole).replace("def gauges", "def gauge"))
    config = '[env]\nname = "gymnasium"\nid = "FrozenLake-v1"\n[agent]\nname = "lacking:plugin"\n'
    (tmp_path / "lacking.toml").write_text(config + "[train]\nsteps = 100\n")
    agent = plugins.load(plugins.AGENTS, "lacking:plugin")
    lake = gymnasium.config(name="gymnasium", id="FrozenLake-v1")
    with pytest.raises(AssertionError, match=r'agent "lacking:plugin": QTable lacks updates, gauges \(see rlkit.Agent'):
        check_agent(agent, agent.config(name="lacking:plugin"), gymnasium, lake)
    with pytest.raises(ConfigError, match=r"^agent \"lacking:plugin\": QTable lacks updates, gauges \(see rlkit.Agent"):
        train(tmp_path / "lacking.toml", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
