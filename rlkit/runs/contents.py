"""Which files a run writes into its directory. Whatever else is there belongs to somebody, and is not removed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rlkit.config.tables import SAVED
from rlkit.errors import RunError
from rlkit.files import LOCK, TEMPORARY, read_json
from rlkit.training.parts import NAME as PART

STATE = r"(state\.json|arrays\.safetensors)"
PIECE = r"[0-9a-f]{40}\.npy"
FILES = re.compile(
    "|".join((
        r"lock|config\.toml|run\.json|metrics\.jsonl|tracking\.json",
        rf"tapes/{PART.pattern}",
        rf"checkpoints/(\.?[0-9]{{12,18}}(\.\w+)?/{STATE}|objects/{PIECE})",
        rf"policies/(\.?(best|final)(\.\w+)?/{STATE}|objects/{PIECE})",
        r"tensorboard/events\.out\.tfevents\.[^/]+",
        r"images/[^/]+\.png",
    ))
)  # fmt: skip
FOLDERS = ("tapes", "checkpoints", "policies", "tensorboard", "images")


def others(run: Path) -> list[str]:
    """What a run without a result did not write into the directory, as far as names and markers tell; sorted.

    Only a directory with a run.json, which a run writes first and which is removed last, has more than a lock and a
    config: pictures in a folder `images` alone are somebody's.
    """
    marked = _is_info(run / "run.json")
    found = []
    for path in run.rglob("*"):
        name = path.relative_to(run).as_posix()
        if path.is_dir():
            known = "/" in name or name in FOLDERS
        elif TEMPORARY.fullmatch(path.name):
            known = True
        elif name == "lock":
            known = LOCK.fullmatch(path.read_bytes()[:300].decode(errors="replace").strip()) is not None
        elif name == "config.toml":
            known = marked or path.read_bytes().startswith(SAVED.encode())
        else:
            known = marked and FILES.fullmatch(name) is not None
        if not known:
            found.append(name)
    return sorted(found)


def _is_info(path: Path) -> bool:
    """Whether a file is a run.json."""
    try:
        return {"experiment", "seed", "versions"} <= read_json(path).keys()
    except RunError:
        return False


def clear(run: Path) -> None:
    """Removes all that a run wrote but the lock; the marker last, so that a kill leaves a directory that has it."""
    for parent, folders, files in os.walk(run, topdown=False):
        place = Path(parent)
        for name in files:
            if place != run or name not in ("lock", "run.json"):
                (place / name).unlink()
        for name in folders:
            (place / name).rmdir()
    (run / "run.json").unlink(missing_ok=True)
