"""Packs what a policy needs into one small archive: its config, parameters, result, and the names of its modules."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rlkit.errors import RunError
from rlkit.files import writing
from rlkit.runs.directory import BEST, RunDirectory
from rlkit.runs.trust import named_modules

KEPT = ("config.toml", "run.json", "result.json")


@dataclass(frozen=True, slots=True)
class Packed:
    """What an archive holds."""

    path: Path
    size: int  # bytes
    env_steps: int  # of the policy
    modules: list[str]  # that evaluating it imports, besides rlkit's own


def pack(run: Path, out: Path, checkpoint: str = "last") -> Packed:
    """Writes a .zip of a run directory that `evaluate` and `load_policy` can use; it is data only, and small.

    checkpoint: "last", "best" or the step of a checkpoint; in the archive it is the last policy. Replay, optimizer and
    metrics are left out, so it cannot be resumed. Raises RunError for another suffix, an existing file, and a run
    without such a policy.
    """
    if out.suffix != ".zip":
        raise RunError(f"{out}: archives are written as .zip")
    if out.exists():
        raise RunError(f"{out} exists; choose another name")
    opened = RunDirectory.open(run)
    state, env_steps = opened.load_policy(checkpoint)
    with tempfile.TemporaryDirectory() as temporary:
        small = RunDirectory(Path(temporary) / "run")
        small.path.mkdir()
        small.save_policy("final", state, env_steps)
        for name in KEPT:
            if (run / name).is_file():
                shutil.copy(run / name, small.path / name)
        if checkpoint == BEST and (run / "run.json").is_file():
            small.amend(packed=BEST)  # so that it is evaluated as the best policy is
        with writing(out) as written, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path for path in small.path.rglob("*") if path.is_file()):
                archive.write(file, Path(out.stem) / file.relative_to(small.path))
    own = ("rlkit", "agents", "envs", "configs")
    modules = [name for name in named_modules(opened.config().tables()) if name.partition(".")[0] not in own]
    return Packed(out, out.stat().st_size, env_steps, modules)
