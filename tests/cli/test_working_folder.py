"""Names in the working folder: its modules are found, and hide none of the installed ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDITABLE = """
import sys, importlib.util
from importlib.machinery import PathFinder
class Editable:  # as pip's editable mode: behind the search path
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("rlkit", "agents", "envs", "configs"):
            return importlib.util.spec_from_file_location(name, f"{root}/{{name}}/__init__.py")
sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Editable)
from rlkit.cli import main
main(sys.argv[1:])
"""


def rlkit(folder: Path, *arguments: str, editable: bool) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-P", "-c", EDITABLE.format(root=ROOT), *arguments]
    if not editable:
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "rlkit.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("editable", [pytest.param(True, marks=pytest.mark.slow), False])
def test_packages_of_the_same_names_hide_none_of_ours(editable: bool, tmp_path: Path) -> None:
    for name in ("configs", "agents", "envs"):
        (tmp_path / name).mkdir()
    for name in ("torch.py", "gymnasium.py", "minatar.py", "agents.py", "envs.py", "configs.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    (tmp_path / "my_module.py").write_text("def register():\n    print('found')\n")
    settings = ["--set", "train.steps=20", "--set", 'env.register=["my_module:register"]']
    done = rlkit(tmp_path, "check", "quickstart", *settings, editable=editable)
    assert done.returncode == 0, done.stderr
    assert "found" in done.stdout
