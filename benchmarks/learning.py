"""The tables and the picture of docs/results/engine.md, from the result files in docs/results/data/.

    python benchmarks/learning.py            prints the tables
    python benchmarks/learning.py --draw     also draws docs/images/learning.png

A run counts with the mean return of its final evaluation episodes. Over seeds: the interquartile mean with a percentile
bootstrap interval (95%, resampling seeds); between libraries the difference of the two, each side resampled.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.evaluation import bootstrap_interval, iqm

DATA = Path("docs/results/data")
PICTURE = Path("docs/images/learning.png")
EXPERIMENTS = {
    "quickstart": "CartPole-v1",
    "minatar-breakout": "MinAtar Breakout",
    "minatar-space-invaders": "MinAtar Space Invaders",
}
LIBRARIES = {"rlkit": "rlkit", "sb3": "Stable-Baselines3"}


def results(experiment: str, library: str) -> list[dict[str, Any]]:
    """The result files of one experiment, by seed."""
    files = sorted((DATA / experiment).glob(f"{library}-seed*.json"))
    return sorted((json.loads(path.read_text()) for path in files), key=lambda result: result["seed"])


def scores(runs: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(seeds,) the mean final return of each run."""
    return np.array([np.mean(run["final"]["returns"]) for run in runs])


def difference_interval(ours: NDArray[Any], theirs: NDArray[Any], resamples: int = 10_000) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of iqm(ours) - iqm(theirs), seeds of each resampled on their own."""
    rng = np.random.default_rng(0)
    draws = [iqm(rng.choice(ours, len(ours))) - iqm(rng.choice(theirs, len(theirs))) for _ in range(resamples)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def show(experiment: str, title: str) -> None:
    print(f"\n### {title}\n")
    print(
        "| library | seeds | interquartile mean [95%] | mean | lowest seed | highest seed | training, minutes a run |"
    )
    print("|---|---|---|---|---|---|---|")
    found = {}
    for library, name in LIBRARIES.items():
        runs = results(experiment, library)
        if runs:
            found[library] = values = scores(runs)
            low, high = bootstrap_interval(values)
            interval = f"[{low:.2f}, {high:.2f}]" if len(values) > 2 else "(no interval: too few seeds)"
            minutes = np.median([run.get("train_seconds", run.get("wall_seconds")) for run in runs]) / 60
            print(
                f"| {name} | {len(values)} | {iqm(values):.2f} {interval} | {values.mean():.2f} "
                f"| {values.min():.2f} | {values.max():.2f} | {minutes:.1f} |"
            )
    if len(found) == 2 and all(len(values) > 2 for values in found.values()):
        low, high = difference_interval(found["rlkit"], found["sb3"])
        base = iqm(found["sb3"])
        gap = iqm(found["rlkit"]) - base
        share = ", ".join(f"{100 * value / base:+.0f}%" for value in (gap, low, high))
        print(f"\nDifference of the interquartile means: {gap:+.2f} [{low:+.2f}, {high:+.2f}]; of theirs: {share}.")


def draw(experiments: dict[str, str]) -> None:
    """One panel an experiment: evaluation return against environment steps, interquartile mean and interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(experiments), figsize=(4.2 * len(experiments), 3.2), layout="constrained")
    for axis, (experiment, title) in zip(np.atleast_1d(axes), experiments.items(), strict=True):
        runs = results(experiment, "rlkit")
        steps = [row["env_steps"] for row in runs[0]["curve"]]
        values = np.array([[row["return_mean"] for row in run["curve"]] for run in runs])  # (seeds, evaluations)
        bounds = np.array([bootstrap_interval(column) for column in values.T])
        if len(runs) > 2:
            axis.fill_between(steps, bounds[:, 0], bounds[:, 1], color="#0072B2", alpha=0.25, linewidth=0)
        seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
        axis.plot(steps, [iqm(column) for column in values.T], color="#0072B2", label=f"DQN, {seeds}")
        axis.set(title=title, xlabel="environment steps", ylim=(0, None))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:.0f}k")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="lower right")
    np.atleast_1d(axes)[0].set_ylabel("return, greedy evaluation")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=150, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    present = {name: title for name, title in EXPERIMENTS.items() if results(name, "rlkit")}
    for experiment, title in present.items():
        show(experiment, title)
    if options.draw and present:
        draw(present)


if __name__ == "__main__":
    main()
