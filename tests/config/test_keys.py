"""Keys and values of earlier versions: one line in a user's config, no word where a run wrote the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlkit.config import keys
from rlkit.config.keys import flat, renamed, upgraded
from rlkit.config.load import load, override, packaged, read, resolve
from rlkit.errors import ConfigError

SMALL: dict[str, Any] = {
    "env": {"name": "gymnasium", "id": "CartPole-v1"},
    "agent": {"name": "dqn"},
    "train": {"steps": 100},
}


@pytest.fixture
def old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keys.RENAMED, "agent.rate", "agent.learning_rate")
    monkeypatch.setitem(keys.RENAMED, "agent.old_table.hidden", "agent.network.hidden")


def test_flat() -> None:
    nested = {"a": {"b": {"low": 1, "high": 2}, "c": [3]}, "d": 4}
    assert flat(nested) == {"a.b.low": 1, "a.b.high": 2, "a.c": [3], "d": 4}
    assert flat(nested, is_value=lambda table: "low" in table) == {"a.b": {"low": 1, "high": 2}, "a.c": [3], "d": 4}


@pytest.mark.usefixtures("old_name")
@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("agent.rate", 1e-3, "agent.rate: renamed; use agent.learning_rate"),
        ("agent.old_table.hidden", [8], "agent.old_table.hidden: renamed; use agent.network.hidden"),
        (
            "train.sinks",
            ["jsonl", "images"],
            'train.sinks: "jsonl" is removed, since every run writes metrics.jsonl; leave it out',
        ),
    ],
)
def test_an_old_key_is_one_line_that_names_the_new_one(key: str, value: object, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("mine.toml", override(SMALL, {key: value}))
    assert str(caught.value).splitlines()[0].startswith("mine.toml: ")
    assert line in str(caught.value)
    with pytest.raises(ConfigError, match=r"(?s)renamed.*gama: unknown key"):
        resolve("mine.toml", override(SMALL, {"agent.rate": 1e-3, "agent.gama": 1}))


@pytest.mark.usefixtures("old_name")
def test_a_config_that_a_run_wrote_is_read_with_old_keys(tmp_path: Path) -> None:
    text = '[env]\nname = "gymnasium"\nid = "CartPole-v1"\n[agent]\nname = "dqn"\nrate = 0.5\n[train]\nsteps = 100\n'
    text += 'sinks = ["tensorboard", "jsonl"]\n'
    (tmp_path / "config.toml").write_text(f"# experiment: mine\n\n{text}")
    config = load(tmp_path / "config.toml")
    assert config.agent.learning_rate == 0.5  # type: ignore[attr-defined]
    assert config.train.sinks == ("tensorboard",)
    (tmp_path / "config.toml").write_text(f"# my experiment\n\n{text}")
    with pytest.raises(ConfigError, match="2 problems"):
        load(tmp_path / "config.toml")


@pytest.mark.usefixtures("old_name")
def test_upgrading_changes_neither_its_argument_nor_other_tables() -> None:
    before = {"agent": {"rate": 1, "name": "dqn"}, "train": {"sinks": ("jsonl", "a")}}
    after, lines = upgraded(before)
    assert before == {"agent": {"rate": 1, "name": "dqn"}, "train": {"sinks": ("jsonl", "a")}}
    assert after == {"agent": {"learning_rate": 1, "name": "dqn"}, "train": {"sinks": ["a"]}}
    assert len(lines) == 2
    assert upgraded(after) == (after, [])
    assert upgraded({"agent": "dqn", "train": {"sinks": "jsonl"}})[1] == [], "wrong types are somebody else's to report"


@pytest.mark.usefixtures("old_name")
def test_dotted_values_are_renamed() -> None:
    assert renamed({"agent.rate": 1, "train.steps": 2}) == {"agent.learning_rate": 1, "train.steps": 2}


@pytest.mark.parametrize("name", packaged())
def test_packaged_configs_have_no_old_keys(name: str) -> None:
    assert upgraded(read(name)[1])[1] == []
