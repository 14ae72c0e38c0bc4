"""What a replay must be, slow and obvious: a list of full transitions, and worlds that make them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from rlkit.replay import Column, Prioritised, Replay
from rlkit.types import EnvSpec, Observation, Stack, StepBatch

EXTRAS = {
    "digest": Column((), np.uint64, host=True),
    "achieved": Column((3,), np.bool_),
    "seen": Column((2,), np.float32),
}


@dataclass(frozen=True)
class World:
    """How the observations of one test look, and how often what happens."""

    num_envs: int = 1
    frame_shape: tuple[int, ...] = (2, 3)  # with the stacked axis, if it is there
    dtype: Any = np.uint8
    stack: Stack | None = None
    p_terminated: float = 0.0
    p_truncated: float = 0.0
    p_life: float = 0.0  # discount 0, and the episode goes on
    p_cut: float = 0.0
    p_restart: float = 0.0  # all environments begin anew although nothing ended, as after an inexact resume

    def spec(self) -> EnvSpec:
        shape = list(self.frame_shape)
        if self.stack is not None:
            if self.frame_shape_lacks_axis:
                shape.insert(self.stack.axis, self.stack.size)
            else:
                shape[self.stack.axis] *= self.stack.size
        if not shape and self.dtype == np.int64:
            space: gym.Space[Any] = gym.spaces.Discrete(1000)
        elif self.dtype == np.bool_ or self.dtype == np.int8:
            space = gym.spaces.MultiBinary(shape)
            space.dtype = np.dtype(self.dtype)
        else:
            space = gym.spaces.Box(0, 200, shape, self.dtype)
        return EnvSpec(space, 5, self.num_envs, stack=self.stack)

    frame_shape_lacks_axis: bool = True  # (84, 84) becomes (4, 84, 84); else (3, 84, 84) becomes (12, 84, 84)


class Game:
    """One environment: random frames, stacked as real environments do it."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.frames: deque[np.ndarray] = deque(maxlen=1 if world.stack is None else world.stack.size)

    def frame(self) -> np.ndarray:
        high = 2 if self.world.dtype in (np.bool_, np.int8) else 200
        return np.asarray(self.rng.integers(1 if high > 2 else 0, high, self.world.frame_shape)).astype(
            self.world.dtype
        )

    def reset(self) -> np.ndarray:
        first = self.frame()
        stack = self.world.stack
        if stack is not None:
            padding = first if stack.padding == "repeat" else np.zeros_like(first)
            self.frames.extend([padding] * (stack.size - 1))
        self.frames.append(first)
        return self.obs()

    def step(self) -> np.ndarray:
        self.frames.append(self.frame())
        return self.obs()

    def obs(self) -> np.ndarray:
        stack = self.world.stack
        if stack is None:
            return self.frames[-1]
        join = np.stack if self.world.frame_shape_lacks_axis else np.concatenate
        return join(list(self.frames), axis=stack.axis)


class Stream:
    """Steps of N games, as a rollout makes them, with extras and cuts."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, np.random.default_rng(seed)
        self.games = [Game(world, self.rng) for _ in range(world.num_envs)]
        self.obs: np.ndarray | None = None
        self.ended = np.ones(world.num_envs, np.bool_)

    def coin(self, p: float) -> np.ndarray:
        return self.rng.random(self.world.num_envs) < p

    def next(self) -> tuple[StepBatch, dict[str, np.ndarray], np.ndarray]:
        n = self.world.num_envs
        first = self.ended | (self.rng.random() < self.world.p_restart)
        before = np.stack([g.reset() if first[e] else self.obs[e] for e, g in enumerate(self.games)])
        after = np.stack([game.step() for game in self.games])
        terminated, truncated = self.coin(self.world.p_terminated), self.coin(self.world.p_truncated)
        discount = np.where(terminated | self.coin(self.world.p_life), 0, 1).astype(np.float32)
        step = StepBatch(
            Observation(before, {}, first),
            self.rng.integers(0, 5, n),
            self.rng.normal(size=n).astype(np.float32),
            discount,
            terminated,
            truncated,
            Observation(after, {}, np.zeros(n, np.bool_)),
            {},
        )
        self.obs, self.ended = after, terminated | truncated
        extras = {
            "digest": self.rng.integers(0, 2**64, n, dtype=np.uint64),
            "achieved": self.rng.random((n, 3)) < 0.5,
            "seen": self.rng.normal(size=(n, 2)).astype(np.float32),
        }
        return step, extras, self.coin(self.world.p_cut)


@dataclass
class Transition:
    row: int  # which row of its environment's ring it takes
    age: int  # steps since the episode began
    obs: np.ndarray
    action: int
    reward: np.float32
    discount: np.float32
    last: bool  # nothing follows in this episode, or a cut
    next_obs: np.ndarray
    extras: dict[str, np.ndarray]
    priority: float


@dataclass
class NaiveReplay:
    """Everything that ever happened; what a ring of `rows` rows an environment still has is worked out afterwards."""

    world: World
    rows: int
    steps: int
    options: Prioritised = field(default_factory=Prioritised)

    def __post_init__(self) -> None:
        self.history: list[list[Transition]] = [[] for _ in range(self.world.num_envs)]
        self.written = [0] * self.world.num_envs
        self.pending: tuple[np.ndarray, np.ndarray] | None = None
        self.largest = 1.0

    def add(self, step: StepBatch, extras: dict[str, np.ndarray], cut: np.ndarray) -> None:
        for e, past in enumerate(self.history):
            begins = bool(step.before.first[e])
            if begins and past:
                past[-1].last = True
                row = past[-1].row + 2  # the final frame lies between
            else:
                row = past[-1].row + 1 if past else 0
            past.append(
                Transition(
                    row=row,
                    age=0 if begins else past[-1].age + 1,
                    obs=step.before.obs[e],
                    action=int(step.action[e]),
                    reward=step.reward[e],
                    discount=step.discount[e],
                    last=bool(step.terminated[e] or step.truncated[e] or cut[e]),
                    next_obs=step.after.obs[e],
                    extras={name: values[e] for name, values in extras.items()},
                    priority=self.largest,
                )
            )
            self.written[e] = row + 2  # its own and the successor's frame

    def sampleable(self) -> dict[int, tuple[int, int]]:
        """Write number → (environment, place in its history)."""
        size = 1 if self.world.stack is None else self.world.stack.size
        return {
            t.row * self.world.num_envs + e: (e, place)
            for e, past in enumerate(self.history)
            for place, t in enumerate(past)
            if t.row - min(t.age, size - 1) >= self.written[e] - self.rows
        }

    def window(self, e: int, place: int, length: int) -> list[Transition]:
        window: list[Transition] = []
        for transition in self.history[e][place : place + length]:
            window.append(transition)
            if transition.last:
                break
        return window

    def update_priorities(self, index: np.ndarray, td_error: np.ndarray) -> None:
        if self.pending is not None:
            present = self.sampleable()
            for number, error in zip(*self.pending, strict=True):
                priority = (abs(float(error)) + self.options.eps) ** self.options.alpha
                self.largest = max(self.largest, priority)
                if int(number) in present:
                    e, place = present[int(number)]
                    self.history[e][place].priority = priority
        self.pending = (index, td_error)


def compare(replay: Replay, naive: NaiveReplay) -> None:
    """Every step that can be sampled, and no other, with the whole window that begins there."""
    expected = naive.sampleable()
    index = replay.sampleable()
    assert index.tolist() == sorted(expected)
    assert len(replay) == len(expected)
    window = replay.window(index)
    assert window.obs.numpy().dtype == np.dtype(naive.world.dtype)
    for b, number in enumerate(index.tolist()):
        transitions = naive.window(*expected[number], naive.steps)
        k = len(transitions)
        assert int(window.steps[b]) == k
        np.testing.assert_array_equal(window.obs[b].numpy(), transitions[0].obs)
        np.testing.assert_array_equal(window.next_obs[b].numpy(), transitions[-1].next_obs)
        np.testing.assert_array_equal(window.action[b, :k].numpy(), [t.action for t in transitions])
        np.testing.assert_array_equal(window.reward[b, :k].numpy(), [t.reward for t in transitions])
        np.testing.assert_array_equal(window.discount[b, :k].numpy(), [t.discount for t in transitions])
        for name, values in window.extras.items():
            np.testing.assert_array_equal(np.asarray(values[b, :k]), np.stack([t.extras[name] for t in transitions]))


def compare_sequences(replay: Replay, naive: NaiveReplay, length: int, lead: int) -> None:
    """The sequence around each step, what is outside its mask included."""
    present = naive.sampleable()
    held = set(present.values())
    index = replay.sampleable()
    sequences = replay.sequences(index, length, lead)
    fields = {"action": sequences.action, "reward": sequences.reward, "discount": sequences.discount}
    fields |= sequences.extras
    assert sequences.obs.shape == (len(index), lead + length + 1, *naive.world.spec().observation_space.shape)
    for b, number in enumerate(index.tolist()):
        e, place = present[number]
        before = 0
        while before < lead and (e, place - before - 1) in held and _goes_on(naive, e, place - before - 1):
            before += 1
        transitions = naive.window(e, place - before, before + length)
        beyond, padding = before + length - len(transitions), lead - before
        mask = [False] * padding + [True] * len(transitions) + [False] * beyond
        assert sequences.mask[b].tolist() == mask
        assert (sequences.before[b], sequences.steps[b]) == (before, len(transitions) - before)
        expected = [transition.obs for transition in transitions] + [transitions[-1].next_obs] * (beyond + 1)
        np.testing.assert_array_equal(sequences.obs[b].numpy(), np.stack(expected[:1] * padding + expected))
        row = transitions[0].row
        known = naive.world.stack is not None or row == 0 or row - 1 >= naive.written[e] - naive.rows
        assert bool(sequences.first[b]) == (transitions[0].age == 0 and known)
        transitions = transitions[:1] * padding + transitions + transitions[-1:] * beyond
        for name, values in fields.items():
            of_step = [t.extras[name] if name in t.extras else getattr(t, name) for t in transitions]
            np.testing.assert_array_equal(np.asarray(values[b]), np.stack(of_step))


def _goes_on(naive: NaiveReplay, e: int, place: int) -> bool:
    """Whether the step after this one belongs to its windows."""
    return len(naive.window(e, place, 2)) == 2


def make(
    world: World, capacity: int, steps: int = 1, prioritised: Prioritised | None = None, seed: int = 0, **kwargs: Any
) -> Replay:
    return Replay(
        capacity,
        world.spec(),
        steps=steps,
        device=torch.device("cpu"),
        rng=np.random.default_rng(seed),
        prioritised=prioritised,
        **kwargs,
    )


def copied(state: Any) -> Any:
    """A state that shares nothing with the replay that it came from."""
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, torch.Tensor):
        return state.clone()
    return state.copy() if isinstance(state, np.ndarray) else state


def assert_equal_states(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_states(one[key], other[key])
    elif isinstance(one, torch.Tensor | np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    else:
        assert one == other
