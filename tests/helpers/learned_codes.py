"""A DQN that counts learned codes of a small world seen as pictures, and pictures for the network alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.dqn import DQNAgent, DQNConfig, plugin
from envs.gymnasium import plugin as gymnasium
from rlkit.agent import AgentContext
from rlkit.exploration.count.autoencoder import GRID, Autoencoder, BitEncoder, code_loss
from rlkit.exploration.count.bonus import CountBonus
from rlkit.exploration.count.learned import LearnedCodes
from rlkit.seeding import Streams, torch_seeded
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
        n_step=1,
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
def fitted(steps: int, penalty: float, side: int, /) -> tuple[Autoencoder, list[float]]:
    """An autoencoder after so many updates, and its losses."""
    with torch_seeded(4):
        network = Autoencoder(side, 32, 8)
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
