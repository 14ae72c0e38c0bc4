"""`rlkit export`."""

from __future__ import annotations

from pathlib import Path

import click

from rlkit.cli.console import console
from rlkit.cli.options import RUN
from rlkit.cli.trust import TRUST, ask
from rlkit.errors import ConfigError


@click.command()
@RUN
@click.option("--to", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="The format.")
@click.option("--out", type=click.Path(path_type=Path), help="The file; default: the run's name with .onnx.")
@click.option("--checkpoint", default="last", show_default=True, help="last, best, or the step of a checkpoint.")
@TRUST
def export(run: Path, kind: str, out: Path | None, checkpoint: str, trust: bool) -> None:
    """Export RUN's policy as ONNX, with its preprocessing, for use without rlkit and torch.

    The model takes a batch of raw observations and gives the best actions and their values or logits. It is checked
    against the policy on 1,000 observations with onnxruntime. Of h-DQN it is the controller; the goal is an input.

    \b
    rlkit export runs/cartpole-seed0 --to onnx         # writes cartpole-seed0.onnx
    """
    from rlkit.runs.export import export as exported

    ask(run, trust)
    file = out or Path(f"{run.resolve().name}.onnx")
    if file.suffix != ".onnx":
        raise ConfigError(f"{file}: the file must end in .onnx")
    done = exported(run, file, checkpoint)
    console.print(f"written to {file} ({done.size / 2**20:.2f} MiB)", markup=False)
    for what, entries in (("input", done.inputs), ("output", done.outputs)):
        for name, text in entries.items():
            console.print(f"  {what} {name}: {text}", markup=False)
    console.print(
        f"checked with onnxruntime on {done.observations:,} observations: same actions, scores within "
        f"{done.difference:.2g}",
        markup=False,
    )
