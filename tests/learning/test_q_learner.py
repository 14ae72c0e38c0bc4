"""The learner: one update by hand, the target network's ways, and a state that restores bit by bit."""

import copy
import dataclasses
from operator import attrgetter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from rlkit.errors import ConfigError
from rlkit.learning.gradient import GradientSettings
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.learning.q_learner import LearnerSettings, QLearner
from rlkit.learning.q_losses import QLoss
from rlkit.learning.target import TargetConfig
from rlkit.learning.value_loss import Transitions
from rlkit.nn.config import NetworkConfig, WeightNormConfig
from rlkit.nn.parameters import load_parameters
from rlkit.nn.qnetwork import build_q_network
from rlkit.seeding import torch_seeded
from rlkit.testing.states import difference, snapshot

SGD = OptimizerConfig(type="sgd")


def settings(
    target: TargetConfig | None = None, loss: Any = "squared", double: bool = False, **changes: Any
) -> LearnerSettings:
    gradient = GradientSettings(**({"learning_rate": 0.1, "optimizer": SGD} | changes))
    return LearnerSettings(gradient, target or TargetConfig(every=1000), QLoss(loss, double))


def table(values: list[list[float]]) -> nn.Module:
    """Q-values in the weights of a linear layer: the one-hot observation i gives row i."""
    layer = nn.Linear(len(values), len(values[0]), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values).T)
    return layer


def batch(obs: list[int], action: list[int], reward: list[float], discount: float, next_obs: list[int]) -> Transitions:
    eye = torch.eye(2)
    size = len(obs)
    return Transitions(
        (eye[obs],),
        torch.tensor(action),
        torch.tensor(reward),
        torch.full((size,), discount),
        (eye[next_obs],),
        torch.ones(size),
    )


def test_an_update_of_a_table_by_hand() -> None:
    online = table([[1.0, 2.0], [3.0, 5.0]])
    learner = QLearner(online, settings())
    output = learner.update(batch([0], [1], [1.0], 0.5, [1]))
    # td = 1 + 0.5 * 5 - 2 = 1.5; q(0, 1) += 0.1 * 1.5
    assert output.priority.tolist() == [1.5]
    torch.testing.assert_close(online.weight.T, torch.tensor([[1.0, 2.15], [3.0, 5.0]]))
    expected = {"loss/td": 1.125, "q/mean": 1.5, "q/max": 2.0, "q/td_error": 1.5, "gradient/norm": 1.5}
    assert {name: value.item() for name, value in output.metrics.items()} == pytest.approx(expected)
    assert learner.updates == 1


def test_double_values_with_the_target_what_the_online_network_selects() -> None:
    online = table([[0.0, 0.0], [9.0, 1.0]])
    learner = QLearner(online, settings(double=True))
    with torch.no_grad():
        learner.target.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 7.0]]).T)
    assert learner.update(batch([0], [0], [0.0], 1.0, [1])).priority.tolist() == [2.0]  # not 7, not 9


@pytest.mark.parametrize(("double", "expected"), [(False, 12.0), (True, 7.5)])
def test_an_adjustment_applies_to_what_selects_and_to_what_values(double: bool, expected: float) -> None:
    online = table([[0.0, 0.0], [9.0, 1.0]])
    learner = QLearner(online, settings(double=double))
    with torch.no_grad():
        learner.target.weight.copy_(torch.tensor([[0.0, 0.0], [22.0, 7.0]]).T)
    adjusted = dataclasses.replace(
        batch([0], [0], [0.0], 1.0, [1]), adjustment=lambda values: values + torch.tensor([-10.0, 0.5])
    )
    assert learner.update(adjusted).priority.tolist() == [expected]  # 22 - 10; or 7 + 0.5, since 1 + 0.5 > 9 - 10


def test_importance_weights_reach_the_loss() -> None:
    online = table([[0.0, 0.0], [0.0, 0.0]])
    both = batch([0, 1], [0, 1], [1.0, 1.0], 0.0, [0, 0])
    weighted = Transitions(both.obs, both.action, both.reward, both.discount, both.next_obs, torch.tensor([1.0, 0.25]))
    output = QLearner(online, settings()).update(weighted)
    # mean over 2 of weight * td^2 / 2: gradient weight * td / 2
    torch.testing.assert_close(online.weight.T, torch.tensor([[0.05, 0.0], [0.0, 0.0125]]))
    assert output.metrics["loss/td"].item() == pytest.approx((0.5 + 0.125) / 2)


def test_huber_and_the_gradient_limit() -> None:
    online = table([[0.0, 0.0], [0.0, 0.0]])
    output = QLearner(online, settings(loss="huber", max_grad_norm=0.5)).update(batch([0], [0], [9.0], 0.0, [0]))
    assert output.metrics["gradient/norm"].item() == pytest.approx(1.0)  # before the limit
    assert online.weight.T[0, 0].item() == pytest.approx(0.05)  # 0.1 * 0.5


def test_the_target_is_copied_every_k_updates() -> None:
    online = table([[0.0, 0.0], [0.0, 0.0]])
    learner = QLearner(online, settings(target=TargetConfig(every=3)))
    equal = []
    for _ in range(7):
        learner.update(batch([0], [0], [1.0], 0.9, [1]))
        equal.append(torch.equal(learner.target.weight, online.weight))
    assert equal == [False, False, True, False, False, True, False]


def test_polyak_averaging() -> None:
    online = table([[0.0, 0.0], [0.0, 0.0]])
    learner = QLearner(online, settings(target=TargetConfig(every=1, tau=0.25)))
    expected = torch.zeros(2, 2)
    for _ in range(3):
        learner.update(batch([0], [0], [1.0], 0.0, [0]))
        expected = expected + 0.25 * (online.weight.detach() - expected)
        torch.testing.assert_close(learner.target.weight, expected)
    assert not learner.target.weight.requires_grad


def test_buffers_follow_too() -> None:
    online = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    learner = QLearner(online, settings(target=TargetConfig(every=1)))
    learner.update(batch([0, 1], [0, 1], [1.0, 1.0], 0.0, [0, 1]))
    assert torch.equal(learner.target[0].running_mean, online[0].running_mean)
    assert online[0].running_mean.any()


def network(normalisation: str | None, seed: int = 0, **changes: Any) -> nn.Module:
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    with torch_seeded(seed):
        return build_q_network(NetworkConfig(hidden=(16, 8), normalisation=normalisation, **changes), space, 2)


MANY = batch([0, 1, 0, 1], [0, 1, 1, 0], [1.0, 0.5, -1.0, 2.0], 0.9, [1, 0, 0, 1])


def effective(online: nn.Module, target: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Each parameter of the target beside what the online network computes with."""
    return {name: (kept, attrgetter(name)(online).detach()) for name, kept in target.named_parameters()}


@pytest.mark.parametrize("normalisation", ["weight", "weight_mean_batch", "spectral"])
def test_the_target_holds_plain_weights_and_averages_them(normalisation: str) -> None:
    online = network(normalisation)
    learner = QLearner(online, settings(target=TargetConfig(every=1, tau=0.25), optimizer=OptimizerConfig()))
    assert not any("parametrizations" in name for name, _ in learner.target.named_parameters())
    torch.testing.assert_close(learner.target(MANY.obs[0]), online(MANY.obs[0]))
    expected = {name: kept.clone() for name, (kept, _) in effective(online, learner.target).items()}
    for _ in range(3):
        learner.update(MANY)
        for name, (kept, now) in effective(online, learner.target).items():
            expected[name] = expected[name] + 0.25 * (now - expected[name])
            torch.testing.assert_close(kept, expected[name])
    assert not torch.equal(learner.target(MANY.obs[0]), online(MANY.obs[0]))


@pytest.mark.parametrize("normalisation", ["weight", "weight_mean_batch", "spectral", "batch"])
def test_copies_are_of_weights_and_of_running_statistics(normalisation: str) -> None:
    online = network(normalisation)
    learner = QLearner(online, settings(target=TargetConfig(every=2)))
    learner.update(MANY)
    assert not torch.equal(learner.target(MANY.obs[0]), online(MANY.obs[0]))
    learner.update(MANY)
    torch.testing.assert_close(learner.target(MANY.obs[0]), online(MANY.obs[0]))


def test_initialising_reaches_the_target_and_the_optimizers_view() -> None:
    online = network("weight")
    learner = QLearner(online, settings(target=TargetConfig(every=1000)))
    obs = torch.randn(200, 2)
    before = online(obs)
    learner.initialise((obs,))
    assert online(obs).std(0, correction=0).tolist() == pytest.approx([0.1, 0.1], rel=1e-3)
    assert not torch.allclose(before, online(obs))
    torch.testing.assert_close(learner.target(obs), online(obs))
    q = online(MANY.obs[0]).detach()
    learner.update(MANY)
    assert not torch.equal(q, online(MANY.obs[0])), "the optimizer's vector is no longer the network's"


@pytest.mark.parametrize("normalisation", ["batch", "weight_mean_batch", "spectral"])
def test_only_the_pass_that_learns_is_in_training_mode(normalisation: str) -> None:
    """Running statistics take in each batch once, with double Q-learning too, and nothing else moves them."""
    buffers = []
    for double in (False, True):
        online = network(normalisation)
        learner = QLearner(online, settings(double=double, learning_rate=1e-9))
        before = {name: value.clone() for name, value in online.named_buffers()}
        online(MANY.next_obs[0])
        assert all(torch.equal(value, before[name]) for name, value in online.named_buffers()), "acting moved them"
        learner.update(MANY)
        assert not online.training
        assert not all(torch.equal(value, before[name]) for name, value in online.named_buffers())
        buffers.append(dict(online.named_buffers()))
    assert difference(*buffers) is None


def test_batch_normalisation_learns_from_the_batchs_statistics() -> None:
    online = network("batch")
    expected = online.train()(MANY.obs[0]).detach()
    online = network("batch")
    output = QLearner(online, settings()).update(MANY)
    assert output.metrics["q/mean"].item() == pytest.approx(expected.mean().item())
    assert output.metrics["q/mean"].item() != pytest.approx(online(MANY.obs[0]).mean().item(), rel=1e-4)


def test_diagnostics_are_among_the_metrics() -> None:
    learner = QLearner(table([[0.0, 0.0], [0.0, 0.0]]), settings(diagnostics_every=3))
    metrics = [learner.update(MANY).metrics for _ in range(7)]
    assert [number for number, row in enumerate(metrics) if "features/srank" in row] == [0, 3, 6]


@pytest.mark.parametrize("normalisation", ["weight", "weight_mean_batch", "batch", "spectral", "layer", "group"])
@pytest.mark.parametrize("saved_after", [0, 1, 5])
def test_a_restored_learner_of_a_normalised_network_goes_on_bit_by_bit(normalisation: str, saved_after: int) -> None:
    chosen = settings(optimizer=OptimizerConfig(), double=True, target=TargetConfig(every=4))
    changes = {"weight_norm": WeightNormConfig(project=True)} if normalisation == "weight" else {}
    online, other = network(normalisation, 0, **changes), network(normalisation, 1, **changes)
    learner, restored = QLearner(online, chosen), QLearner(other, chosen)
    saved: Any = None
    for number in range(9):
        if number == saved_after:
            saved = snapshot({"online": dict(online.state_dict()), "learner": learner.state_dict()})
        learner.update(MANY)
    load_parameters(other, saved["online"], "it")
    restored.load_state_dict(saved["learner"])
    for _ in range(saved_after, 9):
        restored.update(MANY)
    assert difference(dict(online.state_dict()), dict(other.state_dict())) is None
    assert difference(learner.state_dict(), restored.state_dict()) is None


OPTIMIZERS = [
    OptimizerConfig(),
    OptimizerConfig(type="adamax", betas=(0.5, 0.999)),
    OptimizerConfig(type="rmsprop", centered=True, momentum=0.9, eps=0.01),
    OptimizerConfig(type="rmsprop"),
    OptimizerConfig(type="sgd", momentum=0.9),
    SGD,
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda config: config.type)
@pytest.mark.parametrize("saved_after", [0, 5])
def test_a_restored_learner_goes_on_bit_by_bit(optimizer: OptimizerConfig, saved_after: int) -> None:
    torch.manual_seed(1)
    online = nn.Sequential(nn.Linear(2, 7), nn.ReLU(), nn.Linear(7, 2))
    other = copy.deepcopy(online)
    chosen = settings(optimizer=optimizer, learning_rate=1e-2, target=TargetConfig(every=4))
    batches = [batch([0, 1], [i % 2, 1], [1.0, i / 3], 0.9, [1, 0]) for i in range(10)]
    learner = QLearner(online, chosen)
    for one in batches[:saved_after]:
        learner.update(one)
    saved = snapshot({"online": dict(online.state_dict()), "learner": learner.state_dict()})
    for one in batches[saved_after:]:
        learner.update(one)
    before = snapshot(saved)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    restored = QLearner(other, chosen)
    other.load_state_dict(saved["online"])
    restored.load_state_dict(saved["learner"])
    for one in batches[saved_after:]:
        restored.update(one)
    assert difference(dict(online.state_dict()), dict(other.state_dict())) is None
    assert difference(learner.state_dict(), restored.state_dict()) is None
    assert difference(before, saved) is None  # the state that was loaded is not written to


def test_a_state_of_another_network_is_refused() -> None:
    small, large = nn.Linear(2, 2), nn.Linear(2, 3)
    learners = [QLearner(network, settings(optimizer=OptimizerConfig())) for network in (small, large)]
    for learner in learners:
        learner.update(batch([0], [0], [1.0], 0.0, [0]))
    with pytest.raises(ConfigError, match="target network's state does not fit: weight has shape"):
        learners[1].load_state_dict(learners[0].state_dict())
    state = {**learners[1].state_dict(), "optimizer": learners[0].state_dict()["optimizer"]}
    with pytest.raises(ConfigError, match="optimizer's state does not fit"):
        learners[1].load_state_dict(state)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TargetConfig(tau=0.01), "target.every = 1"),
        (lambda: TargetConfig(every=0), "every"),
    ],
)
def test_impossible_settings_name_what_is_possible(make: Any, says: str) -> None:
    with pytest.raises(ValidationError) as error:
        make()
    assert says in str(error.value)


def test_bfloat16_rounds_the_layers_and_nothing_else() -> None:
    """Off by default; on, values are float32 numbers of bfloat16 precision, and parameters take small steps."""
    weights = [[1.0, 2.0], [3.0, 5.0 + 2**-10]]  # the last one is no bfloat16
    step = batch([0], [1], [1.0], 0.5, [1])
    errors, online = {}, {}
    for name, changes in {
        "default": {},
        "float32": {"precision": "float32"},
        "bfloat16": {"precision": "bfloat16"},
    }.items():
        online[name] = table(weights)
        output = QLearner(online[name], settings(learning_rate=1e-6, **changes)).update(step)
        assert output.priority.dtype == online[name].weight.dtype == torch.float32
        errors[name] = output.priority.item()
    assert errors["default"] == errors["float32"] == 1.5 + 2**-11
    assert errors["bfloat16"] == 1.5
    assert torch.equal(online["default"].weight, online["float32"].weight)
    assert online["bfloat16"].weight[1, 0] > 2.0, "a step below the precision of bfloat16"
    assert online["bfloat16"].weight[1, 1] == weights[1][1], "parameters are not rounded"


def test_bfloat16_makes_nearly_the_same_update_of_a_convolutional_network() -> None:
    config = NetworkConfig(encoder="nature", hidden=(32,))
    space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 8, 4, 84, 84), dtype=torch.uint8, generator=generator)
    rest = torch.zeros(8, dtype=torch.int64), torch.ones(8), torch.full((8,), 0.9)
    steps = Transitions((images[0],), *rest, (images[1],), torch.ones(8))
    outputs, changes = [], []
    for precision in ("float32", "bfloat16"):
        with torch_seeded(1):
            network = build_q_network(config, space, 3)
        before = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        outputs.append(QLearner(network, settings(double=True, precision=precision)).update(steps).priority)
        after = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        changes.append(after - before)
    assert not torch.equal(*outputs)
    torch.testing.assert_close(*outputs, atol=0.02, rtol=0.02)
    assert torch.nn.functional.cosine_similarity(*changes, dim=0) > 0.99
