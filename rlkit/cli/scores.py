"""The scores of one run, as they are printed after training and evaluation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

from rlkit.cli.console import console, prefix

if TYPE_CHECKING:
    from rlkit.runs.directory import RunDirectory


def show_scores(returns: Any, protocol: dict[str, str]) -> None:
    import numpy as np

    from rlkit.training.evaluation import bootstrap_interval, iqm

    low, high = bootstrap_interval(returns)
    table = Table("score", "value", title=f"{len(returns)} episodes", title_justify="left")
    table.add_row("mean", f"{returns.mean():.2f}")
    table.add_row("median", f"{np.median(returns):.2f}")
    table.add_row("interquartile mean", f"{iqm(returns):.2f}  [{low:.2f}, {high:.2f}] 95% bootstrap over episodes")
    table.add_row("min / max", f"{returns.min():.2f} / {returns.max():.2f}")
    console.print(table)
    console.print("Protocol: " + "; ".join(f"{key}: {value}" for key, value in protocol.items()), markup=False)


def show_finished(run: RunDirectory) -> None:
    """The final score with its protocol, and commands to continue with."""
    import numpy as np

    from rlkit.training.evaluation import bootstrap_interval, iqm

    result = json.loads((run.path / "result.json").read_text())
    returns = np.array(result["final"]["returns"])
    show_scores(returns, result["protocol"])
    low, high = bootstrap_interval(returns)
    early = result["env_steps"] < result["config"]["train"]["steps"]
    console.print(f"\nfinal score {iqm(returns):.4g} (interquartile mean; 95% interval {low:.4g} to {high:.4g})")
    if early:
        console.print(f"solved after {result['env_steps']:,} steps, so training ended early (evaluation.stop)")
    console.print()
    commands = {"watch it  ": f"rlkit view {run.path}", "score it  ": f"rlkit evaluate {run.path}"}
    if not early:
        commands["extend it "] = f"rlkit resume {run.path} --steps {2 * result['env_steps']}"
    for what, command in commands.items():
        console.print(f"{what} {prefix()}{command}", markup=False)
    for picture in sorted(run.path.glob("images/*.png")):
        console.print(f"look at    {picture}", markup=False)
