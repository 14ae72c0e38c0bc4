"""Bad input of all kinds ends in one line: never in a traceback, and never with a change outside the run.

`make test` tries some; `make fuzz` (tests/helpers/fuzz.py) sets FUZZ to the number of cases per test.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.command import call
from helpers.soak_worlds import WORLDS
from helpers.soak_worlds import tables as world_tables
from rlkit.config.load import load, packaged, read, resolve
from rlkit.errors import CapacityError, RlkitError
from rlkit.runs.assemble import assemble, describe
from rlkit.runs.directory import RunDirectory

FUZZ = int(os.environ.get("FUZZ", "0"))


def cases(few: int) -> settings:
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=FUZZ or few, deadline=None, suppress_health_check=quiet, database=None)


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.just(10**400),
    st.sampled_from(["", "a:b", ":", "json:loads", "..", "/etc", "[/x]", "\0", "nan", "9" * 5000]),
    st.just("rlkit.errors:RlkitError"),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all entries, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*path, key), *places(item, (*path, key)))]


def changed(draw: st.DataObject, value: Any) -> Any:
    """A copy in which up to three entries are removed, replaced or added."""
    copy = json.loads(json.dumps(value, default=str))
    for _ in range(draw.draw(st.integers(1, 3))):
        found = places(copy)
        if not found:
            break
        *parents, last = draw.draw(st.sampled_from(found))
        table = copy
        for parent in parents:
            table = table[parent]
        match draw.draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                table[last] = draw.draw(ODD)
            case "remove":
                del table[last]
            case "add" if isinstance(table, dict):
                table[draw.draw(st.text(max_size=4))] = draw.draw(ODD)
    return copy


@cases(120)
@given(draw=st.data())
def test_tables_of_a_config(draw: st.DataObject) -> None:
    name = draw.draw(st.sampled_from(sorted(packaged())))
    with contextlib.suppress(RlkitError):
        resolve(name, changed(draw, read(name)[1]))


NUMBERS = [0, 1, 2, 3, 5, 8, 31, 64, 100, 1000, 0.0, 0.1, 0.5, 0.9, 1.0, 2.5, 1e-8, 1e8, -1]
PLAYED = [world for world in WORLDS if not any(part in world for part in ("ALE", "processes", "--seeds"))]


@cases(4)
@given(draw=st.data())
def test_what_check_accepts_can_be_trained(draw: st.DataObject, tmp_path: Path) -> None:
    """Numbers of a config are replaced; if `rlkit check` can describe it, training begins."""
    tables = resolve("fuzz", world_tables(draw.draw(st.sampled_from(PLAYED)))).tables()
    numbers = [path for path in places(tables) if path[0] in ("agent", "train")
               and type(reduce(getitem, path, tables)) in (int, float)]  # fmt: skip
    for path in draw.draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=3)):
        table = reduce(getitem, path[:-1], tables)
        table[path[-1]] = type(table[path[-1]])(draw.draw(st.sampled_from(NUMBERS)))
    try:
        config = resolve("fuzz", tables)
        describe(config)
    except RlkitError:
        return
    if config.train.num_envs > 8:
        return
    try:
        session = assemble(config, lambda device: RunDirectory.create(tmp_path / uuid4().hex, config, {}))
    except CapacityError:  # `check` builds no replay; it prints the memory, with a note if it is too much
        return
    try:
        session.trainer.start()
        for _ in range(10):
            session.trainer.step()
    finally:
        session.close()


@cases(30)
@given(draw=st.data())
def test_bytes_of_a_config(draw: st.DataObject, tmp_path: Path) -> None:
    text = packaged()[draw.draw(st.sampled_from(sorted(packaged())))].read_bytes()
    (tmp_path / "c.toml").write_bytes(spoiled(draw, text))
    with contextlib.suppress(RlkitError):
        load(tmp_path / "c.toml")


def spoiled(draw: st.DataObject, content: bytes) -> bytes:
    """`content` cut, with a changed byte, or with something put in."""
    place = draw.draw(st.integers(0, max(0, len(content) - 1)))
    match draw.draw(st.sampled_from(["cut", "byte", "insert", "other"])):
        case "cut":
            return content[:place]
        case "byte":
            return content[:place] + bytes([draw.draw(st.integers(0, 255))]) + content[place + 1 :]
        case "insert":
            return content[:place] + draw.draw(st.binary(max_size=5)) + content[place:]
    return draw.draw(st.sampled_from([b"", b"5", b"null", b"[]", b"{}", b"[" * 5000, b"\xff", b'{"format": 1}']))


OPTIONS = "--set --seeds --seed --steps --out --jobs --data --run --trust --x --y --group-by"
VALUES = "agent.name=1 train.steps=-1 a= = x.y 0-3 9-1 1e9 -1 p.png p.txt cartpol . agents dqn configs keys no/such/run"
WORDS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),  # as a process can be given
    st.sampled_from(f"{OPTIONS} {VALUES}".split(" ")),
)
COMMANDS = [
    "train",
    "sweep",
    "resume",
    "evaluate",
    "explain",
    "attack",
    "probe",
    "episodes",
    "compare",
    "plot",
    "list",
    "check",
    "describe",
]


@cases(30)
@given(command=st.sampled_from(COMMANDS), words=st.lists(WORDS, max_size=5))
def test_command_lines(command: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(command, *words)
    assert done.exit_code in (0, 1, 2), done.output
    assert "Traceback" not in done.output


@cases(40)
@given(draw=st.data())
def test_files_of_a_run(draw: st.DataObject, small_run: Path, tmp_path: Path) -> None:
    """One file of a run is spoiled; then it is evaluated, resumed or compared."""
    folder = tmp_path / "place"
    shutil.rmtree(folder, ignore_errors=True)
    run = Path(shutil.copytree(small_run, folder / "run"))
    sentinel = folder / "thesis.npy"
    sentinel.write_text("mine")
    path = draw.draw(
        st.sampled_from(sorted(path for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name))
    )
    if path.suffix == ".json" and draw.draw(st.booleans()):
        path.write_text(json.dumps(changed(draw, json.loads(path.read_text()))))
    else:
        path.write_bytes(spoiled(draw, path.read_bytes()))
    command = draw.draw(st.sampled_from([["evaluate", run, "--episodes", 1], ["resume", run], ["compare", run]]))
    done = call(*command)
    assert done.exit_code in (0, 1, 2), done.output
    assert "Traceback" not in done.output
    assert sorted(entry.name for entry in folder.iterdir()) == ["run", "thesis.npy"]
    assert sentinel.read_text() == "mine"


@cases(30)
@given(draw=st.data())
def test_result_files(draw: st.DataObject, small_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    whole = json.loads((small_run / "result.json").read_text())
    path.write_text(json.dumps(changed(draw, whole)))
    done = call("compare", path)
    assert done.exit_code in (0, 2), done.output
