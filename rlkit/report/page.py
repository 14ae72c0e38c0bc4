"""What a report says of runs, in two forms: an HTML page that needs no other file, and a Markdown card of one run."""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import tomli_w

import rlkit
from rlkit.errors import ConfigError
from rlkit.report.charts import Chart, chapters
from rlkit.report.compare import Table, compare, digits_for, duration, finished, words
from rlkit.report.groups import Group, grouped
from rlkit.report.protocols import legend, sentences
from rlkit.report.results import Found, Result
from rlkit.report.scores import Estimate, needed
from rlkit.training.evaluation import bootstrap_interval, iqm

LARGEST_MEDIA = 2**26  # bytes of all pictures of a page, and of all its videos; further ones are left out, with a note
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or a video of a run."""

    run: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def data(self) -> str:
        """The file as a data URI."""
        kind = {".png": "image/png", ".mp4": "video/mp4"}[self.path.suffix]
        return f"data:{kind};base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True, slots=True)
class Setting:
    """The config that the runs of a group share."""

    label: str
    runs: str  # their names
    config: str  # TOML


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says. Templates put it into their form."""

    title: str
    lead: str  # one sentence
    runs: Table  # one row a run: its final evaluation
    comparisons: list[Table]  # of groups of seeds; none for a single run
    protocols: list[str]
    settings: list[Setting]
    machines: Table
    pictures: list[Media]
    videos: list[Media]
    notes: list[str]
    version: str = rlkit.__version__


def report(found: Found, by: Sequence[str] = ()) -> Report:
    """What there is to say of the runs that were found; unfinished ones have curves, but no scores."""
    groups = grouped(found.results, by)
    names = names_of([run.path for run in found.results])
    done, unfinished = finished(found.results)
    notes = [*found.problems, *unfinished]
    return Report(
        title=next(iter(names.values())) if len(names) == 1 else f"{len(names)} runs",
        lead=_lead(found.results, groups),
        runs=_run_table(found.results, names),
        comparisons=compare(grouped(done, by)) if len(done) > 1 else [],
        protocols=sentences(legend(run.protocol for run in found.results)),
        settings=[_setting(group, names) for group in groups],
        machines=_machine_table(found.results, names),
        pictures=_media(found.results, names, "images/*.png", notes),
        videos=_media(found.results, names, "*.mp4", notes),
        notes=notes,
    )


def html(found: Found, by: Sequence[str] = ()) -> str:
    """The page: interactive curves, scores, videos, config. Raises ConfigError where Jinja or Plotly is missing."""
    content = report(found, by)
    charts: dict[str, list[Chart]] = chapters(grouped(found.results, by), content.notes)
    script = needed("plotly.offline", "a report").get_plotlyjs()
    return _filled("report.html", content, charts=charts, plotly=script, today=_today())


def card(found: Found) -> str:
    """The card of one finished run: Markdown, under the header of metadata that model hubs read.

    Raises ConfigError for several runs and for an unfinished one.
    """
    if len(found.results) != 1:
        raise ConfigError(f"a card describes one run, and these are {len(found.results)}; rlkit report describes many")
    (run,) = found.results
    if run.returns is None:
        raise ConfigError(finished([run])[1][0])
    agent = str(run.config.get("agent.name", run.library))
    score = {"mean": f"{run.returns.mean():.2f} +/- {run.returns.std():.2f}", "iqm": round(float(iqm(run.returns)), 4)}
    content = report(found)
    fence = "`" * (1 + max(map(len, re.findall("`+", content.settings[0].config)), default=2))  # which it cannot close
    return _filled("card.md", content, run=run, agent=agent, score=score, steps=f"{run.env_steps:,}", fence=fence)


def _filled(template: str, content: Report, **more: Any) -> str:
    jinja = needed("jinja2", "a report")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(TEMPLATES), autoescape=template.endswith(".html"), trim_blocks=True,
        lstrip_blocks=True, undefined=jinja.StrictUndefined, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["json"] = json.dumps  # a JSON string is a YAML string too
    environment.filters["words"] = words
    environment.filters["address"] = quote
    text: str = environment.get_template(template).render(report=content, **more)
    return text


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Path → the name of the directory or file, with the folders before it where two have the same name."""
    parts = {path: path.resolve().with_suffix("" if path.suffix == ".json" else path.suffix).parts for path in paths}
    names = {path: each[-1] for path, each in parts.items()}
    size = 1
    while repeated := {name for name in names.values() if list(names.values()).count(name) > 1}:
        size += 1
        if size > max(map(len, parts.values())):
            return {path: str(path) for path in paths}  # two forms of one path
        names |= {path: "/".join(parts[path][-size:]) for path, name in names.items() if name in repeated}
    return names


def _lead(results: Sequence[Result], groups: Sequence[Group]) -> str:
    environments = list(dict.fromkeys(run.environment for run in results))
    where = ", ".join(environments[:3]) + (f" and {len(environments) - 3} more" if len(environments) > 3 else "")
    if len(results) > 1:
        kinds = f"{len(groups)} group{'' if len(groups) == 1 else 's'}"
        return f"{len(results)} runs in {kinds}, in {where}."
    (run,) = results
    agent = run.config.get("agent.name", run.library)
    return f"{agent} in {where}: {run.env_steps:,} environment steps, seed {run.seed}."


def _run_table(results: Sequence[Result], names: Mapping[Path, str]) -> Table:
    columns = ("run", "seed", "steps", "episodes", "IQM [95% over episodes]", "mean", "lowest", "highest", "time")
    table = Table("Final evaluation", columns)
    for run in results:
        time = duration([run.hours])
        start = (names[run.path], str(run.seed), f"{run.env_steps:,}")
        if run.returns is None:
            table.rows.append((*start, "", "unfinished", "", "", "", time))
            continue
        digits, returns = digits_for(run.returns), run.returns
        spread = bootstrap_interval(returns) if np.ptp(returns) > 0 else (None, None)
        values = [f"{value:.{digits}f}" for value in (returns.mean(), returns.min(), returns.max())]
        middle = Estimate(float(iqm(returns)), *spread).text(digits)
        table.rows.append((*start, str(len(returns)), middle, *values, time))
    return table


def _setting(group: Group, names: Mapping[Path, str]) -> Setting:
    first = group.runs[0]
    file = first.path / "config.toml"
    text = file.read_text(encoding="utf-8") if file.is_file() else tomli_w.dumps(nested(first.config))
    return Setting(group.label, _listed([names[run.path] for run in group.runs]), text)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"agent.learning_rate": ..} → {"agent": {"learning_rate": ..}}, without values that TOML lacks.

    A key that is a value and a table at once stays as it is.
    """
    tables: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        table: Any = tables
        for parent in parents:
            table = table.setdefault(parent, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict) or isinstance(table.get(last), dict):
            table, last = tables, key
        if value is not None:
            table[last] = _without_none(value)
    return tables


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value if item is not None] if isinstance(value, list | tuple) else value


def _machine_table(results: Sequence[Result], names: Mapping[Path, str]) -> Table:
    """One row for each machine with its versions; the runs of it in one cell."""
    table = Table("Machine and versions", ("runs", "machine", "device", "versions", "date"))
    rows: dict[tuple[str, ...], list[Result]] = {}
    for run in results:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        device = run.made.get("device", "") + (f", threads: {threads}" if (threads := run.made.get("threads")) else "")
        rows.setdefault((run.made.get("machine", "unknown"), device, versions), []).append(run)
    for facts, runs in rows.items():
        dates = sorted({run.made["date"] for run in runs if "date" in run.made})
        when = dates[0] + (f" to {dates[-1]}" if len(dates) > 1 else "") if dates else ""
        table.rows.append((_listed([names[run.path] for run in runs]), *facts, when))
    return table


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _files(run: Result, pattern: str) -> list[Path]:
    return [file for file in sorted(run.path.glob(pattern)) if file.is_file()] if run.path.is_dir() else []


def _media(results: Sequence[Result], names: Mapping[Path, str], pattern: str, notes: list[str]) -> list[Media]:
    media, size = [], 0
    for run in results:
        for file in _files(run, pattern):
            if size + file.stat().st_size > LARGEST_MEDIA:
                kind = "videos" if file.suffix == ".mp4" else "pictures"
                notes.append(f"{file} is left out: the {kind} of a page may have {LARGEST_MEDIA >> 20} MiB in all")
                continue
            size += file.stat().st_size
            media.append(Media(names[run.path], file))
    return media
