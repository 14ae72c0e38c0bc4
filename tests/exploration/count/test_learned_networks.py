"""The table `network` of learned codes: normalised autoencoders, and what becomes of them in the frozen encoder."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents.dqn import plugin
from envs.gymnasium import plugin as gymnasium
from helpers.learned_codes import ROOM, WARM_UP, Run, assert_exact_in_every_batch, config, pictures
from rlkit.errors import ConfigError
from rlkit.exploration.count.autoencoder import Autoencoder, BitEncoder, code_loss, scaled
from rlkit.nn.config import NetworkConfig
from rlkit.nn.layers import LayerFactory
from rlkit.nn.weight_norm import initialise_from_data, length_and_direction, normalised_layers
from rlkit.seeding import torch_seeded
from rlkit.testing.agents import check_agent
from rlkit.testing.states import difference, snapshot
from rlkit.types import Observation, StepBatch

pytestmark = pytest.mark.slow

INITIAL = 31
WEIGHT = {"normalisation": "weight", "weight_norm": {"initial_batch": INITIAL, "project": True}}
TABLES: dict[str, dict[str, Any]] = {
    "none": {"normalisation": "none", "activation": "leaky_relu"},
    "weight": {**WEIGHT, "activation": "leaky_relu"},
    "exponential": {"normalisation": "weight", "weight_norm": {"exponential": True}},
    "weight_mean_batch": {"normalisation": "weight_mean_batch"},
    "batch": {"normalisation": "batch", "activation": "leaky_relu"},
}


@cache
def fitted(kind: str, side: int = 16, steps: int = 120) -> tuple[Autoencoder, BitEncoder]:
    """An autoencoder after so many updates, whose running statistics are therefore not those of the start."""
    factory = LayerFactory.of(NetworkConfig(**TABLES[kind]))
    with torch_seeded(4):
        network, encoder = Autoencoder(side, 32, 8, factory), BitEncoder(side, 32, factory)
    initialise_from_data(network, lambda: network.decode(network.encode(pictures(side=side)[:100])))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        frames = pictures(side=side)[torch.randint(0, 300, (16,), generator=draw)]
        code = network.encode(frames)
        loss = code_loss(network.decode(code), frames, code, 10.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    encoder.follow(network)
    return network, encoder


@pytest.mark.parametrize("kind", TABLES)
def test_the_frozen_encoder_computes_what_the_autoencoder_does(kind: str) -> None:
    """In float64 and by running statistics, after every layer and its normalisation, up to the grid's rounding."""
    trained, encoder = fitted(kind)
    network = copy.deepcopy(trained).eval().double()
    learned: list[Tensor] = []
    for part in network.encoder:
        if isinstance(part, nn.ReLU | nn.LeakyReLU):
            part.register_forward_pre_hook(lambda part, args: learned.append(args[0].detach().clone()))
    with torch.no_grad():
        learned.append(network.norm(network.encoder(scaled(pictures(), torch.float64))))
    x, frozen = scaled(pictures(), torch.float64), []
    for part in encoder.layers:
        x = part(x)
        frozen += [x.clone()] if isinstance(part, nn.Conv2d | nn.Linear) else []
    assert len(frozen) == len(learned) == 5
    for one, other in zip(frozen, learned, strict=True):
        assert other.std() > 0.1
        assert (one - other).abs().max() < 0.02 * other.std()
    sure = learned[-1].abs() > 0.02 * learned[-1].std()
    assert torch.equal(encoder(pictures())[sure], learned[-1][sure] > 0)
    assert len(encoder(pictures()).unique(dim=0)) > 4


@pytest.mark.parametrize("kind", TABLES)
def test_a_frame_has_the_same_bits_in_every_batch(kind: str) -> None:
    """Exactly: no sum is rounded, and what leaves an activation lies on the grid."""
    _, shared = fitted(kind, 42, 5)
    encoder = copy.deepcopy(shared)
    frames = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (150, 1764)).astype(np.uint8))
    assert_exact_in_every_batch(encoder, frames, 0.02)
    hidden = encoder.layers[1](encoder.layers[0](scaled(frames, torch.float64)))
    assert (hidden < 0).any() == (shared.layers[1].activation.__class__ is nn.LeakyReLU)


def learned(network: dict[str, Any] | None, **features: Any) -> Any:
    return config({"network": network, **features})


def test_every_layer_starts_with_mean_0_and_variance_1() -> None:
    """On the very frames that were drawn: a second run in the state of that moment draws them again."""
    chosen = learned(WEIGHT, learning_rate=1e-12)
    run, second = Run(chosen), Run(chosen)
    steps: list[StepBatch] = []
    for step, metrics in run.steps(INITIAL):
        steps.append(step)
        if len(steps) < INITIAL:
            assert run.codes.updates == 0
            assert "loss/codes" not in metrics
            saved = snapshot(run.agent.state_dict())
    assert run.codes.updates == INITIAL * 3 // 10  # all that were owed
    second.agent.load_state_dict(saved)
    second.agent.observe(steps[-1])
    obs = second.agent.replay.sample(INITIAL).window.obs.numpy()
    frames = torch.from_numpy(second.bonus.visits.features(Observation(obs, {}, np.zeros(INITIAL, np.bool_))))
    network, found = run.codes.network, []
    for layer, function in normalised_layers(network):
        layer.register_forward_hook(
            lambda part, args, out, scale=function.scale: found.append((out.movedim(1, 0).flatten(1), scale))
        )
    with torch.no_grad():
        network.decode(network.encode(frames))
    assert [scale for _, scale in found] == [1.0] * 10 + [0.1]
    for t, scale in found:
        sigma, mu = torch.std_mean(t, 1, correction=0)
        alive = sigma > 0.5 * scale  # a unit that the data leave constant keeps a small deviation
        assert alive.float().mean() > 0.5
        torch.testing.assert_close(mu, torch.zeros_like(mu), atol=5e-3, rtol=0)
        torch.testing.assert_close(sigma[alive], torch.full_like(sigma[alive], scale), atol=5e-3, rtol=0)


def test_projection_holds_the_lengths_of_v() -> None:
    run = Run(learned(WEIGHT))
    start = [length_and_direction(layer)[1].detach().clone() for layer, _ in normalised_layers(run.codes.network)]
    for _ in run.steps(60):
        pass
    for (layer, function), before in zip(normalised_layers(run.codes.network), start, strict=True):
        v = length_and_direction(layer)[1].detach()
        assert not torch.equal(v, before)
        others = [axis for axis in range(v.dim()) if axis != function.units]
        torch.testing.assert_close(v.square().sum(others), before.square().sum(others))


@pytest.mark.parametrize("stopped", [INITIAL - 2, INITIAL - 1, INITIAL, INITIAL + 1, 75])
@pytest.mark.parametrize("kind", ["weight", "batch"])
def test_a_resumed_run_is_the_uninterrupted_one(kind: str, stopped: int) -> None:
    run, resumed = Run(learned(TABLES[kind])), Run(learned(TABLES[kind]))
    steps: list[StepBatch] = []
    for step, _ in run.steps(85):  # of fits at 40 and 70
        steps.append(step)
        if len(steps) == stopped:
            saved = snapshot(run.agent.state_dict())
    resumed.agent.load_state_dict(saved)
    for step in steps[stopped:]:
        resumed.agent.observe(step)
        resumed.agent.learn()
    assert difference(snapshot(run.agent.state_dict()), snapshot(resumed.agent.state_dict())) is None


@pytest.mark.parametrize("kind", ["weight", "batch"])
def test_conformance(kind: str) -> None:
    check_agent(plugin, learned(TABLES[kind]), gymnasium, ROOM, steps=40)


def test_a_table_that_says_nothing_changes_nothing() -> None:
    runs = [Run(learned(table)) for table in (None, {"normalisation": "none", "activation": "relu"})]
    for run in runs:
        for _ in run.steps(50):
            pass
    assert difference(*(snapshot(run.agent.state_dict()) for run in runs)) is None
    assert "network" not in config().model_dump(mode="json", exclude_none=True)["bonus"]["features"]
    written = learned(WEIGHT).model_dump_json(exclude_none=True)
    assert type(learned(WEIGHT)).model_validate_json(written) == learned(WEIGHT)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"hidden": [8]}, "features.network.hidden does not apply"),
        ({"encoder": "nature"}, "uses only normalisation, weight_norm and activation"),
        ({"dueling": True}, "features.network.dueling"),
        ({"normalisation": "layer"}, "which frozen weights cannot replace"),
        ({"normalisation": "group", "groups": 2}, 'give "weight"'),
        ({"normalisation": "spectral"}, "last hidden layer of a Q-network"),
        (
            {"activation": "elu"},
            "is not exact: the last bits of exp, and so a code, may change with the batch; give",
        ),
        ({"activation": "tanh"}, "is not exact"),
    ],
    ids=str,
)
def test_what_a_frozen_encoder_cannot_be_is_refused(network: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="features") as error:
        learned(network)
    assert says in str(error.value)


def test_more_frames_than_random_play_gives_are_refused() -> None:
    table = {"normalisation": "weight", "weight_norm": {"initial_batch": WARM_UP + 1}}
    with pytest.raises(ConfigError, match=r"from 41 frames of random play: learning_starts = 40 must be at least"):
        Run(learned(table))
