"""What many runs need: their jobs, and which of them are finished, to be resumed or to be trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkit.config.load import load
from rlkit.config.tables import Config
from rlkit.errors import ConfigError
from rlkit.files import read_json, write_text
from rlkit.runs.directory import RunDirectory, versions
from rlkit.runs.identity import SAME_EXPERIMENT, differences, of_run, understood
from rlkit.runs.trust import foreign, named_modules
from rlkit.runs.warm_start import pinned

LARGEST = 20_000  # bytes of a result file
LONGEST_NAME = 100  # characters of a group's name in a file name


@dataclass(frozen=True, slots=True)
class Job:
    """One run to make."""

    config: Config
    overrides: Mapping[str, Any]  # values that replace those of the config `config.label`; without the seed
    run: Path  # its run directory
    data: Path | None  # its result file; None: none

    @property
    def name(self) -> str:
        return self.run.name


@dataclass
class Plan:
    """What each job needs; found before anything starts."""

    finished: list[Job] = field(default_factory=list)
    to_resume: list[Job] = field(default_factory=list)
    to_train: list[Job] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse_seeds(text: str) -> list[int]:
    """ "0-2,7" → [0, 1, 2, 7]. Raises ConfigError."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last - first > 10_000:
            raise ConfigError(f"seeds {text!r}: expected numbers and rising ranges, for example 0-9 or 0,3,5-7")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def make_jobs(
    source: str | Path,
    overrides: Mapping[str, Any],
    seeds: Sequence[int],
    runs: Path,
    data: Path | None,
    *,
    name: str | None = None,
    varied: Mapping[str, Any] | None = None,
) -> list[Job]:
    """One job per seed. Raises ConfigError if the config is invalid, before anything is written.

    name: of the runs, by default that of the config. varied: the overrides in their names, by default all.
    """
    jobs = []
    for seed in seeds:
        config = pinned(load(source, {**overrides, "train.seed": seed}))
        label = name or config.label
        experiment = re.sub(r"[/_]", "-", label)
        group = group_name(overrides if varied is None else varied)
        file = None if data is None else data / experiment / f"{group or 'rlkit'}-seed{seed}.json"
        directory = f"{label.replace('/', '-')}{group and '-' + group}-seed{seed}"
        jobs.append(Job(config, overrides, runs / directory, file))
    return jobs


def group_name(overrides: Mapping[str, Any]) -> str:
    """ "learning_rate=0.001,double=True": the changed values as a file name; "" where none tells experiments apart.

    Very long names are shortened to their hash.
    """
    told = {key: value for key, value in overrides.items() if key not in SAME_EXPERIMENT}
    lasts = [key.rpartition(".")[2] for key in told]
    parts = []
    for key, value in told.items():
        last = key.rpartition(".")[2]
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        parts.append(f"{key if lasts.count(last) > 1 else last}={text}")
    name = re.sub(r"[^\w.,=+-]+", "-", ",".join(parts))
    return name if len(name) <= LONGEST_NAME else hashlib.sha256(name.encode()).hexdigest()[:12]


def plan(jobs: Sequence[Job]) -> Plan:
    """Sorts jobs by what they need. Raises ConfigError if files of another experiment have their names."""
    found, problems = Plan(), []
    if file := next((path for job in jobs if job.data for path in job.data.parents if path.is_file()), None):
        raise ConfigError(f"--data: {file} is a file; name a folder")
    others: dict[str, list[str]] = {}
    for job in jobs:
        try:
            done = finished_content(job)
            if done is None:
                resumed = bool(RunDirectory(job.run).checkpoints.steps())
                if resumed:
                    _refuse_modules(job)
                (found.to_resume if resumed else found.to_train).append(job)
            else:
                found.finished.append(job)
                for line in _other_versions(done):
                    others.setdefault(line, []).append(job.name)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n  ".join(problems))
    found.notes += [f"{', '.join(names)}: made with {line}; accepted as finished" for line, names in others.items()]
    return found


def finished_content(job: Job) -> dict[str, Any] | None:
    """The result of a finished job, from its data file or its run directory; None if it is not finished."""
    path = job.data if job.data is not None and job.data.is_file() else job.run / "result.json"
    try:
        if path == job.data:
            content = read_json(path)
            _refuse_another(job, content["config"], path)
            return content
        if (job.run / "config.toml").is_file():
            run = RunDirectory.open(job.run)
            _refuse_another(job, run.tables(), job.run)
            return run.finished_result(job.config.train.steps, job.config.evaluation.stop)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a result file ({error!r}); move it away") from error
    return None


def _refuse_another(job: Job, tables: Mapping[str, Any], where: Path) -> None:
    """Raises ConfigError if `tables`, of a saved config, are those of another run than the job's."""
    wanted = job.config.tables()
    if changed := differences(of_run(understood(tables, named_modules(wanted))), of_run(wanted)):
        raise ConfigError(
            f"{where} is of another experiment: {'; '.join(changed)}; move it away or name another folder"
        )


def _refuse_modules(job: Job) -> None:
    """Raises ConfigError if the run's own config would import what the job's does not: nobody is asked when it resumes.

    The two may differ in keys that tell no experiments apart, such as the sinks.
    """
    if not (job.run / "config.toml").is_file():
        return
    wanted = named_modules(job.config.tables())
    strange = [name for name in foreign(RunDirectory.open(job.run).tables(), job.run) if name not in wanted]
    if strange:
        raise ConfigError(
            f"{job.run}: its config names {', '.join(strange)}, which this one does not; resume it by itself "
            f"(rlkit resume {job.run}), or move it away"
        )


def _other_versions(content: Mapping[str, Any]) -> list[str]:
    here = versions()
    changed = [
        f"{name} {version} (here {here[name]})"
        for name, version in content.get("versions", {}).items()
        if name in here and here[name] != version
    ]
    return [", ".join(changed)] if changed else []


def collect(job: Job) -> None:
    """Writes the job's result file if it is wanted and missing."""
    if job.data is None or job.data.exists():
        return
    content = read_json(job.run / "result.json")
    job.data.parent.mkdir(parents=True, exist_ok=True)
    write_text(job.data, small({**content, "overrides": dict(job.overrides)}))


def small(content: Mapping[str, Any]) -> str:
    """A result as JSON of at most 20 kB: halves the points of a long curve until it fits, and keeps the last one."""
    curve = list(content["curve"])
    while True:
        text = json.dumps({**content, "curve": curve}) + "\n"
        if len(text) <= LARGEST or len(curve) < 10:
            return text
        curve = curve[::-1][::2][::-1]
