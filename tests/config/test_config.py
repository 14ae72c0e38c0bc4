from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit.config.load import load, override, packaged, parse_override, read, resolve
from rlkit.config.model import merged
from rlkit.errors import ConfigError

SMALL = {
    "env": {"name": "gymnasium", "id": "CartPole-v1"},
    "agent": {"name": "dqn"},
    "train": {"steps": 100},
}


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_config_resolves_and_says_what_it_is(name: str) -> None:
    config = load(name)
    assert config.label == name
    assert packaged()[name].read_text().startswith("# ")


@pytest.mark.parametrize("name", packaged())
def test_a_written_config_is_the_same_experiment(name: str, tmp_path: Path) -> None:
    config = load(name)
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    again = load(path)
    assert again == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("agent.learning_rate=1e-4", ("agent.learning_rate", 1e-4)),
        ("train.steps = 1_000", ("train.steps", 1000)),
        ("agent.double=true", ("agent.double", True)),
        ("agent.network.hidden=[64, 64]", ("agent.network.hidden", [64, 64])),
        ("env.id=CartPole-v1", ("env.id", "CartPole-v1")),
        ('env.id="CartPole-v1"', ("env.id", "CartPole-v1")),
        ("env.kwargs={is_slippery = false}", ("env.kwargs", {"is_slippery": False})),
    ],
)
def test_overrides_are_toml_values_or_strings(text: str, expected: tuple[str, object]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize(
    ("agent", "table", "resolved"),
    [
        ("ppo", {"optimizer": {"betas": [0.8, 0.9]}}, {"type": "adam", "betas": (0.8, 0.9), "eps": 1e-5}),
        ("ppo", {"optimizer": {"eps": 1e-3}}, {"type": "adam", "eps": 1e-3}),
        ("ppo", {"optimizer": {"type": "rmsprop"}}, {"type": "rmsprop", "eps": None}),
        ("dqn", {"target": {"every": 9}}, {"every": 9, "tau": 1.0}),  # its keys exclude each other
    ],
)
def test_a_table_keeps_the_other_values_that_the_agent_sets(
    agent: str, table: dict[str, Any], resolved: dict[str, Any]
) -> None:
    config = resolve("test", {**SMALL, "agent": {"name": agent, **table}})
    (name,) = table
    assert {key: getattr(getattr(config.agent, name), key) for key in resolved} == resolved


@pytest.mark.parametrize(
    ("values", "bonus"),
    [
        ({"agent.bonus.type": "rnd", "agent.bonus.beta": 0.3}, {"type": "rnd", "beta": 0.3}),
        ({"agent.bonus.beta": 0.3, "agent.bonus.type": "rnd"}, {"type": "rnd", "beta": 0.3}),
        ({"agent.bonus.type": "count"}, {"type": "count", "beta": 0.1, "episodic": "first"}),
        ({"agent.bonus.beta": 0.3}, {"beta": 0.3, "episodic": "first"}),
    ],
)
def test_another_type_of_bonus_inherits_no_keys(values: dict[str, Any], bonus: dict[str, Any]) -> None:
    tables = override(SMALL, {"agent.bonus": {"beta": 0.1, "episodic": "first"}})
    assert override(tables, values)["agent"]["bonus"] == bonus
    plain = override(SMALL, values)["agent"]["bonus"]  # without a bonus before
    assert plain == {key.rpartition(".")[2]: value for key, value in values.items()}


def test_false_unsets_a_key_of_a_bonus() -> None:
    tables = override(SMALL, {"agent.bonus": {"counts": {"limit": 5}, "deviation": 0.1}})
    unset = override(tables, {"agent.bonus.counts.limit": False, "agent.bonus.deviation": False})
    agent: Any = resolve("c", unset).agent
    assert (agent.bonus.counts.limit, agent.bonus.deviation) == (None, None)


def test_keys_of_other_tables_are_left_alone() -> None:
    tables = override(SMALL, {"env.kwargs.bonus": {"a": 1}})
    assert override(tables, {"env.kwargs.bonus.type": "b"})["env"]["kwargs"]["bonus"] == {"a": 1, "type": "b"}
    level = override({"agent": {"controller": {"bonus": {"beta": 0.1}}}}, {"agent.controller.bonus.type": "rnd"})
    assert level["agent"]["controller"]["bonus"] == {"type": "rnd"}


@pytest.mark.parametrize("text", ["agent.learning_rate", "=3", "agent..x=3", ""])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_override(text)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("agent.learnig_rate", 1e-4, ["agent.learnig_rate: unknown key", "did you mean learning_rate"]),
        ("trian", {}, ["trian: unknown key", "did you mean train"]),
        ("agent.network.hiden", [3], ["agent.network.hiden: unknown key", "hidden"]),
        ("agent.replay_capacity", -5, ["agent.replay_capacity", "greater than", "got -5"]),
        ("train.steps", "many", ["train.steps", "integer", 'got "many"']),
        ("train.steps", True, ["train.steps", "integer"]),
        ("train.steps", 2.5, ["train.steps", "integer"]),
        ("train.device", "gpu", ["train.device", "gpu", "cuda"]),
        ("evaluation.epsilon", 1.5, ["evaluation.epsilon", "less than or equal to 1"]),
        ("agent.name", "dnq", ["agent.name", "did you mean dqn", "random"]),
        ("agent.name", "no_such:thing", ["agent.name", "no_such"]),
        ("agent.name", "rlkit.types:Nothing", ["agent.name", "Nothing"]),
        ("env.name", "gymnasum", ["env.name", "did you mean gymnasium"]),
        ("env.register", "ale_py", ['env.register: must be a list, as in register = ["ale_py"]']),
        ("env.wrappers", [{"kwargs": {}}], ["c: env.wrappers.0.path: missing"]),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(key: str, value: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("c", override(SMALL, {key: value}))
    message = str(caught.value)
    assert message.startswith("c: ")
    for word in words:
        assert word in message, message


def test_all_mistakes_are_named_at_once() -> None:
    mistakes = {"agent.gama": 1, "agent.batch_size": 0, "train.steps": -1, "env.idd": 3, "evaluation.episodes": "x"}
    with pytest.raises(ConfigError) as caught:
        resolve("c", override(SMALL, mistakes))
    assert "5 problems" in str(caught.value)
    for key in mistakes:
        assert f"\n  {key}: " in str(caught.value)


def test_missing_tables_and_keys_are_named() -> None:
    message = r"(?s)env\.name: missing.*agent\.name: missing.*train: missing; it needs train\.steps"
    with pytest.raises(ConfigError, match=message):
        resolve("c", {})


@pytest.mark.parametrize("source", ["quickstrat", "no/such.toml"])
def test_an_unknown_config_is_refused_with_the_known_ones(source: str) -> None:
    with pytest.raises(ConfigError, match="quickstart"):
        read(source)


def test_broken_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[env]\nname = \n")
    with pytest.raises(ConfigError, match="line 2"):
        read(path)


def test_a_config_starts_from_its_base(tmp_path: Path) -> None:
    """Keys that are given replace the base's, key by key in nested tables too; the base's own base comes first."""
    (tmp_path / "folder").mkdir()
    below, above = tmp_path / "folder" / "below.toml", tmp_path / "folder" / "above.toml"
    below.write_text('base = "deep-sea"\n[agent]\nepsilon = { start = 0.5, end = 0.5 }\nbonus = false\n')
    above.write_text('base = "below.toml"\n[agent]\ndouble = false\n')
    label, tables = read(above)
    expected = read("deep-sea")[1]
    expected["agent"] |= {
        "epsilon": {**expected["agent"]["epsilon"], "start": 0.5, "end": 0.5},
        "bonus": False,
        "double": False,
    }
    assert (label, tables) == ("above", expected)
    assert resolve(label, tables).agent.bonus is None  # type: ignore[attr-defined]


def test_a_table_of_another_type_or_name_inherits_nothing() -> None:
    under = {"env": {"name": "atari", "game": "pong"}, "bonus": {"hash": {"type": "bits", "bits": 8}, "beta": 1}}
    over = {"env": {"name": "chain"}, "bonus": {"hash": {"type": "exact"}}}
    assert merged(under, over) == {"env": {"name": "chain"}, "bonus": {"hash": {"type": "exact"}, "beta": 1}}
    over = {"env": {"name": "atari"}, "bonus": {"hash": {"bits": 4}}, "train": {"steps": 5}}
    hashed = {"hash": {"type": "bits", "bits": 4}, "beta": 1}
    assert merged(under, over) == {"env": under["env"], "bonus": hashed, "train": {"steps": 5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "quickstrat"', r"own\.toml: base: no config 'quickstrat' \(did you mean quickstart"),
        ('base = "own.toml"', r"own\.toml: base: 'own\.toml' inherits from this config itself"),
        ('base = "../{folder}/own.toml"', r"own\.toml: base: '.*own\.toml' inherits from this config itself"),
        ("base = 3", "own.toml: base: expected the name of a packaged config or of a file, got 3"),
    ],
)
def test_what_is_no_base_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text.format(folder=tmp_path.name))
    with pytest.raises(ConfigError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=false", False),
        ("a.b = 1e-4", 1e-4),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b='False'", "False"),
        ("a.b=breakout", "breakout"),
        ("a.b=4x4", "4x4"),
        ("a.b=cuda:1", "cuda:1"),
        ("a.b=./levels/one", "./levels/one"),
    ],
)
def test_values_of_overrides_are_toml_and_single_words(text: str, value: object) -> None:
    assert parse_override(text) == ("a.b", value)


@pytest.mark.parametrize(
    ("value", "instead"),
    [("False", "write false"), ("True", "write true"), ("None", "write false, or leave"), ("Off", "write false"),
     ("two words", "texts have quotes"), ("[a, b]", "texts have quotes"), (".5", "numbers are 0.5"), ("", "numbers"),
     ("1,5", "lists")],
)  # fmt: skip
def test_other_text_is_refused_with_what_to_write(value: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=f"--set a.b: .*{instead}"):
        parse_override(f"a.b={value}")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "env.kwargs: size is None, which TOML cannot express"),
        ({"inner": [1, None]}, "env.kwargs: inner is None"),
        (np.zeros(2), "got a numpy.ndarray"),
        (len, "got a builtin_function_or_method"),
    ],
)
def test_values_from_python_that_toml_lacks_are_refused(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("deep-sea", {"env.kwargs.size": value})


def test_numbers_of_numpy_are_numbers() -> None:
    assert load("deep-sea", {"env.kwargs.size": np.int64(5)}).env.kwargs == {"size": 5}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("learning_rate", "did you mean agent.learning_rate"),
        ("agent.lr", "did you mean learning_rate"),
        ("agent.gamma", "did you mean discount"),
        ("train.buffer_size", "did you mean agent.replay_capacity"),
        ("train.total_timesteps", "did you mean steps"),
        ("agent.final_episodes", "did you mean evaluation.final_episodes"),
    ],
)
def test_keys_of_other_places_and_libraries_get_a_suggestion(key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: unknown key .{hint}"):
        load("cartpole", {key: 1})


def test_false_unsets_inherited_keys_and_tables() -> None:
    keys = ("train.visits", "evaluation.stop", "env.signals", "agent.bonus", "agent.network.hidden")
    tables = load("deep-sea", dict.fromkeys(keys, False)).tables()
    assert not {"visits"} & tables["train"].keys() | {"stop"} & tables["evaluation"].keys()
    assert "signals" not in tables["env"]
    assert "bonus" not in tables["agent"]
    with pytest.raises(ConfigError, match=r"train\.steps"):
        load("deep-sea", {"train.steps": False})


def test_another_agent_over_a_base_inherits_none_of_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('base = "deep-sea"\n[agent]\nname = "random"\n')
    for config in (load(path), load("deep-sea", {"agent.name": "random"})):
        assert config.tables()["agent"] == {"name": "random"}
        assert config.tables()["env"] == load("deep-sea").tables()["env"]
    assert load("deep-sea", {"agent.name": "dqn"}) == load("deep-sea")


def test_a_base_beside_the_config_needs_no_suffix(tmp_path: Path) -> None:
    (tmp_path / "keydoor.toml").write_text('base = "cartpole"\n[train]\nsteps = 7\n')
    (tmp_path / "cartpole.toml").write_text("[train]\nsteps = 1\n")  # packaged names keep their meaning
    path = tmp_path / "own.toml"
    path.write_text('base = "keydoor"\n')
    assert load(path).train.steps == 7


def test_overriding_does_not_change_what_it_was_given() -> None:
    before = resolve("x", SMALL)
    override(SMALL, {"train.steps": 7, "agent.network.hidden": [1]})
    assert resolve("x", SMALL) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 1000 + "]" * 1000, "not valid TOML"),
        ("x = " + "9" * 5000, "not valid TOML"),
        ('base = "a\\u0000b"', "base: expected the name"),
        (".".join("a" * 300) + " = 1", "levels deep"),
        ("x = " + "[" * 60 + "]" * 60, "levels deep"),
    ],
)
def test_files_that_would_exceed_a_limit_of_python(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(path)


def test_names_and_settings_that_would_exceed_a_limit_of_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the name of a config"):
        load("a\0b")
    for value in ("[" * 1000, "9" * 5000):
        with pytest.raises(ConfigError, match=r"--set agent\.x: .*not a value"):
            parse_override(f"agent.x={value}")
    with pytest.raises(ConfigError, match="levels deep"):
        load("cartpole", {".".join("a" * 300): 1})
    with (tmp_path / "long.toml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="at most"):
        load(tmp_path / "long.toml")


def test_a_label_with_markup_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "plain.toml"
    path.write_text("# experiment: [/x]\n" + packaged()["cartpole"].read_text())
    assert load(path).label == "plain"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("cartpole", "agent.updates_per_step"),
        ("hdqn/doorkey", "agent.controller.updates_per_step"),
        ("hdqn/doorkey", "agent.meta.updates_per_option"),
        ("atari/hash-learned", "agent.bonus.features.updates_per_step"),
    ],
)
def test_updates_without_end_are_refused(config: str, key: str) -> None:
    """1e8 of them would be a run that never makes its next step."""
    load(config, {key: 1.0})
    with pytest.raises(ConfigError, match=r"updates_per_\w+.*1000"):
        load(config, {key: 1e8})


def test_a_chain_of_configs_that_is_too_long_is_refused(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.toml").write_text(f'base = "{number + 1}"\n')
    with pytest.raises(ConfigError, match="more than 50 configs inherit from one another"):
        load(tmp_path / "0.toml")
