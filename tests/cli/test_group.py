"""All commands: help, exit codes, warnings."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from helpers.command import call
from rlkit.cli import main


def test_help_has_examples() -> None:
    assert "rlkit train quickstart" in call("--help").output
    for command in main.commands:
        assert f"rlkit {command}" in call(command, "--help").output


def test_the_threat_model_names_every_command_once() -> None:
    """By what it imports; the ones that ask have --trust, and no others."""
    page = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text()
    lines = re.findall(r"^\| (`.*`) \| (\w+)", page[page.index("## The commands") :], re.MULTILINE)
    rows = {kind: re.findall(r"`(\w+)`", names) for names, kind in lines}
    assert list(rows) == ["imported", "printed", "never"]
    assert sorted(name for names in rows.values() for name in names) == sorted(main.commands)
    asking = {name for name, command in main.commands.items() if "trust" in {each.name for each in command.params}}
    assert set(rows["printed"]) == asking


def test_importing_rlkit_and_asking_for_help_is_quick() -> None:
    code = """
import sys
import rlkit
from rlkit.cli import main
for arguments in ["--help"], ["train", "--help"], ["list"], ["list", "configs", "cartpole"]:
    main(arguments, standalone_mode=False)
assert not {"torch", "gymnasium", "matplotlib"} & set(sys.modules)
assert rlkit.train
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "arguments",
    [
        ("resume", "nowhere"),
        ("evaluate", "nowhere"),
        ("view", "nowhere"),
        ("train", "nowhere"),
        ("train",),
        ("list", "agents", "dnq"),
    ],
)
def test_what_is_not_there_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert call(*arguments).exit_code == 2


INTERRUPTING = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["rlkit", "check", "cartpole"]
from rlkit.start import main
main()
"""


@pytest.mark.parametrize("module", ["click", "torch"])
def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(module: str) -> None:
    """Before any command runs, and inside one."""
    command = [sys.executable, "-c", INTERRUPTING.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (-signal.SIGINT, 1)
    assert "Traceback" not in done.stderr


def test_brackets_in_a_warning_are_text() -> None:
    @main.command("warn", hidden=True)
    def warn() -> None:
        warnings.warn_explicit("give [grid] or [random]", UserWarning, "rlkit/cli/x.py", 1, module="rlkit")

    try:
        assert "give [grid] or [random]" in call("warn").output
    finally:
        main.commands.pop("warn")
