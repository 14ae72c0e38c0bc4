"""Learned codes inside a DQN that sees a small world as pictures."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.dqn import DQNConfig, plugin
from envs.gymnasium import plugin as gymnasium
from helpers.learned_codes import (
    CART,
    REFIT_EVERY,
    ROOM,
    WARM_UP,
    Run,
    config,
)
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.bonus import build_bonus
from rlkit.exploration.count import learned
from rlkit.exploration.count.autoencoder import BitEncoder
from rlkit.seeding import Streams
from rlkit.testing.agents import check_agent
from rlkit.testing.states import difference, snapshot
from rlkit.types import Purpose


@pytest.mark.slow
def test_conformance() -> None:
    check_agent(plugin, config(), gymnasium, ROOM, steps=40)
    check_agent(
        plugin, config(hash={"type": "simhash", "bits": 16}, optimism={}, timing="insert"), gymnasium, ROOM, steps=40
    )


@pytest.mark.parametrize("num_envs", [1, 4])
def test_updates_are_those_owed_and_fits_are_those_due(num_envs: int) -> None:
    run = Run(config(), num_envs)
    for number, (_, metrics) in enumerate(run.steps(120 // num_envs), 1):
        env_steps = number * num_envs
        assert run.codes.updates == env_steps * 3 // 10
        assert run.codes.fits == (0 if env_steps < WARM_UP else 1 + (env_steps - WARM_UP) // REFIT_EVERY)
        assert ("loss/codes" in metrics) == (run.codes.updates > (env_steps - num_envs) * 3 // 10)


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("bonus", [{}, {"count_of": "successor"}, {"count_of": "pair", "optimism": {}}], ids=str)
def test_all_stored_digests_are_those_of_the_latest_fit(bonus: dict[str, Any], num_envs: int) -> None:
    """Those that were there at the fit, and those that came after it; the newest observation's among them."""
    run = Run(config(**bonus), num_envs)
    fits, changed = 0, []
    for step, metrics in run.steps(180 // num_envs):
        np.testing.assert_array_equal(run.bonus.visits.newest, run.bonus.visits.features(step.after))
        if not run.codes.ready:
            continue
        if run.codes.fits > fits:
            fits = run.codes.fits
            changed += [metrics[name] for name in metrics if name == "explore/codes_changed"]
            np.testing.assert_array_equal(run.bonus.visits.latest, run.digests(step.after.obs))
            run.check_replay()
    run.check_replay()
    assert fits >= 4
    assert max(changed) > 0  # there was something to do


def test_simhash_reduces_learned_bits() -> None:
    run = Run(config(hash={"type": "simhash", "bits": 1}))
    for _ in run.steps(120):
        pass
    assert run.codes.fits >= 3
    assert run.bonus.visits.states.distinct <= 2


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_fit_counts_the_visits_of_stored_episodes_anew(num_envs: int) -> None:
    """An episode whose beginning was overwritten begins with its oldest step."""
    run = Run(config(count_of="successor", episodic="count"), num_envs)
    first: list[list[bool]] = [[] for _ in range(num_envs)]
    fits = 0
    for step, _ in run.steps(180 // num_envs):
        for environment, begins in zip(first, step.before.first, strict=True):
            environment.append(bool(begins))
        if run.codes.fits == fits:
            continue
        fits, index = run.codes.fits, run.agent.replay.sampleable()
        window = run.agent.replay.window(index)
        before, after = run.digests(window.obs.numpy()), run.digests(window.next_obs.numpy())
        stored = window.extras["episodic"][:, 0].numpy()
        for environment in range(num_envs):
            rows = np.flatnonzero(index % num_envs == environment)
            visits: Counter[int] = Counter()
            for row, begins in zip(rows, first[environment][-len(rows) :], strict=True):
                if begins or not visits:
                    visits = Counter([int(before[row])])
                visits[int(after[row])] += 1
                assert stored[row] == pytest.approx(visits[int(after[row])] ** -0.5)
    assert fits >= 4


@pytest.mark.parametrize("num_envs", [1, 3])
def test_every_visit_is_counted_once_by_the_code_of_its_time(num_envs: int) -> None:
    """And after a fit the stored visits of codes that are new count once more, by these."""
    run = Run(config(), num_envs)
    earlier: BitEncoder | None = None
    waiting: list[Any] = []
    expected: Counter[int] = Counter()
    fits = again = 0
    for step, _ in run.steps(180 // num_envs):
        waiting += [*step.before.obs[step.before.first], *step.after.obs]
        if run.codes.ready:
            # A step is counted before the fit that may follow it, those of the warm-up after the first
            expected.update(run.digests(waiting, earlier).tolist())
            waiting = []
            if earlier is not None and run.codes.fits > fits:
                replay = run.agent.replay
                stored = run.digests(replay.window(replay.sampleable()).obs.numpy()).tolist()
                recounted = Counter(code for code in stored if code not in expected)
                expected.update(recounted)
                again += len(recounted)
            earlier, fits = copy.deepcopy(run.codes.codes.encoder), run.codes.fits
    codes = np.array(list(expected))
    np.testing.assert_array_equal(run.bonus.visits.states.look_up(codes)[:, 0], list(expected.values()))
    assert run.bonus.visits.states.distinct == len(expected) > 5
    assert again > 0


@pytest.mark.parametrize(
    "bonus",
    [{"optimism": {}}, {"count_of": "successor", "optimism": {}}, {"count_of": "pair"}, {"timing": "insert"}],
    ids=str,
)
def test_what_is_stored_never_seems_never_done(bonus: dict[str, Any]) -> None:
    """After a fit, which leaves the counts of new codes empty."""
    run = Run(config(**bonus))
    replay, fits = run.agent.replay, 0
    for _ in run.steps(130):
        if run.codes.fits > fits:
            fits = run.codes.fits
            window = replay.window(replay.sampleable())
            here, there = run.digests(window.obs), run.digests(window.next_obs)
            visited = there if bonus.get("count_of") == "successor" else here
            assert (run.bonus.visits.states.look_up(visited) > 0).all()
            if run.bonus.visits.pairs is not None:
                assert (np.take_along_axis(run.bonus.visits.pairs.look_up(here), window.action.numpy(), 1) > 0).all()
    assert fits >= 3


def test_noise_is_added_to_what_is_decoded_and_to_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(config({"noise": 0.3}))
    decoded: list[Tensor] = []
    coded: list[Tensor] = []
    decode, loss = run.codes.network.decode, learned.code_loss

    def spied_loss(logits: Tensor, frames: Tensor, code: Tensor, penalty: float) -> Tensor:
        assert torch.equal(code, run.codes.network.encode(frames))  # the penalty is that of the clean code
        coded.append(code.detach())
        return loss(logits, frames, code, penalty)

    monkeypatch.setattr(run.codes.network, "decode", lambda code: decoded.append(code.detach()) or decode(code))
    monkeypatch.setattr(learned, "code_loss", spied_loss)
    for _ in run.steps(70):
        pass
    noise = torch.cat(decoded) - torch.cat(coded)  # (21 * 8, 24)
    low, middle, high = noise.quantile(torch.tensor([0.0, 0.5, 1.0]))
    assert -0.3 <= low < -0.29
    assert abs(middle) < 0.02
    assert 0.29 < high <= 0.3


def test_codes_stand_still_between_fits() -> None:
    run = Run(config())
    watched: NDArray[np.int64] | None = None
    loss, fits = [], 0
    for _, metrics in run.steps(130):
        if run.codes.fits > fits:
            fits = run.codes.fits
            watched = run.codes(run.codes.watched)
        if watched is not None:
            np.testing.assert_array_equal(run.codes(run.codes.watched), watched)
        loss += [float(metrics["loss/codes"])] if "loss/codes" in metrics else []  # type: ignore[arg-type]
    assert np.mean(loss[-5:]) < np.mean(loss[:5])


def test_the_share_of_changed_codes_is_that_of_the_first_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "WATCHED", 25)  # fewer than the warm-up has
    run = Run(config())
    first: list[NDArray[Any]] = []
    old: list[int] = []
    seen: list[float] = []
    for step, metrics in run.steps(200):
        if run.codes.fits == 0 or not old:
            first += [*step.before.obs[step.before.first], *step.after.obs]
        if not run.codes.ready:
            continue
        new = run.digests(first[:25]).tolist()
        if "explore/codes_changed" in metrics:
            share = sum(a != b for a, b in zip(old, new, strict=True)) / len(new)
            assert metrics["explore/codes_changed"] == pytest.approx(share)
            seen.append(share)
        else:
            assert new == old or not old
        old = new
    assert len(seen) == 5
    assert any(share > 0 for share in seen)


def test_a_bonus_stored_at_insertion_stays() -> None:
    run = Run(config(timing="insert", optimism={}))
    before: dict[int, float] = {}
    for _ in run.steps(130):
        index = run.agent.replay.sampleable()
        window = run.agent.replay.window(index)
        now = dict(zip(index.tolist(), np.asarray(window.extras["bonus"])[:, 0].tolist(), strict=True))
        if run.codes.fits > 1:
            assert all(now[row] == before[row] for row in now.keys() & before.keys())
        if run.codes.ready:
            assert min(now.values()) > 0
        before = now
    run.check_replay()


@pytest.mark.parametrize("count_first", [True, False])
@pytest.mark.parametrize("of", ["state", "successor"])
def test_the_warm_ups_steps_get_the_bonus_that_was_not_known_yet(of: str, count_first: bool) -> None:
    run = Run(config(timing="insert", count_of=of, count_first=count_first))
    steps = [step for step, _ in run.steps(WARM_UP)]
    visited = [obs for step in steps for obs in (*step.before.obs[step.before.first], *step.after.obs)]
    counts = Counter(run.digests(visited).tolist())
    paid = run.digests([(step.before if of == "state" else step.after).obs[0] for step in steps])
    window = run.agent.replay.window(run.agent.replay.sampleable())
    expected = [0.5 / max(counts[code] - (not count_first), 1) ** 0.5 for code in paid.tolist()]
    np.testing.assert_allclose(np.asarray(window.extras["bonus"])[:, 0], expected, rtol=1e-6)


def test_resumed_between_fits_it_goes_on_as_if_nothing_had_happened() -> None:
    run, resumed = Run(config()), Run(config())
    steps = []
    for number, (step, _) in enumerate(run.steps(150), 1):
        steps.append(step)
        if number == 85:  # of fits at 40, 70, 100, 130
            saved = snapshot(run.agent.state_dict())
    resumed.agent.load_state_dict(saved)
    for step in steps[85:]:
        resumed.agent.observe(step)
        resumed.agent.learn()
    assert difference(run.agent.state_dict(), resumed.agent.state_dict()) is None


@pytest.mark.parametrize(
    ("chosen", "env", "error", "message"),
    [
        (config(), CART, SpecError, "grey or colour frames"),
        (config({"side": 60}), ROOM, SpecError, "60 is more than the 56 x 56"),
        (config().model_copy(update={"learning_starts": 0}), ROOM, ConfigError, "learns nothing in the 0 steps"),
        (config({"updates_per_step": 0.02}), ROOM, ConfigError, "learns nothing in the 40 steps"),
    ],
    ids=["vectors", "side", "no warm-up", "no update"],
)
def test_what_cannot_be_learned_is_refused(chosen: DQNConfig, env: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Run(chosen, env=env)


def test_an_agent_without_a_replay_cannot_learn_codes() -> None:
    environments = gymnasium.make(ROOM, 1, Purpose.TRAIN)
    environments.close()
    with pytest.raises(ConfigError, match="learns from a replay, and this agent has none"):
        build_bonus(config().bonus, environments.spec, Streams(1), None, WARM_UP)


@pytest.mark.parametrize(
    "features",
    [
        *({"codes": 0}, {"codes": 4097}, {"side": 7}, {"levels": 1}, {"noise": -0.1}, {"noise": 0.6}),
        *({"batch_size": 1}, {"refit_every": 0}, {"updates_per_step": 0}, {"penalty": -1}, {"source": "screen"}),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(features: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(features))):
        config(features)
