"""Config keys and values in words."""

from __future__ import annotations

from typing import Any

import pytest

from rlkit.report.labels import in_words, key_in_words


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("agent.learning_rate", 0.00050001, "learning rate 0.0005"),
        ("agent.double", True, "double"),
        ("agent.double", False, "no double"),
        ("agent.network.normalisation", "none", "no normalisation"),
        ("agent.network.normalisation", None, "no normalisation"),
        ("agent.n_step", 1, "n step 1"),
        ("agent.bonus.beta", 0, "beta 0"),
        ("agent.epsilon.steps", 20_000, "epsilon steps 20,000"),
        ("train.steps", 20_000, "steps 20,000"),
        ("env.kwargs.size", 8, "size 8"),
        ("agent.bonus.hash.bits", 32, "hash bits 32"),
        ("agent.network.hidden", [64, 64], "hidden [64, 64]"),
    ],
)
def test_a_key_with_its_value(key: str, value: Any, words: str) -> None:
    assert in_words(key, value, [key, "env.id"]) == words


def test_keys_of_the_same_name_are_told_apart_by_their_tables() -> None:
    keys = ["agent.controller.learning_rate", "agent.meta.learning_rate", "agent.epsilon.end", "agent.meta.epsilon.end"]
    names = [key_in_words(key, keys) for key in keys]
    assert names[:2] == ["controller learning rate", "meta learning rate"]
    assert names[3] == "meta epsilon end"
    assert len(set(names)) == 4
