"""A search as `rlkit tune` runs it: its sweep file, its study, the runs of its trials, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.config.keys import renamed
from rlkit.config.load import load
from rlkit.config.tables import Config
from rlkit.errors import ConfigError
from rlkit.files import read_json, write_text
from rlkit.runs.identity import of_experiment
from rlkit.runs.launcher import Job, make_jobs, parse_seeds
from rlkit.runs.sweep import Range, SearchConfig, SweepConfig, load_sweep
from rlkit.runs.tuning.space import Choices, Parameter, Point, Space, Table
from rlkit.runs.tuning.study import Done, Study, Trial, trial_name
from rlkit.runs.tuning.tuner import objective_of
from rlkit.training.evaluation import bootstrap_interval

MEASURES = {
    "final": "mean return of the final evaluation",
    "area": "mean of the evaluation curve",
    "steps_to_solve": "steps to solve",
}


@dataclass(frozen=True, slots=True)
class Search:
    """A sweep file with [search], and the study of it."""

    sweep: SweepConfig
    search: SearchConfig
    config: Config  # with the values of [set]
    seeds: list[int]  # of each trial
    study: Study

    @classmethod
    def opened(cls, path: Path, storage: str | None) -> Search:
        """Checks the whole file, then makes or joins its study. Raises ConfigError, before anything is written."""
        sweep = load_sweep(path)
        if sweep.search is None or not isinstance(sweep.config, str):
            raise ConfigError(
                f"{path}: rlkit tune needs one config and the table [search]; rlkit sweep takes the others"
            )
        search, seeds = sweep.search, parse_seeds(str(sweep.seeds))
        config = load(sweep.config, renamed(sweep.set))
        space = Space.of(search.keys)
        _check(path, sweep, config, search, space)
        fingerprint = {
            **of_experiment(config.tables()),
            "seeds": seeds,
            "search.objective": search.objective,
            **{f"search.keys.{key}": _plain(each) for key, each in search.keys.items()},
        }
        folder = Path("runs") / (sweep.name or path.stem)
        study = Study.opened(storage, config, search, space, folder, fingerprint)
        return cls(sweep, search, config, seeds, study)

    @property
    def measure(self) -> str:
        over = f", mean over {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""
        return MEASURES[self.search.objective] + over

    def jobs(self, trial: Trial) -> list[Job]:
        """The runs of a trial, one per seed. Raises ConfigError for settings that do not go together."""
        return self._jobs(trial.point, self.seeds, trial_name(trial.number))

    def _jobs(self, point: Point, seeds: list[int], name: str) -> list[Job]:
        assert isinstance(self.sweep.config, str)
        values = renamed({**self.sweep.set, **point})
        return make_jobs(self.sweep.config, values, seeds, self.study.folder, None, name=name, varied={})

    def confirmation(self, count: int) -> list[Job]:
        """Runs of the best settings with `count` seeds that no trial had."""
        best = self.study.best()
        assert best is not None
        first = max(self.seeds) + 1
        name = f"confirm{best.number:04d}"
        return self._jobs(self.study.point_of(best.number), list(range(first, first + count)), name)

    def scores(self, jobs: list[Job]) -> tuple[float, str]:
        """(mean of the objective over finished runs; its interval in words)."""
        values = np.array(
            [objective_of(self.search.objective, read_json(job.run / "result.json"), job.config) for job in jobs]
        )
        if len(values) < 3:
            return float(values.mean()), ""
        low, high = bootstrap_interval(values, lambda drawn: float(np.mean(drawn)))
        return float(values.mean()), f" [{low:.5g}, {high:.5g}] (95% bootstrap over seeds)"

    def text(self, point: Mapping[str, Any]) -> str:
        """A point in one line."""
        return ", ".join(f"{key} {_shown(value)}" for key, value in point.items())

    def write_best(self, best: Done) -> Path:
        """Writes a config of the best settings into the study's folder, to be trained like any other."""
        (job,) = self._jobs(self.study.point_of(best.number), self.seeds[:1], "best")
        label = f"{self.study.folder.name}-best"
        header, _, tables = replace(job.config, label=label).to_toml().partition("\n")
        count = len(self.study.done())
        why = f"# trial {best.number}, the best of {count}; {self.measure}: {best.value:.6g}, which is optimistic"
        path = self.study.folder / "best.toml"
        write_text(path, f"{header}\n{why}\n{tables}")
        return path

    def logarithmic(self) -> frozenset[str]:
        """The names of the parameters on a logarithmic scale, those inside of tables too."""
        return frozenset(_logarithmic(self.study.space.parameters))


def _check(path: Path, sweep: SweepConfig, config: Config, search: SearchConfig, space: Space) -> None:
    """Raises ConfigError for what no trial could run: keys and bounds that the config does not take."""
    problems = []
    if not config.evaluation.every and (search.pruner != "none" or search.objective == "area"):
        what = "the objective area" if search.objective == "area" else f"the pruner {search.pruner}"
        problems.append(f'{what} needs evaluations during training: set evaluation.every, or pruner = "none"')
    if search.objective == "steps_to_solve" and config.evaluation.stop is None:
        problems.append("the objective steps_to_solve needs evaluation.stop")
    for point in space.corners():
        try:
            load(str(sweep.config), renamed({**sweep.set, **point}))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(f"{path}: " + "\n  ".join(dict.fromkeys(problems)))


def _shown(value: Any) -> str:
    """A value as TOML writes it, numbers with four digits."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_shown(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(parameter: Range | list[Any]) -> Any:
    return parameter.model_dump() if isinstance(parameter, Range) else parameter


def _logarithmic(parameters: Mapping[str, Parameter], prefix: str = "") -> list[str]:
    found = []
    for key, parameter in parameters.items():
        if isinstance(parameter, Range) and parameter.log:
            found.append(prefix + key)
        elif isinstance(parameter, Table):
            found += _logarithmic(parameter.entries, f"{prefix}{key}.")
        elif isinstance(parameter, Choices):
            tables = {label: option for label, option in parameter.options.items() if isinstance(option, Table)}
            for label, option in tables.items():
                found += _logarithmic(option.entries, f"{prefix}{key}={label}.")
    return found
