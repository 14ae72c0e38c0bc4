"""The package of docs/extend.md: made from the page, installed by pip, and run in an empty folder by its names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extend.md"


def blocks() -> dict[str, str]:
    """File name → text, of the blocks that begin with a comment naming a file; pyproject.toml is the one without."""
    found = {}
    for text in re.findall(r"^```(?:python|toml)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        name = re.match(r"# ([\w.]+)\n", text)
        found[name[1] if name else "pyproject.toml"] = text
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip installed the package, without reading an index."""
    package, site = tmp_path_factory.mktemp("my_corridor"), tmp_path_factory.mktemp("site")
    texts = blocks()
    tree = re.search(r"^```text\nmy_corridor/\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
    folder = package
    for line in tree.splitlines():
        name = line.strip()
        if name.endswith("/"):
            folder = package / name
            folder.mkdir()
        else:
            (folder / name).write_text(texts.get(name, ""))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(package)], check=True)
    return site


@pytest.mark.slow
def test_the_template_is_installed_and_trains_by_its_names(site: Path, tmp_path: Path) -> None:
    config = blocks()["corridor.toml"]
    assert "corridor.toml" in os.listdir(site / "my_corridor_configs")
    assert config == (site / "my_corridor_configs" / "corridor.toml").read_text()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-m", "rlkit.cli", "train", "corridor", "--run", "run", "--set", "env.name=corridor"]
    tiny = [
        "--set",
        "env.length=10",
        "--set",
        "train.steps=400",
        "--set",
        "agent.learning_starts=100",
        "--set",
        'train.sinks=["last-values"]',
    ]
    done = subprocess.run([*command, *tiny], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "run" / "last_values.json").read_text())["env_steps"] == 400
    assert json.loads((tmp_path / "run" / "result.json").read_text())["protocol"]["environment"] == "corridor of 10"
