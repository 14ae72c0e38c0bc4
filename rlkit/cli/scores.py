"""The scores of one run, as they are printed after training and evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from rlkit.cli.console import console, prefix, say

if TYPE_CHECKING:
    from rlkit.runs.directory import RunDirectory
    from rlkit.runs.evaluate import Evaluation


ONE_EPISODE = (
    "all {} episodes are the same one, because neither the environment nor the greedy policy draws random numbers: "
    "they count as one. For different episodes, set evaluation.epsilon, or make the start depend on the seed"
)


def interval(returns: Any, distinct: int) -> tuple[float, float] | None:
    """The bootstrap interval of the interquartile mean; None if there is one episode only, or one many times."""
    from rlkit.training.evaluation import bootstrap_interval

    return None if len(returns) == 1 or distinct == 1 else bootstrap_interval(returns)


def show_scores(returns: Any, protocol: dict[str, str], distinct: int = 0, successes: Any = None) -> None:
    """distinct: the number of different episodes, 0 if it is not known; successes: of each episode, None if unknown."""
    import numpy as np

    from rlkit.training.evaluation import iqm

    found = interval(returns, distinct)
    title = f"{len(returns)} episodes" if len(returns) > 1 else "1 episode"
    table = Table("score", "value", title=title, title_justify="left")
    if successes is not None:
        table.add_row("success rate", f"{np.mean(successes):.3f}")
    table.add_row("mean", f"{returns.mean():.2f}")
    table.add_row("median", f"{np.median(returns):.2f}")
    bounds = "" if found is None else f"  [{found[0]:.2f}, {found[1]:.2f}] 95% bootstrap over episodes"
    table.add_row("interquartile mean", f"{iqm(returns):.2f}{bounds}")
    table.add_row("min / max", f"{returns.min():.2f} / {returns.max():.2f}")
    console.print(table)
    if distinct == 1 < len(returns):
        say(ONE_EPISODE.format(len(returns)))
    console.print("Protocol: " + "; ".join(f"{key}: {value}" for key, value in protocol.items()), markup=False)


def show_curve(evaluations: Sequence[Evaluation]) -> None:
    """One row for each evaluated checkpoint."""
    from rlkit.training.evaluation import iqm

    table = Table("step", "mean", "interquartile mean", "95% interval", title="checkpoints", title_justify="left")
    for each in evaluations:
        returns, found = each.scores.returns, interval(each.scores.returns, each.scores.distinct)
        bounds = "" if found is None else f"{found[0]:.2f} to {found[1]:.2f}"
        table.add_row(f"{each.env_steps:,}", f"{returns.mean():.2f}", f"{iqm(returns):.2f}", bounds)
    console.print(table)
    protocol = {key: value for key, value in evaluations[0].protocol.items() if key != "parameters"}
    console.print("Protocol: " + "; ".join(f"{key}: {value}" for key, value in protocol.items()), markup=False)


def show_finished(run: RunDirectory) -> None:
    """The final score with its protocol, and commands to continue with."""
    import numpy as np

    from rlkit.training.evaluation import iqm

    result = json.loads((run.path / "result.json").read_text())
    returns = np.array(result["final"]["returns"])
    distinct = result.get("distinct_episodes", 0)
    show_scores(returns, result["protocol"], distinct, result["final"].get("successes"))
    found = interval(returns, distinct)
    bounds = "one episode, no interval" if found is None else f"95% interval {found[0]:.4g} to {found[1]:.4g}"
    early = result["env_steps"] < result["config"]["train"]["steps"]
    episodes = f"{len(returns)} episodes" if len(returns) > 1 else "1 episode"
    console.print(
        f"\nfinal score {returns.mean():.4g} (mean of {episodes}; interquartile mean {iqm(returns):.4g}, {bounds})"
    )
    reached = [value for value in result.get("training", {}).get("episode/return", []) if value]
    if not returns.any() and reached:
        say(
            "all evaluated episodes have a return of 0, but training episodes did not (mean "
            f"{max(reached):.3g} in the best part of training): exploring finds rewards that the final policy does not"
        )
    if early:
        console.print(f"solved after {result['env_steps']:,} steps, so training ended early (evaluation.stop)")
        deciding = result.get("deciding_episodes", 0)
        if deciding and len(returns) > 1:
            played = (
                f"the first {deciding} of the {len(returns)} episodes" if deciding < len(returns) else "these episodes"
            )
            say(f"{played} decided that, so the score may be slightly too high")
    console.print()
    commands = {"watch it  ": f"rlkit view {run.path}", "score it  ": f"rlkit evaluate {run.path}"}
    if not early:
        commands["extend it "] = f"rlkit resume {run.path} --steps {2 * result['env_steps']}"
    for what, command in commands.items():
        console.print(f"{what} {prefix()}{command}", markup=False)
    for picture in sorted(run.path.glob("images/*.png")):
        console.print(f"look at    {picture}", markup=False)
