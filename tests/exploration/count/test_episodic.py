"""Counts within an episode, and the bonus that multiplies them with the lifelong counts."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from helpers.counting_run import BETA, LAKE, SIMHASH, TAXI, Run, config
from rlkit.config.load import resolve
from rlkit.errors import ConfigError
from rlkit.exploration.count import episodic
from rlkit.exploration.count.episodic import EpisodeCounts
from rlkit.exploration.count.visits import Visit
from rlkit.testing.states import state_hash


def visit(before: list[int], after: list[int], first: list[bool]) -> Visit:
    size = len(before)
    return Visit(np.array(before), np.array(after), np.array(first), np.zeros(size, np.int64), np.zeros(size, np.bool_))


def added(counts: EpisodeCounts, *rows: tuple[list[int], list[int], list[bool]]) -> list[list[list[int]]]:
    return [[numbers.tolist() for numbers in counts.add(visit(*row))] for row in rows]


def test_a_table_by_hand() -> None:
    """A start state counts as one visit: to come back to it is no first visit, in this episode or in the next."""
    counts = EpisodeCounts(2)
    assert added(
        counts,
        ([7, 7], [8, 7], [True, True]),
        ([8, 7], [7, 9], [False, False]),
        ([7, 7], [8, 8], [False, True]),  # the second environment begins anew
    ) == [[[1, 1], [1, 2]], [[1, 2], [2, 1]], [[2, 1], [2, 1]]]


def test_counts_go_on_after_a_state_is_loaded() -> None:
    rows = [([1, 5], [2, 6], [True, True]), ([2, 6], [1, 6], [False, False]), ([1, 6], [3, 5], [False, False])]
    counts, resumed = EpisodeCounts(2), EpisodeCounts(2)
    added(counts, *rows[:2])
    resumed.load_state_dict(counts.state_dict())
    assert added(resumed, rows[2]) == added(counts, rows[2])
    assert state_hash(resumed.state_dict()) == state_hash(counts.state_dict())


def test_an_endless_episode_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodic, "LARGEST_EPISODE", 3)
    counts = EpisodeCounts(1)
    walk = [*range(6), 1, 5]
    rows = [([old], [new], [old == 0]) for old, new in itertools.pairwise(walk)]
    numbers = [after[0] for _, after in added(counts, *rows)]
    assert numbers == [1, 1, 2, 2, 2, 2, 2], "states beyond the bound never are first visits"
    assert len(counts.state_dict()["digest"]) == 3


def room(obs: NDArray[Any], signals: Any) -> NDArray[Any]:
    """The row of the lake that a state lies in."""
    return obs.reshape(-1, 1) // 4


ROOMS = {"features": {"type": "function", "function": "exploration.count.test_episodic:room"}}
CASES: list[dict[str, Any]] = [
    {"count_of": "successor", "episodic": "first", "hash": SIMHASH},
    {"count_of": "state", "episodic": "count", "hash": SIMHASH},
    {"count_of": "successor", "episodic": "first"},
    {"count_of": "successor", "episodic": "count", "timing": "insert"},
    {"count_of": "state", "episodic": "first", "timing": "insert"},
    {"count_of": "state", "episodic": "count"},
    {"count_of": "successor", "episodic": "first", "lifelong": "none"},
    {"count_of": "successor", "episodic": "first", "lifelong": "noveld"},
    {"count_of": "successor", "lifelong": "noveld", "alpha": 1.0},
]


def paid(run: Run, chosen: dict[str, Any], codes: list[list[Any]], own: list[list[Any]]) -> list[list[float]]:
    """The bonus of each step (T, N) by the obvious counting; codes, own: (T, 2 N) of the states before and after."""
    width, lifelong = len(codes[0]) // 2, Counter[Any]()
    episodes: list[Counter[Any]] = [Counter() for _ in range(width)]
    out, moments = [], []
    for step, code, mark in zip(run.steps, codes, own, strict=True):
        for e in np.flatnonzero(step.before.first):
            lifelong[code[e]] += 1
            episodes[e] = Counter([mark[e]])
        arrived = [episodes[e][mark[e]] for e in range(width)]
        lifelong.update(code[width:])
        for e in range(width):
            episodes[e][mark[width + e]] += 1
        after = [episodes[e][mark[width + e]] for e in range(width)]
        moments.append((arrived if chosen["count_of"] == "state" else after, dict(lifelong)))
    for (numbers, moment), code in zip(moments, codes, strict=True):
        table = moment if chosen.get("timing") == "insert" else dict(lifelong)
        row = []
        for e, n in enumerate(numbers):
            value = 1 / np.sqrt(table[code[e if chosen["count_of"] == "state" else width + e]])
            if chosen.get("lifelong") == "noveld":
                value = max(value - chosen.get("alpha", 0.5) / np.sqrt(table[code[e]]), 0)
            value = 1.0 if chosen.get("lifelong") == "none" else value
            value *= {"none": 1.0, "first": float(n == 1), "count": 1 / np.sqrt(n)}[chosen.get("episodic", "none")]
            row.append(BETA * float(value))
        out.append(row)
    return out


def stored(run: Run, num_envs: int) -> NDArray[np.float32]:
    """(T, N) the bonus of every step in the replay."""
    index = run.agent.replay.sampleable()
    window = run.agent.replay.window(index)
    bonus = run.bonus.add(torch.zeros_like(window.reward), window)[:, 0].numpy()
    return np.stack([bonus[index % num_envs == e] for e in range(num_envs)], 1)


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(
    "chosen", [*CASES, *({**case, "hash": SIMHASH} for case in CASES if "timing" not in case)], ids=str
)
def test_the_bonus_of_every_step_is_that_of_the_obvious_counting(chosen: dict[str, Any], num_envs: int) -> None:
    """With simhash also the steps of the warm-up, which were stored before there were codes."""
    run = Run(config(**chosen), TAXI, num_envs)
    codes = [run.digests([run.key(obs) for obs in (*step.before.obs, *step.after.obs)]).tolist() for step in run.steps]
    np.testing.assert_allclose(stored(run, num_envs), paid(run, chosen, codes, codes), rtol=1e-6)


@pytest.mark.parametrize("hashing", [{}, SIMHASH], ids=["exact", "simhash"])
def test_episodes_may_have_codes_of_their_own(hashing: dict[str, Any]) -> None:
    chosen = {"count_of": "successor", "episodic": "count"}
    run = Run(config(hash=hashing, episodic_codes=ROOMS, **chosen), LAKE, 3)
    states = [(*step.before.obs, *step.after.obs) for step in run.steps]
    codes = [run.digests([run.key(obs) for obs in row]).tolist() for row in states]
    own = [[int(obs) // 4 for obs in row] for row in states]
    np.testing.assert_allclose(stored(run, 3), paid(run, chosen, codes, own), rtol=1e-6)


def test_beta_falls_linearly() -> None:
    run = Run(config(anneal={"steps": 400, "end": 0.2}), LAKE, 1)
    window = run.agent.replay.window(run.agent.replay.sampleable())
    states, _ = run.recount()
    n = [states[run.key(step.before.obs[0])] for step in run.steps]
    bonus = run.bonus.add(torch.zeros_like(window.reward), window)[:, 0].numpy()
    np.testing.assert_allclose(bonus, BETA * 0.6 / np.sqrt(n), rtol=1e-6)  # after 200 of 400 steps
    assert run.bonus.gauges()["explore/beta"] == pytest.approx(BETA * 0.6)


@pytest.mark.parametrize(
    ("bonus", "message"),
    [
        ({"episodic": "first", "count_of": "pair"}, "bonus.episodic counts states"),
        ({"episodic_codes": ROOMS}, "bonus.episodic_codes applies with bonus.episodic"),
        ({"lifelong": "noveld"}, 'it needs count_of = "successor"'),
        ({"lifelong": "noveld", "count_of": "successor", "alpha": 1.5}, ".alpha: .*less than or equal to 1"),
        ({"alpha": 0.5}, "bonus.alpha applies with"),
        ({"lifelong": "none"}, "else nothing is counted"),
        ({"lifelong": "none", "episodic": "first", "timing": "insert"}, "bonus.timing applies to the lifelong factor"),
        (
            {"lifelong": "noveld", "count_of": "successor", "count_first": False, "timing": "insert"},
            'applies with bonus.lifelong = "count" only',
        ),
        ({"episodic": "first", "episodic_codes": {"features": {"type": "learned"}}}, "is for bonus.features"),
    ],
)
def test_impossible_settings_are_refused(bonus: dict[str, Any], message: str) -> None:
    agent = {"name": "dqn", "bonus": bonus}
    tables = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "agent": agent, "train": {"steps": 1}}
    with pytest.raises(ConfigError, match=f"^x: agent.bonus.*{message}"):
        resolve("x", tables)


def test_codes_that_would_have_to_be_centred_are_refused() -> None:
    chosen = config(episodic="first", episodic_codes={"hash": SIMHASH})
    with pytest.raises(ConfigError, match="whose range is known"):
        Run(chosen, LAKE, 1, steps=1)
