"""`rlkit check`."""

from __future__ import annotations

from unittest import SkipTest

import click
from rich.markup import escape
from rich.table import Table

from rlkit.cli.console import console, say
from rlkit.cli.options import CONFIG, SET
from rlkit.config.load import load, parse_override
from rlkit.config.tables import Config
from rlkit.errors import RlkitError

STEPS = 200  # random steps, played twice
PATIENCE = 10.0  # seconds for them
MEASURED = 1.0  # seconds of learning


@click.command()
@CONFIG
@SET
@click.option("--thorough", is_flag=True, help="Also run the conformance checks of environments (some 10,000 steps).")
def check(config: str, settings: tuple[str, ...], thorough: bool) -> None:
    """Play CONFIG for a few seconds, and report what a run would do and cost.

    \b
    rlkit check cartpole --set train.steps=1000000
    rlkit check my.toml --thorough
    """
    from rlkit.runs.assemble import describe
    from rlkit.runs.evaluator import Evaluator
    from rlkit.runs.trial import trial

    resolved = load(config, dict(map(parse_override, settings)))
    rows = describe(resolved)
    seen = trial(resolved, STEPS, PATIENCE)
    follows_seeds = seen.differs_at is None
    protocol = Evaluator(resolved, follows_seeds=follows_seeds).protocol(resolved.evaluation.final_episodes, "final")
    table = Table("what", escape(resolved.label), title_justify="left")
    for key, value in {
        **rows,
        **seen.rows(),
        "time": _time(resolved, seen.speed),
        "protocol": _joined(protocol),
    }.items():
        table.add_row(key, escape(value))
    console.print(table)
    console.print(resolved.to_toml(), markup=False)
    for note in seen.notes(resolved):
        say(note)
    seen.check(resolved)
    if thorough:
        _conformance(resolved)


def _joined(protocol: dict[str, str]) -> str:
    return "; ".join(f"{key}: {value}" for key, value in protocol.items())


def _time(config: Config, alone: float) -> str:
    """What training costs on this machine; also finds what only a whole agent refuses.

    alone: environment steps a second without learning.
    """
    from rlkit.runs.cost import learning_speed
    from rlkit.runs.durations import duration

    speed, steps = learning_speed(config, MEASURED), config.train.steps
    if speed is None:
        none = f"no update within {MEASURED:g} seconds"
        return f"at least {duration(steps / alone)} for {steps:,} steps; {none}" if alone else f"{none}: no estimate"
    return f"about {duration(steps / speed)} for {steps:,} steps, at {speed:,.0f} a second with learning"


def _conformance(config: Config) -> None:
    """Runs the conformance checks, a line each. Raises RlkitError if one fails."""
    from rlkit import plugins
    from rlkit.testing import env_checks

    failed = []
    for name, run in env_checks(plugins.load(plugins.ENVS, config.env.name), config.env):
        try:
            run()
            console.print(f"[green]passed[/]  {name}")
        except SkipTest:
            console.print(f"skipped {name}")
        except AssertionError as error:
            failed.append(name)
            console.print(f"[red]failed[/]  {name}: ", end="")
            console.print(str(error), markup=False)
    if failed:
        raise RlkitError(f"{len(failed)} conformance checks failed: {', '.join(failed)}")
