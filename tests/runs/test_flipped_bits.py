"""One flipped bit in each file of a run in turn: it is noticed, or harmless, as docs/robustness.md lists."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.command import call
from rlkit.errors import RlkitError
from rlkit.metrics.line_log import read
from rlkit.report.results import find
from rlkit.runs.directory import RunDirectory

PLACES = (0.02, 0.35, 0.5, 0.75, 0.99)  # in the file
UNREAD = ("lock", "tensorboard", "evaluation.json")  # by resume, evaluate and compare


def flip(path: Path, place: float, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)


def noticed(run: RunDirectory, name: str) -> bool:
    """Whether reading the run names the damage. Any other error than an RlkitError fails the test."""
    head = name.split("/")[0]
    try:
        if head == "checkpoints":
            step, problems = run.checkpoints.newest_sound()
            return bool(problems) and step is None
        if head == "policies":
            run.load_policy("best" if "best" in name else "last")
        elif head == "metrics.jsonl":
            return bool(read(run.metrics)[1])
        elif head == "config.toml":
            run.config()
        elif head == "run.json":
            run.info()
        elif head == "result.json":
            run.result()
            return bool(find([run.path]).problems)
    except RlkitError:
        return True
    return False


def test_a_flipped_bit_in_each_file(small_run: Path, tmp_path: Path) -> None:
    """Checkpoints, policies and metrics notice every bit. Other files may change a value, without a traceback."""
    seen: dict[str, list[bool]] = {}
    names = [str(path.relative_to(small_run)) for path in sorted(small_run.rglob("*")) if path.is_file()]
    assert {"config.toml", "run.json", "result.json", "metrics.jsonl"} < set(names)
    run = RunDirectory(Path(shutil.copytree(small_run, tmp_path / "run")))
    for name in names:
        for number, place in enumerate(PLACES):
            if (run.path / name).stat().st_size:
                flip(run.path / name, place, number)
                seen.setdefault(name, []).append(noticed(run, name))
            shutil.copy(small_run / name, run.path / name)
    for name, found in seen.items():
        head = name.split("/")[0]
        if head in ("checkpoints", "policies", "metrics.jsonl"):
            assert all(found), name
        assert any(found) or head in (*UNREAD, "result.json", "run.json"), name
    assert noticed(run, "checkpoints") is False


def test_a_run_of_which_any_file_has_a_flipped_bit_ends_in_one_line(small_run: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("config.toml", "run.json", "result.json", "policies/final/state.json")):
        run = Path(shutil.copytree(small_run, tmp_path / str(number)))
        flip(run / name, 0.4, 7)  # no longer UTF-8
        done = call("resume" if name == "result.json" else "evaluate", run)
        assert done.exit_code == 2, name
        assert name.removesuffix("/state.json") in done.output
