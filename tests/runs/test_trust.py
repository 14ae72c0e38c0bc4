"""A saved run or a result of somebody else's runs no code, unless the user says so."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from helpers.command import call
from rlkit import plugins
from rlkit.cli import trust
from rlkit.config.load import load
from rlkit.errors import ConfigError
from rlkit.report.board import Board
from rlkit.runs.trust import foreign, named_modules
from rlkit.runs.warm_start import pinned, warm_start

EVIL = "from pathlib import Path\nPath({mark!r}).touch()\n"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `evil_worlds` on the search path, not installed; the returned file exists once it was imported."""
    folder, mark = tmp_path / "elsewhere", tmp_path / "imported"
    folder.mkdir()
    (folder / "evil_worlds.py").write_text(EVIL.format(mark=str(mark)))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    yield mark
    sys.modules.pop("evil_worlds", None)


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A run whose config registers `evil_worlds`, without a result."""
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    config = run / "config.toml"
    text = config.read_text().replace("register = []\n", "")
    config.write_text(text.replace('id = "CartPole-v1"', 'id = "CartPole-v1"\nregister = ["evil_worlds"]', 1))
    assert "evil_worlds" in config.read_text()
    return run


@pytest.mark.parametrize(
    "command",
    ["evaluate", "resume", "explain", "attack", "probe", "episodes", "export", "pack"],
)
def test_a_module_from_elsewhere_is_refused_without_a_terminal(command: str, run: Path, evil: Path) -> None:
    done = call(command, run)
    assert done.exit_code == 2, done.output
    assert "evil_worlds" in done.output
    assert "neither an installed package nor in the working folder; to import it, add --trust" in done.output
    assert not evil.exists()


def test_play_asks_too(run: Path, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":none")
    done = call("play", run)
    assert done.exit_code == 2
    assert "to import it, add --trust" in done.output
    assert not evil.exists()


def test_a_warm_start_imports_nothing_of_the_other_run(run: Path, tmp_path: Path, evil: Path) -> None:
    mine = run / "config.toml"
    config = tmp_path / "mine.toml"
    config.write_text(mine.read_text().replace('register = ["evil_worlds"]\n', ""))
    found = pinned(load(str(config), {"train.warm_start.run": str(run)}))
    warm_start(found, _Takes())
    assert found.train.warm_start.env_steps == 400
    assert not evil.exists()


class _Takes:
    """An agent that takes any policy."""

    def warm_start(self, state: dict[str, Any], parts: set[str]) -> None:
        assert state["policy"]


def test_trust_imports_it(run: Path, evil: Path) -> None:
    done = call("evaluate", run, "--episodes", 1, "--trust")
    assert done.exit_code == 0, done.output
    assert "names these modules, which run code: evil_worlds" in done.output
    assert evil.exists()


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_is_asked(run: Path, evil: Path, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(trust.sys, "stdin", Terminal())
    monkeypatch.setattr(click, "confirm", lambda question, err: answer)
    if answer:
        trust.ask(run, trust=False)
    else:
        with pytest.raises(trust.ConfigError, match="not trusted"):
            trust.ask(run, trust=False)


def test_where_modules_may_be(tmp_path: Path, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed, ours, in the working folder: yes. In the run itself, of the standard library, elsewhere: no."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").touch()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").touch()
    run = tmp_path / "run"
    run.mkdir()
    tables = {
        "env": {"register": ["minatar.gym:register_envs", "subprocess", "mine"], "signals": "envs.minigrid:situation"},
        "agent": {"name": "own.agents:plugin", "bonus": {"type": "evil_worlds:Bonus"}},
        "train": {"sinks": ["tensorboard", "not_there:Sink"]},
    }
    assert named_modules(tables) == [
        "envs.minigrid", "evil_worlds", "minatar.gym", "mine", "not_there", "own.agents", "subprocess",
    ]  # fmt: skip
    assert foreign(tables, run).keys() == {"evil_worlds", "subprocess"}
    (run / "hidden.py").touch()
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(run)
    assert "hidden" in foreign({"env": {"register": ["hidden"]}}, run)


HIDDEN = [
    "evil-worlds:plugin",
    "evil_worlds:",
    "evil_worlds:9",
    "\u00e9vil_worlds:plugin",
    "evil_worlds",
    "evil-worlds",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_names_that_only_python_would_understand_import_nothing(
    name: str, evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule that asks and the rule that imports agree, whatever the text looks like."""
    module = name.partition(":")[0]
    (evil.parent / "elsewhere" / f"{module}.py").write_text(EVIL.format(mark=str(evil)))
    tables = {"env": {"name": "gymnasium", "id": name, "register": [name]}, "agent": {"name": name}}
    assert list(foreign(tables, evil.parent)) == [module]
    if plugins.is_reference(name):
        assert ":" not in name or name.isascii() is False
        return
    with pytest.raises(ConfigError, match="names no object"):
        plugins.import_object(name)
    assert not evil.exists()


def test_the_module_in_the_id_of_an_environment_is_asked_for(small_run: Path, tmp_path: Path, evil: Path) -> None:
    """Gymnasium imports what stands before the colon, whatever characters it has."""
    (evil.parent / "elsewhere" / "evil-worlds.py").write_text(EVIL.format(mark=str(evil)))
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace('id = "CartPole-v1"', 'id = "evil-worlds:CartPole-v1"', 1))
    done = call("evaluate", run)
    assert done.exit_code == 2, done.output
    assert "to import it, add --trust" in done.output
    assert not evil.exists()


def test_runs_that_a_command_resumes_import_nothing_more(
    place: Path, evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train --seeds` asks nobody: a run in its place, of the same experiment, has a sink of its own."""
    monkeypatch.chdir(place)
    done = call("train", "small.toml", "--set", "train.steps=100", "--run", "runs/small-seed0")
    assert done.exit_code == 0, done.output
    config = place / "runs" / "small-seed0" / "config.toml"
    config.write_text(
        config.read_text().replace('"tensorboard"', '"evil_worlds:Sink"').replace("steps = 100", "steps = 200")
    )
    assert "evil_worlds" in config.read_text()
    done = call("train", "small.toml", "--seeds", "0")
    assert done.exit_code == 2, done.output
    assert "its config names evil_worlds, which this one does not" in done.output
    assert not evil.exists()


@pytest.mark.parametrize("key", ["agent.name", "env.name", "agent.bonus.type"])
def test_results_are_compared_and_drawn_without_imports(key: str, small_run: Path, tmp_path: Path, evil: Path) -> None:
    """Of result files, of finished run directories, and of unfinished ones."""
    folder = tmp_path / "runs"
    for name in ("finished", "unfinished"):
        shutil.copytree(small_run, folder / name)
    content = json.loads((small_run / "result.json").read_text())
    table, *parents, last = key.split(".")
    place = content["config"][table]
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = "evil_worlds:plugin"
    (folder / "alone.json").write_text(json.dumps({**content, "seed": 9}))
    for name in ("finished", "unfinished"):
        config = folder / name / "config.toml"
        if key == "agent.bonus.type":
            config.write_text(config.read_text() + '\n[agent.bonus]\ntype = "evil_worlds:plugin"\n')
        else:
            name = {"agent": "dqn", "env": "gymnasium"}[table]
            config.write_text(config.read_text().replace(f'name = "{name}"', 'name = "evil_worlds:plugin"', 1))
        assert "evil_worlds" in config.read_text()
    (folder / "unfinished" / "result.json").unlink()
    for command in (
        ["compare", folder],
        ["plot", folder, "--y", "episode/return", "--out", tmp_path / "p.png"],
        ["report", folder, "--html", tmp_path / "report.html"],
        ["card", folder / "finished", "--out", tmp_path / "card.md"],
    ):
        done = call(*command)
        assert done.exit_code == 0, done.output
    Board([folder], tmp_path / "board").update()  # of `rlkit view`
    assert not evil.exists()
