"""Result files like the committed ones, with changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "docs" / "results" / "data"


class ResultWriter:
    """Writes result files into a folder; `config__agent__n_step=3` changes a key of a table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = (DATA / "cartpole" / "rlkit-seed0.json").read_text()

    def __call__(self, name: str, *, score: float = 1.0, seed: int = 0, **changes: Any) -> Path:
        content = json.loads(self.template)
        content["seed"] = content["config"]["train"]["seed"] = seed
        content["final"] = {"episodes": 2, "returns": [score - 1, score + 1], "lengths": [1, 1]}
        content["curve"] = [{"env_steps": step, "return_mean": score * step} for step in (100, 200, 300)]
        for key, value in changes.items():
            table, _, last = key.rpartition("__")
            where = content
            for part in table.split("__") if table else []:
                where = where[part]
            where[last] = value
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path
