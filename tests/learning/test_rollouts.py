"""What on-policy agents share: minibatches, and the linear decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlkit.learning.rollouts import AnnealConfig, RolloutConfig, shuffled
from rlkit.nn.config import NetworkConfig


@pytest.mark.parametrize(("parts", "sizes"), [(1, [10]), (3, [4, 3, 3]), (4, [3, 3, 2, 2]), (10, [1] * 10)])
def test_minibatches_are_equal_parts_of_all_rows_in_random_order(parts: int, sizes: list[int]) -> None:
    column, rng = torch.arange(10) * 7, np.random.default_rng(0)
    orders = []
    for _ in range(2):
        found = list(shuffled((column, column[:, None]), parts, rng))
        assert [len(rows) for rows, _, _ in found] == sizes
        for rows, first, second in found:
            assert torch.equal(first, column[rows])
            assert torch.equal(second, column[rows][:, None])
        orders.append(torch.cat([rows for rows, _, _ in found]).tolist())
    assert [sorted(order) for order in orders] == [list(range(10))] * 2
    assert orders[0] != orders[1]
    assert list(range(10)) not in orders


@pytest.mark.parametrize(("keys", "count"), [({}, 4), ({"minibatch_size": 4}, 3), ({"minibatch_size": 99}, 1)])
def test_the_number_of_minibatches(keys: dict[str, int], count: int) -> None:
    assert RolloutConfig(rollout_steps=5, **keys).minibatch_count(2, NetworkConfig()) == count


@pytest.mark.parametrize(
    ("num_envs", "length", "minibatches"), [(1, 1024, 16), (2, 512, 16), (3, 384, 16), (8, 128, 16), (64, 128, 16)]
)
def test_rollouts_have_about_as_many_steps_whatever_the_number_of_environments(
    num_envs: int, length: int, minibatches: int
) -> None:
    config = RolloutConfig()
    assert config.length(num_envs) == length
    assert config.minibatch_count(num_envs, NetworkConfig()) == minibatches
    memory = NetworkConfig(memory={})  # type: ignore[arg-type]
    assert config.sequence == 128
    assert config.minibatch_count(num_envs, memory) == min(minibatches, length * num_envs // 128)
    assert RolloutConfig(rollout_steps=600).minibatch_count(1, NetworkConfig()) == 9, "of 64 steps or some more"


def test_annealing_by_hand() -> None:
    anneal = AnnealConfig(steps=100)
    assert [anneal.factor(steps, 0.2) for steps in (0, 50, 100, 200)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_the_text_of_updates_counts_epochs_and_minibatches() -> None:
    config = RolloutConfig(rollout_steps=10, epochs=3)
    assert config.updates_text(4, 1_000, 7) == "525 of 5 or 6 steps: 25 rollouts, 3 epochs, 7 minibatches"
