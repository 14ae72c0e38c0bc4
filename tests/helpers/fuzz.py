"""Bad input for an hour, in pieces: `make fuzz`.

    PYTHONPATH=tests python -m helpers.fuzz [--test NAME]... [--cases 2500] [--minutes M] [--folder runs/fuzz]

Each test of tests/test_fuzz.py is run alone, 250 cases at a time, each piece with a seed of its own. Finished pieces
are lines of FOLDER/pieces.jsonl and are not repeated, so that a fuzz may be made in parts; what pytest printed of a
piece that failed is beside it. `--table` prints the pieces as the table of docs/results/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PIECE = 250
FUZZED = {
    "test_tables_of_a_config": "tables of packaged configs, with entries replaced, removed and added",
    "test_what_check_accepts_can_be_trained": "numbers of configs that `check` accepts, then 10 steps of training",
    "test_bytes_of_a_config": "bytes of packaged configs",
    "test_command_lines": "command lines",
    "test_files_of_a_run": "files of a run, then `evaluate`, `resume` or `compare`",
    "test_result_files": "result files, then `compare`",
}
TESTS = Path(__file__).parents[1]
COUNTS = re.compile(r"(\d+) passing, (\d+) failing", re.MULTILINE)


def piece(test: str, number: int, cases: int, folder: Path) -> dict[str, Any]:
    """Runs one piece: how many cases passed, and whether one failed."""
    begin = os.times()
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place}/pytest",
            "--hypothesis-show-statistics", f"--hypothesis-seed={number}", f"{TESTS / 'test_fuzz.py'}::{test}",
        ]  # fmt: skip
        environment = os.environ | {"FUZZ": str(cases), "TMPDIR": place}
        done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    end, found = os.times(), COUNTS.findall(done.stdout)
    if done.returncode:
        (folder / f"{test}-{number}.txt").write_text(done.stdout + done.stderr)
    return {
        "test": test,
        "piece": number,
        "cases": sum(int(passing) + int(failing) for passing, failing in found),
        "failed": done.returncode != 0,
        "seconds": round(end.elapsed - begin.elapsed, 1),
        "processor_seconds": round(
            end.children_user + end.children_system - begin.children_user - begin.children_system, 1
        ),
    }


def fuzz(folder: Path, tests: list[str], cases: int, minutes: float) -> None:
    done = {(row["test"], row["piece"]) for row in rows(folder)}
    deadline = time.monotonic() + 60 * minutes
    for number in range(-(-cases // PIECE)):
        for test in tests:
            if time.monotonic() > deadline:
                return
            if (test, number) in done:
                continue
            row = piece(test, number, min(PIECE, cases - number * PIECE), folder)
            with (folder / "pieces.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def rows(folder: Path) -> list[dict[str, Any]]:
    log = folder / "pieces.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def table(folder: Path) -> str:
    lines = ["| input | cases | pieces with a failure | processor minutes |", "|---|---|---|---|"]
    found = rows(folder)
    for test, what in [*FUZZED.items(), ("all", "all")]:
        mine = [row for row in found if test in ("all", row["test"])]
        cases, failed, seconds = (sum(row[key] for row in mine) for key in ("cases", "failed", "processor_seconds"))
        lines.append(f"| {what} | {cases:,} | {failed} | {seconds / 60:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="append", choices=list(FUZZED), help="default: all")
    parser.add_argument("--cases", type=int, default=2500, help="for each test")
    parser.add_argument("--minutes", type=float, default=240)
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    if not chosen.table:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        fuzz(chosen.folder, chosen.test or list(FUZZED), chosen.cases, chosen.minutes)
    print(table(chosen.folder))
    sys.exit(any(row["failed"] for row in rows(chosen.folder)))
