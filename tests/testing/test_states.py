"""States are compared bit by bit."""

import numpy as np
import torch

from rlkit.testing.states import difference, flatten, snapshot


def test_states_are_compared_bit_by_bit() -> None:
    state = {"a": {"b": torch.tensor([1.0, float("nan")]), "c": [1, True]}, "d": np.zeros(2), "e": {}, "f": None}
    near = torch.tensor([1.0000001, float("nan")])
    assert difference(state, snapshot(state)) is None
    assert flatten(state).keys() == {"a/b", "a/c/#", "a/c/0", "a/c/1", "d", "e/", "f"}
    for message, other in [
        ("a/b is 1.0000001192092896 at [0]; expected 1.0", {**state, "a": {**state["a"], "b": near}}),
        ("d is array([0., 0.], dtype=float32); expected array([0., 0.])", {**state, "d": np.zeros(2, np.float32)}),
        ("d is array([-0., -0.]); expected array([0., 0.])", {**state, "d": -np.zeros(2)}),
        ("a/c/1 is 1; expected True", {**state, "a": {**state["a"], "c": [1, 1]}}),
        ("e/x is not expected", {**state, "e": {"x": 1}}),
        ("f is missing", {name: value for name, value in state.items() if name != "f"}),
    ]:
        assert difference(state, other) == message
