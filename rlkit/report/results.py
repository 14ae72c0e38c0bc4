"""Reads results into one form: from the JSON files of finished runs, and from run directories, finished or not."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.config.tables import StopConfig
from rlkit.errors import ConfigError, RunError
from rlkit.files import read_json
from rlkit.metrics.line_log import read
from rlkit.report.checks import reference_scores_of, refuse_unsound, returns_of, steps_of, texts_of
from rlkit.report.protocols import Protocol
from rlkit.runs.directory import RunDirectory
from rlkit.runs.identity import of_experiment, understood

EVALUATION = "evaluation/"
MADE = ("machine", "device", "threads", "date")  # entries of a run's information that are kept in Result.made
OF_EVALUATION = ("evaluation", "evaluation epsilon", "parameters", "return")  # entries of a protocol


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one run."""

    env_steps: NDArray[np.float64]  # (points,) increasing
    values: NDArray[np.float64]  # (points,)


@dataclass(frozen=True, slots=True)
class Result:
    """One run: library, environment, protocol and scores."""

    path: Path
    library: str
    experiment: str
    seed: int
    config: Mapping[str, Any]  # dotted keys; empty if another library made the run
    protocol: Protocol
    env_steps: int  # reached
    returns: NDArray[np.float64] | None  # (episodes,) of the final evaluation; None while unfinished
    curves: Mapping[str, Series]
    frame_skip: int = 1
    hours: float | None = None  # of training, without evaluation
    processor_hours: float | None = None  # the same, of all threads of the process
    reference_scores: Mapping[str, float] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)  # machine, device, threads and date, as far as they are known

    @property
    def environment(self) -> str:
        return self.protocol.environment

    @property
    def stopped(self) -> bool:
        """Whether `evaluation.stop` ended it before `train.steps`, because the task was solved."""
        early = self.returns is not None and self.env_steps < (self.config.get("train.steps") or 0)
        return early and "evaluation.stop.at_least" in self.config

    @property
    def score(self) -> float:
        """The mean raw return of the final evaluation. Raises ConfigError while unfinished."""
        if self.returns is None:
            raise ConfigError(f"{self.path} is unfinished at step {self.env_steps}")
        return float(self.returns.mean())


LAST = 6  # `scored_by` averages over the last of this many equal parts of training


def scored_by(result: Result, name: str) -> Result:
    """The same run with another score: the mean of the curve `name` over the last sixth of training.

    Raises ConfigError if the run has no such curve.
    """
    curve = result.curves.get(name)
    late = None if curve is None else curve.values[curve.env_steps > result.env_steps * (1 - 1 / LAST)]
    if late is None or not len(late):
        known = ", ".join(sorted(result.curves)) or "nothing"
        raise ConfigError(f"{result.path} has no {name} in the last sixth of its training; it has: {known}")
    entries = {key: text for key, text in result.protocol.entries.items() if key not in OF_EVALUATION}
    protocol = Protocol.of({**entries, "score": f"mean {name} over the last sixth of training"})
    returns = None if result.returns is None else late
    return replace(result, returns=returns, protocol=protocol, reference_scores=None)


@dataclass
class Found:
    """The results that were read, and one line for each path that could not be used."""

    results: list[Result] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find(paths: Iterable[Path]) -> Found:
    """Reads result files, run directories, and folders of them; paths may be patterns, such as "machine*/runs/**".

    Paths that cannot be used get a line in `problems`. Raises ConfigError if no result is found.
    """
    found, paths = Found(), list(paths)
    for path in dict.fromkeys(each for named in paths for each in _matching(named)):
        _read_path(path, found)
    _drop_repeated(found)
    if not found.results:
        where = ", ".join(map(str, paths)) or "nothing was named"
        raise ConfigError("; ".join([f"no runs ({where}); name run directories, result files, or folders of them",
                                     *found.problems]))  # fmt: skip
    return found


def _matching(path: Path) -> list[Path]:
    """The paths that a pattern matches, without those below another match; a path that is no pattern, itself."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    matched = set(found)
    return [each for each in found if not matched.intersection(each.parents)] or [path]


def _read_path(path: Path, found: Found) -> None:
    if not path.exists():
        found.problems.append(f"{path} " + ("matches nothing" if glob.has_magic(str(path)) else "does not exist"))
    elif path.is_file():
        _read_one(path, found, named=True)
    else:
        below = list(candidates(path))
        for candidate in below:
            _read_one(candidate, found, named=candidate == path)
        if not below:
            found.problems.append(f"{path} holds neither run directories nor result files")


def candidates(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Run directories and JSON files below `folder`, but not the files inside run directories."""
    if folder.resolve() in above:  # a link that leads in a circle
        return
    above = (*above, folder.resolve())
    if (folder / "config.toml").is_file() and (folder / "run.json").is_file():
        yield folder
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from candidates(entry, above)
        elif entry.suffix == ".json":
            yield entry


def _read_one(path: Path, found: Found, *, named: bool) -> None:
    try:
        if path.is_dir():
            found.results.append(_of_run(path, found.problems))
            return
        content = read_json(path)
        if {"final", "protocol", "seed", "env_steps"} <= set(content):
            found.results.append(of_content(content, path))
        elif named:
            found.problems.append(f"{path} is no result file: it has no final episodes, protocol, seed and env_steps")
    except Exception as error:  # somebody else's file may hold anything
        if path.is_file() and path.suffix != ".json":  # such as a log file, if the shell expanded runs/*
            found.problems.append(f"{path} is neither a run directory nor a result file; it is left out")
            return
        reason = error if isinstance(error, RunError) else f"{path} cannot be read ({type(error).__name__}: {error})"
        found.problems.append(f"{reason}; it is left out")


def of_content(content: Mapping[str, Any], path: Path) -> Result:
    """The result of a file's content. Raises KeyError, TypeError or ValueError if the content is no result."""
    seconds = content.get("train_seconds", content.get("wall_seconds"))
    processor = content.get("train_processor_seconds")
    return Result(
        path=path,
        library=str(content.get("library", "rlkit")),
        experiment=str(content["experiment"]),
        seed=int(content["seed"]),
        config=_config_of(content),
        protocol=_protocol_of(content),
        env_steps=int(content["env_steps"]),
        returns=returns_of(content["final"]["returns"]),
        curves={
            **_curves_of_columns(content.get("training", {})),
            **_curves_of_rows(content.get("curve", []), EVALUATION),
        },
        frame_skip=int(content.get("frame_skip", 1)),
        hours=None if seconds is None else float(seconds) / 3600,
        processor_hours=None if processor is None else float(processor) / 3600,
        reference_scores=reference_scores_of(content.get("reference_scores")),
        versions=texts_of(content.get("versions", {}), "versions"),
        made=_made(content),
    )


def _made(content: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(content[key]) for key in MADE if key in content}


def _config_of(content: Mapping[str, Any]) -> dict[str, Any]:
    config = of_experiment(understood(tables)) if (tables := content.get("config")) else {}
    refuse_unsound(config)
    return config


def _protocol_of(content: Mapping[str, Any]) -> Protocol:
    """The protocol of a result; translates the entries of benchmarks/sb3_minatar.py."""
    entries = content["protocol"]
    if "evaluation_seeds" not in entries:
        return Protocol.of(entries)
    environment, _, details = entries["environment"].partition(": ")
    sticky = details.partition("sticky actions ")[2].partition(",")[0]
    return Protocol.of(
        {
            "environment": environment,
            "time limit": entries["time_limit"],
            "sticky actions": sticky,
            "evaluation": f"{content['final']['episodes']} separate episodes, fixed seeds",
            "evaluation epsilon": "0",
            **{name: entries[name] for name in ("actions",) if name in entries},
            "parameters": f"final, at {content['env_steps']} steps",
            "return": "raw, undiscounted, not clipped",
        }
    )


def _curves_of_rows(rows: Iterable[Mapping[str, Any]], prefix: str = "") -> dict[str, Series]:
    """Name → series, from rows with env_steps and scalars; of two rows at one step the later counts."""
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "env_steps" and isinstance(value, int | float):
                key = "episode/return" if name == "mean_training_return" else prefix + name
                points.setdefault(key, {})[float(row["env_steps"])] = float(value)
    return {
        name: Series(steps_of(sorted(by_step)), np.array([by_step[step] for step in sorted(by_step)]))
        for name, by_step in points.items()
    }


def _curves_of_columns(columns: Mapping[str, Any]) -> dict[str, Series]:
    """Name → series, from lists of numbers (None: missing) of the same length as that of "env_steps"."""
    curves = {}
    for name, values in columns.items():
        known = np.array([value is not None for value in values], np.bool_)
        if name != "env_steps" and known.any():
            steps = steps_of(columns["env_steps"])[known]
            curves[name] = Series(steps, np.array([value for value in values if value is not None], np.float64))
    return curves


def _of_run(path: Path, problems: list[str]) -> Result:
    """The result of a run directory, with all curves of its metrics file; unfinished runs have no returns."""
    run = RunDirectory.open(path)
    tables, info = understood(run.tables()), run.info()
    rows = _metrics_rows(run.metrics, problems)
    reached = int(rows[-1]["env_steps"]) if rows else 0
    curves = _curves_of_rows(rows)
    stop = tables.get("evaluation", {}).get("stop")
    stops = None if stop is None else StopConfig.model_validate(stop)
    if (content := run.finished_result(int(tables["train"]["steps"]), stops)) is not None:
        finished = of_content(content, path)
        return replace(finished, curves={**finished.curves, **curves})
    hours = curves.get("time/hours")
    return Result(
        path=path,
        library="rlkit",
        experiment=str(info["experiment"]),
        seed=int(info["seed"]),
        config=of_experiment(tables),
        protocol=Protocol.of(info.get("protocol") or {"environment": str(tables["env"].get("id", "unknown"))}),
        env_steps=reached,
        returns=None,
        curves=curves,
        hours=None if hours is None else float(hours.values[-1]),
        versions=texts_of(info["versions"], "versions"),
        made=_made(info),
    )


def _metrics_rows(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The sound rows; damaged lines get an entry in `problems`."""
    if not path.exists():
        problems.append(f"{path.parent} has no {path.name}: no curves but the result's")
        return []
    rows, damaged = read(path)
    if damaged:
        problems.append(f"{path} is damaged in line {', '.join(map(str, damaged))}, which is left out")
    return rows


def _drop_repeated(found: Found) -> None:
    """Keeps each run once, if its directory and its result file, or two copies, are both given."""
    kept: dict[Any, Result] = {}
    for result in found.results:
        made = result.library, result.experiment, str(result.config), result.seed, result.env_steps
        key = *made, result.protocol.key()
        first = kept.setdefault(key, result)
        if first is not result:
            found.problems.append(f"{result.path} is the same run as {first.path} (seed {result.seed}); it counts once")
    found.results = list(kept.values())
