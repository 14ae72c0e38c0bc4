"""Learned codes: the loss and the network by themselves, then inside a DQN that sees a small world as pictures."""

import copy
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.dqn import DQNAgent, DQNConfig, plugin
from envs.gymnasium import plugin as gymnasium
from rlkit.agent import AgentContext
from rlkit.errors import ConfigError, SpecError
from rlkit.exploration.bonus import build_bonus
from rlkit.exploration.count import learned
from rlkit.exploration.count.autoencoder import GRID, Autoencoder, BitEncoder, code_loss
from rlkit.exploration.count.bonus import CountBonus
from rlkit.exploration.count.learned import LearnedCodes
from rlkit.seeding import Streams, torch_seeded
from rlkit.testing.agents import check_agent
from rlkit.testing.states import difference, snapshot
from rlkit.training.action_log import ActionLog
from rlkit.training.rollout import Rollout
from rlkit.types import Metrics, Mode, Observation, Purpose, StepBatch

ROOM = gymnasium.config(
    name="gymnasium",
    id="MiniGrid-Empty-5x5-v0",
    register=("minigrid",),
    wrappers=("minigrid.wrappers:RGBImgPartialObsWrapper", "minigrid.wrappers:ImgObsWrapper"),
    max_episode_steps=20,
)
CART = gymnasium.config(name="gymnasium", id="CartPole-v1")
WARM_UP, REFIT_EVERY = 40, 30


def config(features: dict[str, Any] | None = None, **bonus: Any) -> DQNConfig:
    table = {"type": "learned", "side": 16, "codes": 24, "levels": 8, "updates_per_step": 0.3}
    table |= {"refit_every": REFIT_EVERY, "batch_size": 8, "learning_rate": 3e-3} | (features or {})
    return DQNConfig(
        name="dqn",
        learning_starts=WARM_UP,
        replay_capacity=130,  # rows are overwritten
        batch_size=4,
        updates_per_step=0.1,
        network={"hidden": (4,)},
        epsilon={"start": 1.0, "end": 1.0},
        bonus={"beta": 0.5, "features": table, **bonus},
    )


class Run:
    """A DQN in N rooms, step by step."""

    def __init__(self, chosen: DQNConfig, num_envs: int = 1, env: Any = ROOM) -> None:
        environments = gymnasium.make(env, num_envs, Purpose.TRAIN)
        try:
            context = AgentContext(Streams(1), torch.device("cpu"))
            self.agent: DQNAgent = plugin.agent(chosen, environments.spec, context)
        finally:
            environments.close()
        self.num_envs, self.env = num_envs, env
        bonus = self.agent.bonus
        assert isinstance(bonus, CountBonus)
        assert isinstance(bonus.visits.hash, LearnedCodes)
        self.bonus, self.codes = bonus, bonus.visits.hash

    def steps(self, count: int) -> Iterator[tuple[StepBatch, Metrics]]:
        """Steps, observed and learned from."""
        environments = gymnasium.make(self.env, self.num_envs, Purpose.TRAIN)
        tape = ActionLog(Streams(2), self.num_envs, reseed_after=10**9)
        rollout = Rollout(environments, tape, np.random.default_rng(3), Mode.EXPLORE)
        rollout.start(self.agent)
        for _ in range(count):
            rollout.act(self.agent)
            rollout.send()
            step = rollout.receive()
            self.agent.observe(step)
            yield step, self.agent.learn()
            rollout.reset_ended()
        environments.close()

    def digests(self, obs: Any, encoder: BitEncoder | None = None) -> NDArray[np.int64]:
        """Of observations, one by one, by the encoder of now or another."""
        encoder = encoder or self.codes.codes.encoder
        single = (Observation(row[None], {}, np.zeros(1, np.bool_)) for row in np.asarray(obs))
        bits = [encoder(torch.from_numpy(self.bonus.visits.features(row))).numpy() for row in single]
        return self.codes.codes.hashing(np.concatenate(bits).astype(np.uint8))

    def check_replay(self) -> None:
        """What is stored with every step that can be sampled are the codes of now."""
        window = self.agent.replay.window(self.agent.replay.sampleable())
        for name, obs in (("digest", window.obs), ("next_digest", window.next_obs)):
            if name in window.extras:
                np.testing.assert_array_equal(np.asarray(window.extras[name])[:, 0], self.digests(obs))


@cache
def pictures(count: int = 300, side: int = 16) -> Tensor:
    """(count, side * side) uint8: a bright square on a dark ground, somewhere."""
    rng = np.random.default_rng(0)
    frames = np.full((count, side, side), 20, np.uint8)
    for frame, (y, x) in zip(frames, rng.integers(0, side - 4, (count, 2)), strict=True):
        frame[y : y + 5, x : x + 5] = 220
    return torch.from_numpy(frames.reshape(count, -1))


@cache
def fitted(steps: int, penalty: float = 10.0, side: int = 16, codes: int = 32) -> tuple[Autoencoder, list[float]]:
    """An autoencoder after so many updates, and its losses."""
    with torch_seeded(4):
        network = Autoencoder(side, codes, 8)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    draw, losses = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        frames = pictures(side=side)[torch.randint(0, 300, (16,), generator=draw)]
        code = network.encode(frames)
        loss = code_loss(network.decode(code), frames, code, penalty)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return network, losses


def test_the_loss_is_equation_4_with_means() -> None:
    """Two frames of three pixels, four levels, two units."""
    logits = np.array([[[1, 0, 0, 2], [0, 0, 0, 0], [3, 1, 0, -1]], [[0, 5, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2]]], float)
    frames = np.array([[0, 64, 255], [127, 128, 191]])
    level = np.array([[0, 1, 3], [1, 2, 2]])
    code = np.array([[0.1, 0.7], [0.5, 1.0]])
    nll = [
        np.log(np.exp(logits[n, p]).sum()) - logits[n, p, level[n, p]]  # - log softmax
        for n in range(2)
        for p in range(3)
    ]
    uncertain = [0.1**2, 0.3**2, 0.5**2, 0.0]
    expected = sum(nll) / 6 + 10 * sum(uncertain) / 4
    found = code_loss(torch.tensor(logits), torch.tensor(frames, dtype=torch.uint8), torch.tensor(code), 10.0)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_penalty_pulls_to_the_nearer_end() -> None:
    code = torch.tensor([[0.1, 0.49, 0.51, 0.9]], requires_grad=True)
    code_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1), code, 4.0).backward()  # type: ignore[no-untyped-call]
    assert code.grad is not None
    assert code.grad[0].tolist() == pytest.approx([0.2, 0.98, -0.98, -0.2], rel=1e-5)


def test_every_parameter_learns() -> None:
    with torch_seeded(4):
        network = Autoencoder(16, 32, 8)
    code = network.encode(pictures()[:16])
    code_loss(network.decode(code), pictures()[:16], code, 10.0).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_to_tell_pictures_apart() -> None:
    network, losses = fitted(400)
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:20])
    encoder = BitEncoder(16, 32)
    encoder.follow(network)
    bits = encoder(pictures())
    assert len(bits.unique(dim=0)) > 8  # where units saturate at once it is 1
    assert (bits.float().mean(0) - 0.5).abs().max() < 0.5  # no unit says the same of all pictures


def test_the_penalty_makes_units_clear() -> None:
    unclear = {}
    for penalty in (0.0, 10.0):
        code = fitted(400, penalty)[0].encode(pictures()[:64]).detach()
        unclear[penalty] = float(torch.minimum(code, 1 - code).mean())
    assert unclear[10.0] < 0.8 * unclear[0.0]


@pytest.mark.parametrize("side", [8, 15, 42, 52])
def test_any_side_comes_back(side: int) -> None:
    network = Autoencoder(side, 5, 3)
    code = network.encode(torch.zeros(2, side * side, dtype=torch.uint8))
    assert code.shape == (2, 5)
    assert network.decode(code).shape == (2, side * side, 3)
    assert BitEncoder(side, 5)(torch.zeros(2, side * side, dtype=torch.uint8)).shape == (2, 5)


def test_decoded_pixels_lie_where_they_were() -> None:
    """Rows are not taken for columns, nor levels for pixels."""
    network, _ = fitted(400, penalty=0.0)
    frames = pictures()[:50]
    with torch.no_grad():
        levels = network.decode(network.encode(frames)).argmax(2)
    right = levels == frames.long() * 8 // 256
    assert right[frames > 100].float().mean() > 0.6
    assert right.float().mean() > 0.93


def assert_exact_in_every_batch(encoder: BitEncoder, frames: Tensor, spread: float) -> None:
    """What becomes bits is the same in any batch and order, and varies by at least `spread`."""
    taken: list[Tensor] = []
    encoder.layers.register_forward_hook(lambda *call: taken.append(call[2]))

    def logits(rows: Tensor) -> Tensor:
        taken.clear()
        encoder(rows)
        return torch.cat(taken)

    whole = logits(frames)
    assert whole.std() > spread
    for size in (1, 2, 7, 64):
        assert torch.equal(torch.cat([logits(rows) for rows in torch.split(frames, size)]), whole)
    assert torch.equal(logits(frames.flip(0)), whole.flip(0))
    assert torch.equal(whole * GRID**2, (whole * GRID**2).round())  # whole multiples: nothing was rounded in a sum


def test_a_frame_has_the_same_bits_in_every_batch() -> None:
    """Exactly: even the numbers whose sign they are, which in float32 differ in their last bits."""
    network, _ = fitted(20, side=42)
    encoder = BitEncoder(42, 32)
    encoder.follow(network)
    frames = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (150, 1764)).astype(np.uint8))
    assert_exact_in_every_batch(encoder, frames, 0.1)


def test_the_bits_are_those_of_the_autoencoder() -> None:
    network = copy.deepcopy(fitted(400)[0])  # eval changes it
    encoder = BitEncoder(16, 32)
    encoder.follow(network)
    network.eval()
    with torch.no_grad():
        code = network.encode(pictures())
    sure = (code - 0.5).abs() > 0.01
    assert sure.float().mean() > 0.9
    assert torch.equal(encoder(pictures())[sure], code[sure] > 0.5)


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
    for _ in run.steps(WARM_UP):
        pass
    decoded: list[Tensor] = []
    coded: list[Tensor] = []
    decode, loss = run.codes.network.decode, learned.code_loss

    def spied_loss(logits: Tensor, frames: Tensor, code: Tensor, penalty: float) -> Tensor:
        assert torch.equal(code, run.codes.network.encode(frames))  # the penalty is that of the clean code
        coded.append(code.detach())
        return loss(logits, frames, code, penalty)

    monkeypatch.setattr(run.codes.network, "decode", lambda code: decoded.append(code.detach()) or decode(code))
    monkeypatch.setattr(learned, "code_loss", spied_loss)
    for _ in range(20):
        run.codes._update()
    noise = torch.cat(decoded) - torch.cat(coded)  # (20 * 8, 24)
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
