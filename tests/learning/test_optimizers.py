"""Every key of the table `optimizer` reaches torch's optimizer, for every type that takes it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlkit.learning.optimizers import OptimizerConfig, build_optimizer, plain_step

DEFAULTS: dict[str, dict[str, Any]] = {
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8},
    "adamax": {"betas": (0.9, 0.999), "eps": 1e-8},
    "radam": {"betas": (0.9, 0.999), "eps": 1e-8},
    "rmsprop": {"decay": 0.95, "eps": 1e-8, "centered": False, "momentum": 0.0},
    "sgd": {"momentum": 0.0},
}
OTHERS = {"betas": (0.5, 0.9), "eps": 0.25, "decay": 0.5, "centered": True, "momentum": 0.75}
CASES = [(kind, key) for kind, keys in DEFAULTS.items() for key in keys]


def stepped(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> list[float]:
    """The weight after six steps."""
    for gradient in (1.0, -0.5, 0.1, 0.3, -0.2, 0.4):  # radam divides by the gradient's scale from the sixth step on
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    values: list[float] = weight.detach().tolist()
    return values


def built(rate: float = 0.1, **keys: Any) -> tuple[torch.optim.Optimizer, torch.nn.Parameter]:
    weight = torch.nn.Parameter(torch.zeros(1))
    return build_optimizer(OptimizerConfig(**keys), rate, [weight]), weight


@pytest.mark.parametrize(("kind", "key"), CASES)
def test_every_key_reaches_the_optimizer(kind: Any, key: str) -> None:
    for other in (False, True):
        optimizer, _ = built(type=kind, **({key: OTHERS[key]} if other else {}))
        expected = DEFAULTS[kind] | ({key: OTHERS[key]} if other else {}) | {"lr": 0.1}
        group = optimizer.param_groups[0]
        assert {name: group["alpha" if name == "decay" else name] for name in expected} == expected


@pytest.mark.parametrize(("kind", "key"), CASES)
def test_every_key_makes_other_steps(kind: Any, key: str) -> None:
    assert stepped(*built(type=kind)) != stepped(*built(type=kind, **{key: OTHERS[key]}))


def test_every_key_is_among_these() -> None:
    assert {key for keys in DEFAULTS.values() for key in keys} == OptimizerConfig.model_fields.keys() - {"type"}
    for kind, keys in DEFAULTS.items():
        for key in OTHERS:
            if key not in keys:
                with pytest.raises(ValueError, match=f"optimizer.{key} does not apply"):
                    built(type=kind, **{key: OTHERS[key]})


def test_steps_by_hand() -> None:
    assert stepped(*built(type="sgd", rate=0.5)) == pytest.approx([-0.5 * (1.0 - 0.5 + 0.1 + 0.3 - 0.2 + 0.4)])
    # rmsprop, centered: g / sqrt(v - m^2 + eps), with v and m the running means of g^2 and g
    m = v = w = 0.0
    for gradient in (1.0, -0.5, 0.1, 0.3, -0.2, 0.4):
        m, v = 0.5 * m + 0.5 * gradient, 0.5 * v + 0.5 * gradient**2
        w -= 0.1 * gradient / (v - m**2 + 0.25) ** 0.5
    assert stepped(*built(type="rmsprop", centered=True, decay=0.5, eps=0.25)) == pytest.approx([w])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_centered_rmsprop_survives_a_constant_gradient(momentum: float) -> None:
    """Its variance is 0, and less than 0 by rounding."""
    vector = torch.nn.Parameter(torch.zeros(3000))
    config = OptimizerConfig(type="rmsprop", centered=True, momentum=momentum)
    optimizer = build_optimizer(config, 1e-3, [vector])
    gradient = torch.linspace(-1, 1, 3000)
    for _ in range(300):
        vector.grad = gradient.clone()
        optimizer.step()
    assert vector.isfinite().all()


@pytest.mark.parametrize("kind", list(DEFAULTS))
def test_a_step_without_hooks_is_the_optimizers(kind: Any) -> None:
    config = OptimizerConfig(type=kind)
    vectors = [torch.nn.Parameter(torch.linspace(-1, 1, 50)) for _ in range(2)]
    first, second = (build_optimizer(config, 0.1, [vector]) for vector in vectors)
    step = plain_step(second)
    for number in range(3):
        for vector in vectors:
            vector.grad = torch.sin(torch.arange(50.0) + number)
        first.step()
        step()
        assert torch.equal(*vectors)
        assert not torch.equal(vectors[1], torch.linspace(-1, 1, 50))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"centered": True}, "takes betas, eps"),
        ({"type": "sgd", "eps": 1e-3}, "takes momentum"),
        ({"betas": (0.9, 1.0)}, r"must lie in \[0, 1\)"),
    ],
)
def test_impossible_settings_name_what_is_possible(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        OptimizerConfig(**keys)
