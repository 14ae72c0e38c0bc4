"""Weight normalisation against the paper's equations (Salimans and Kingma 2016), in float64."""

from __future__ import annotations

import copy
import functools

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit.nn.config import NetworkConfig, WeightNormConfig
from rlkit.nn.diagnostics import with_hooks
from rlkit.nn.qnetwork import QNetwork, build_q_network
from rlkit.nn.scaled import ScaledLinear
from rlkit.nn.weight_norm import (
    LEAST_SIGMA,
    MeanOnlyBatchNorm,
    initialise_from_data,
    length_and_direction,
    normalised_layers,
    plain_copy,
    projection,
    weight_norm,
)
from rlkit.seeding import torch_seeded

ATARI = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
MINATAR = gym.spaces.Box(0, 1, (10, 10, 6), np.bool_)
VECTOR = gym.spaces.Box(-np.inf, np.inf, (7,), np.float32)


def layer(kind: str, config: WeightNormConfig | None = None) -> tuple[nn.Module, Tensor]:
    """A layer in float64 with g away from its start, and a batch for it."""
    kinds = {"linear": nn.Linear, "scaled": ScaledLinear}
    made: nn.Linear | nn.Conv2d = nn.Conv2d(2, 3, 3, stride=2) if kind == "conv" else kinds[kind](5, 3)
    normalised = weight_norm(made.double(), config or WeightNormConfig())
    with torch.no_grad():
        length_and_direction(normalised)[0].add_(torch.randn(3, *[1] * (made.weight.dim() - 1)).double())
    return normalised, torch.randn(4, 2, 7, 7).double() if kind == "conv" else torch.randn(4, 5).double()


def rows(values: Tensor) -> Tensor:
    return values.detach().flatten(1)


@pytest.mark.parametrize("kind", ["linear", "scaled", "conv"])
def test_gradients_are_those_of_the_paper(kind: str) -> None:
    """Equation 3, from the gradient of w itself: and so the gradient of v stands at right angles to v."""
    torch.manual_seed(0)
    normalised, x = layer(kind)
    g, v = length_and_direction(normalised)
    w = normalised.weight.detach().requires_grad_()
    torch.testing.assert_close(rows(w), rows(g) * rows(v) / rows(v).norm(dim=1, keepdim=True))
    torch.testing.assert_close(rows(w).norm(dim=1), rows(g)[:, 0].abs())
    forward = functools.partial(nn.functional.conv2d, stride=2) if kind == "conv" else nn.functional.linear
    target = torch.randn_like(normalised(x))
    (forward(x, w, normalised.bias.detach()) - target).pow(3).sum().backward()
    (normalised(x) - target).pow(3).sum().backward()
    length = rows(v).norm(dim=1, keepdim=True)
    of_g = (rows(w.grad) * rows(v) / length).sum(1, keepdim=True)
    of_v = rows(g) / length * rows(w.grad) - rows(g) * of_g / length**2 * rows(v)
    torch.testing.assert_close(rows(g.grad), of_g, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(rows(v.grad), of_v, rtol=1e-10, atol=1e-10)
    across = (rows(v.grad) * rows(v)).sum(1)
    assert (across.abs() < 1e-10 * rows(v.grad).norm(dim=1) * length[:, 0]).all()
    assert (rows(v.grad).norm(dim=1) > 1e-3).all()


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("kind", ["linear", "scaled", "conv"])
def test_gradients_are_those_of_finite_differences(kind: str, exponential: bool) -> None:
    torch.manual_seed(1)
    normalised, x = layer(kind, WeightNormConfig(exponential=exponential))
    names = [name for name, _ in normalised.named_parameters()]

    def out(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(normalised, dict(zip(names, values, strict=True)), (x,))

    values = [parameter.detach().clone().requires_grad_() for parameter in normalised.parameters()]
    assert torch.autograd.gradcheck(out, [x.requires_grad_(), *values])


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_scaling_the_output_is_the_layer_with_its_weight(exponential: bool, bias: bool) -> None:
    torch.manual_seed(4)
    config = WeightNormConfig(exponential=exponential)
    normalised = weight_norm(ScaledLinear(6, 4, bias=bias), config)
    x = torch.randn(5, 6)
    torch.testing.assert_close(normalised(x), nn.functional.linear(x, normalised.weight, normalised.bias))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = normalised(x.requires_grad_())
    rounded.float().sum().backward()
    torch.testing.assert_close(rounded.float(), normalised(x), atol=0.05, rtol=0.05)
    found = [x.grad.clone(), *(parameter.grad.clone() for parameter in normalised.parameters())]
    x.grad = None
    normalised.zero_grad()
    normalised(x).sum().backward()
    for one, other in zip(found, [x.grad, *(parameter.grad for parameter in normalised.parameters())], strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


def test_exponential_scales_are_powers() -> None:
    normalised, _ = layer("linear", WeightNormConfig(exponential=True))
    s, v = length_and_direction(normalised)
    expected = rows(s).exp() * rows(v) / rows(v).norm(dim=1, keepdim=True)
    torch.testing.assert_close(rows(normalised.weight), expected)


def test_v_starts_as_the_paper_has_it() -> None:
    torch.manual_seed(0)
    v = length_and_direction(weight_norm(nn.Linear(400, 300), WeightNormConfig()))[1]
    assert v.std().item() == pytest.approx(0.05, rel=0.01)
    assert abs(v.mean().item()) < 0.001


def test_v_grows_by_pythagoras_under_plain_descent() -> None:
    """Each step is at right angles to v: ||v'||^2 = ||v||^2 + ||step||^2 (paper, section 2.1)."""
    torch.manual_seed(2)
    normalised, x = layer("linear")
    _, v = length_and_direction(normalised)
    optimizer = torch.optim.SGD([v], 0.01)
    for _ in range(5):
        before = rows(v).clone()
        optimizer.zero_grad()
        normalised(x).square().sum().backward()
        optimizer.step()
        step = rows(v) - before
        torch.testing.assert_close(rows(v).norm(dim=1) ** 2, before.norm(dim=1) ** 2 + step.norm(dim=1) ** 2)
        assert (step.norm(dim=1) > 0).all()


def test_projection_keeps_w_and_the_length_of_v() -> None:
    torch.manual_seed(3)
    network = nn.Sequential(*(weight_norm(nn.Linear(6, 6), WeightNormConfig(project=True)) for _ in range(2)))
    start = [rows(length_and_direction(part)[1]).norm(dim=1) for part in network]
    project = projection(network)
    assert project is not None
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(3):
        network(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()
    weights = [part.weight.detach().clone() for part in network]
    grown = [rows(length_and_direction(part)[1]).norm(dim=1) for part in network]
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(start, grown, strict=True))
    project()
    for part, length, weight in zip(network, start, weights, strict=True):
        torch.testing.assert_close(rows(length_and_direction(part)[1]).norm(dim=1), length)
        torch.testing.assert_close(part.weight.detach(), weight)
    assert projection(weight_norm(nn.Linear(2, 2), WeightNormConfig())) is None


def test_units_of_a_transposed_convolution_are_its_outputs() -> None:
    torch.manual_seed(5)
    part = weight_norm(nn.ConvTranspose2d(5, 3, 4, 2, 1), WeightNormConfig(project=True)).double()
    g, v = length_and_direction(part)
    assert g.shape == (1, 3, 1, 1)
    with torch.no_grad():
        g.add_(0.3)
    torch.testing.assert_close(part.weight.detach(), (g * v / v.square().sum((0, 2, 3), keepdim=True).sqrt()).detach())
    start = v.detach().square().sum((0, 2, 3)).sqrt()
    with torch.no_grad():
        v.add_(torch.randn_like(v))
    grown, project = part.weight.detach().clone(), projection(part)
    assert project is not None
    project()
    torch.testing.assert_close(v.detach().square().sum((0, 2, 3)).sqrt(), start)
    torch.testing.assert_close(part.weight.detach(), grown)
    x = torch.randn(6, 5, 4, 4).double()
    initialise_from_data(part, lambda: part(x))
    sigma, mu = torch.std_mean(part(x).detach(), (0, 2, 3), correction=0)
    torch.testing.assert_close(sigma, torch.ones_like(sigma))
    torch.testing.assert_close(mu, torch.zeros_like(mu))
    torch.testing.assert_close(plain_copy(part)(x), part(x))


def random_play(space: gym.Space, size: int = 256) -> Tensor:
    rng = np.random.default_rng(0)
    shape = (size, *space.shape)
    if space is MINATAR:
        return torch.from_numpy(rng.random(shape) < 0.1)
    return torch.from_numpy(
        rng.integers(0, 256, shape, dtype=np.uint8) if space is ATARI else rng.normal(3.0, 5.0, shape).astype("float32")
    )


def initialised(config: NetworkConfig, space: gym.Space, obs: Tensor) -> QNetwork:
    with torch_seeded(0):
        network = build_q_network(config, space, 5)
    initialise_from_data(network, lambda: network.forward_with_hooks(obs))
    return network


def pre_activations(network: QNetwork, obs: Tensor) -> dict[str, Tensor]:
    """What each normalised layer, and the mean-only normalisation after it, gives: units first, (C, everything else).

    A convolution's unit is a channel, whose statistics are over the batch and over space.
    """
    found: dict[str, Tensor] = {}
    kinds = (nn.Conv2d, nn.Linear, MeanOnlyBatchNorm)
    named = {part: name for name, part in network.named_modules() if isinstance(part, kinds)}
    for part in named:
        part.register_forward_hook(lambda part, args, out: found.update({named[part]: out.movedim(1, 0).flatten(1)}))
    with torch.no_grad():
        with_hooks(network)(obs)
    return found


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize(
    ("config", "space", "size"),
    [
        ({"encoder": "nature", "hidden": (32,)}, ATARI, 32),
        ({"encoder": "minatar", "dueling": True}, MINATAR, 256),
        ({"encoder": "impala", "width": 0.5, "hidden": (16,)}, MINATAR, 256),
        ({"activation": "elu"}, VECTOR, 256),
    ],
    ids=["nature", "minatar", "impala", "mlp"],
)
def test_every_pre_activation_starts_with_mean_0_and_variance_1(
    config: dict, space: gym.Space, size: int, exponential: bool
) -> None:
    obs = random_play(space, size)
    weight = WeightNormConfig(exponential=exponential, output_scale=0.3)
    network = initialised(NetworkConfig(**config, normalisation="weight", weight_norm=weight), space, obs)
    outputs = {"head.value.2", "head.advantage.2"} if config.get("dueling") else {max(pre_activations(network, obs))}
    checked = 0
    for name, t in pre_activations(network, obs).items():
        scale = 0.3 if name in outputs else 1.0
        sigma, mu = torch.std_mean(t, 1, correction=0)
        alive = sigma > 0.5 * scale  # a unit that the data leave constant keeps a small deviation
        assert alive.float().mean() > 0.9, name
        torch.testing.assert_close(mu, torch.zeros_like(mu), atol=2e-3, rtol=0)
        torch.testing.assert_close(sigma[alive], torch.full_like(sigma[alive], scale), atol=2e-3, rtol=0)
        checked += 1
    assert checked == sum(1 for _ in normalised_layers(network))


def test_mean_only_batch_normalisation_starts_with_the_data_s_means() -> None:
    obs = random_play(MINATAR)
    config = NetworkConfig(encoder="minatar", hidden=(16,), normalisation="weight_mean_batch")
    network = initialised(config, MINATAR, obs)
    found = pre_activations(network, obs)  # in evaluation mode: by running means
    means = {name: t for name, t in found.items() if isinstance(network.get_submodule(name), MeanOnlyBatchNorm)}
    assert len(means) == 2
    for t in means.values():
        sigma, mu = torch.std_mean(t, 1, correction=0)
        torch.testing.assert_close(mu, torch.zeros_like(mu), atol=1e-3, rtol=0)
        torch.testing.assert_close(sigma, torch.ones_like(sigma), atol=1e-3, rtol=0)


def test_near_identical_data_leave_numbers_finite() -> None:
    obs = torch.zeros(64, 4, 84, 84, dtype=torch.uint8)
    obs[0, 0, 0, 0] = 1
    network = initialised(NetworkConfig(encoder="nature", normalisation="weight"), ATARI, obs)
    for part, _ in normalised_layers(network):
        g, _ = length_and_direction(part)
        assert g.isfinite().all()
        assert g.max() <= 1.0 / LEAST_SIGMA + 1e-3
    assert network(random_play(ATARI)).abs().max() < 10.0  # what was constant until now
    network(obs).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_initialising_twice_is_initialising_once() -> None:
    obs = random_play(MINATAR)
    config = NetworkConfig(encoder="minatar", normalisation="weight", weight_norm=WeightNormConfig(exponential=True))
    network = initialised(config, MINATAR, obs)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialise_from_data(network, lambda: network.forward_with_hooks(obs))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-4, rtol=1e-4)


def test_mean_only_batch_normalisation_by_hand() -> None:
    """Section 3: t - mean(t) + b while training, whose gradient is the incoming one less its mean; a running mean."""
    part = MeanOnlyBatchNorm(2).double()
    with torch.no_grad():
        part.bias.copy_(torch.tensor([10.0, 20.0]))
    t = torch.tensor([[1.0, 2.0], [3.0, 8.0]], dtype=torch.float64, requires_grad=True)
    out = part(t)
    assert out.tolist() == [[9.0, 17.0], [11.0, 23.0]]
    incoming = torch.tensor([[1.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    out.backward(incoming)
    assert t.grad is not None
    torch.testing.assert_close(t.grad, incoming - incoming.mean(0))
    torch.testing.assert_close(part.running_mean, torch.tensor([0.2, 0.5]).double())  # a tenth of 2 and 5
    part(t)
    torch.testing.assert_close(part.running_mean, torch.tensor([0.38, 0.95]).double())
    part.eval()
    torch.testing.assert_close(part(t.detach())[0], torch.tensor([1 - 0.38 + 10, 2 - 0.95 + 20]).double())
    torch.testing.assert_close(part.running_mean, torch.tensor([0.38, 0.95]).double())


def test_mean_only_batch_normalisation_of_images_is_over_space_too() -> None:
    part = MeanOnlyBatchNorm(3)
    out = part(torch.randn(4, 3, 5, 5) + 7.0)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert out[0].mean().abs() > 1e-4


@pytest.mark.parametrize("normalisation", ["weight", "spectral", "batch", None])
def test_a_plain_copy_computes_the_same_with_plain_weights(normalisation: str | None) -> None:
    obs = random_play(MINATAR, 16)
    with torch_seeded(0):
        config = NetworkConfig(encoder="minatar", normalisation=normalisation, dueling=True)
        network = build_q_network(config, MINATAR, 3)
    before = copy.deepcopy(network.state_dict())
    plain = plain_copy(network)
    torch.testing.assert_close(plain(obs), network(obs))
    assert not any("parametrizations" in name for name in plain.state_dict())
    assert type(plain.head.advantage[0]) is nn.Linear
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    torch.testing.assert_close(plain_copy(network)(obs), network(obs))  # the original is whole
