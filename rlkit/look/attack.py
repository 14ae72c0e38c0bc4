"""Attacks on observations: small changes that lower the score of the chosen action. The methods are captum's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rlkit.agent import HasScores, Policy, ScoreFunction
from rlkit.errors import SpecError
from rlkit.exploration.action_mask import allowed_actions
from rlkit.look.extra import needed
from rlkit.types import ActorOutput, ActorState, EnvSpec, Mode, Observation, State

Attack: TypeAlias = Literal["sign", "pgd", "noise"]
ATTACKS: tuple[Attack, ...] = ("sign", "pgd", "noise")
TITLES = {"sign": "gradient sign", "pgd": "PGD, 10 steps", "noise": "random signs"}
PGD_STEPS, PGD_STEP = 10, 0.25  # number, and size as a share of epsilon
SEARCHED = 512  # steps of the range in which the smallest change is searched


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of observations, (*O) each, and what epsilon counts."""

    low: Tensor
    high: Tensor
    unit: str  # "1/255", or "units of the observation"

    @classmethod
    def of(cls, spec: EnvSpec) -> Bounds:
        """Raises SpecError for observations of several parts, and for numbers of things, such as Discrete ones."""
        space = spec.observation_space
        if spec.structure is not None:
            names = ", ".join(part.name for part in spec.structure.parts)
            raise SpecError(f"observations of several parts ({names}) have no common unit of small changes")
        if isinstance(space, spaces.MultiBinary):
            return cls(torch.zeros(space.shape), torch.ones(space.shape), "units of the observation")
        if not isinstance(space, spaces.Box):
            raise SpecError(f"observations of {space} cannot be changed a little")
        grey = space.dtype == np.uint8 and float(space.high.max()) == 255.0
        low, high = torch.as_tensor(space.low.astype(np.float32)), torch.as_tensor(space.high.astype(np.float32))
        return cls(low, high, "1/255" if grey else "units of the observation")

    def clamped(self, obs: Tensor) -> Tensor:
        return torch.clamp(obs, self.low.to(obs.device), self.high.to(obs.device))


def loss(scores: Tensor, action: Tensor) -> Tensor:
    """(N,) the cross-entropy of the actions (N,) under the softmax of scores (N, K) in units of their deviation.

    captum's own loss, -log(score), is NaN for negative values. In units of the deviation the softmax is not saturated
    by large values, for which the sign of the gradient would be that of rounding errors. Actions that a mask forbids
    have score -inf, and no part in it.
    """
    allowed, fixed = scores.isfinite(), scores.detach()
    count = allowed.sum(1, keepdim=True)
    centred = torch.where(allowed, fixed - torch.where(allowed, fixed, 0.0).sum(1, keepdim=True) / count, 0.0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt().clamp_min(1e-8)
    return F.cross_entropy(scores / deviation, action, reduction="none")


def acting(policy: HasScores, observation: Observation, state: ActorState) -> ScoreFunction:
    """The score function that is acted on; actions that a mask forbids have score -inf."""
    function = policy.score_functions(observation, state)[0]
    mask = allowed_actions(observation)
    if mask is None:
        return function
    device = next(function.module.parameters()).device
    context = (*function.context, torch.from_numpy(np.array(mask)).to(device))

    def masked(inputs: Tensor, *context: Tensor) -> Tensor:
        return function.function(inputs, *context[:-1]).masked_fill(~context[-1], -torch.inf)

    with torch.no_grad():
        obs = torch.from_numpy(np.array(observation.obs)).to(device)
        chosen = masked(function.encode(obs), *context).argmax(1).cpu().numpy()
    return replace(function, function=masked, chosen=chosen, context=context)


class Perturbation:
    """A change of observations of at most epsilon in each entry, within their bounds."""

    def __init__(self, kind: Attack, epsilon: float, bounds: Bounds, rng: np.random.Generator) -> None:
        self.kind, self.epsilon, self.bounds, self._rng = kind, epsilon, bounds, rng
        self._checked = kind == "noise"  # whether the scores have a gradient

    def __call__(self, function: ScoreFunction, obs: Tensor) -> Tensor:
        """The changed observations (N, *O), float32. Raises SpecError if the scores have no gradient there."""
        if not self._checked:
            require_gradient(function, obs)
            self._checked = True
        if self.kind == "noise":
            signs = self._rng.integers(0, 2, tuple(obs.shape)) * 2 - 1
            return self.bounds.clamped(
                obs + self.epsilon * torch.as_tensor(signs.astype(np.float32), device=obs.device)
            )
        target = torch.as_tensor(function.chosen, device=obs.device)
        if self.kind == "sign":
            found = sign_attack(function, self.bounds).perturb(obs, self.epsilon, target, function.context or None)
        else:
            found = pgd_attack(function, self.bounds).perturb(
                obs, self.epsilon, PGD_STEP * self.epsilon, PGD_STEPS, target, function.context or None
            )
        changed: Tensor = found.detach()
        return changed


def _whole(function: ScoreFunction) -> Any:
    """The scores of float observations."""
    return lambda obs, *context: function.function(function.encode(obs), *context)


def sign_attack(function: ScoreFunction, bounds: Bounds) -> Any:
    """The fast gradient sign method (Goodfellow et al. 2014)."""
    attack = needed("captum.robust", "rlkit attack").FGSM(_whole(function), loss)
    attack.bound, attack.zero_thresh = bounds.clamped, 0.0  # of pixels in 0..255 gradients are small
    return attack


def pgd_attack(function: ScoreFunction, bounds: Bounds) -> Any:
    """Projected gradient descent (Madry et al. 2017) from the observation itself."""
    attack = needed("captum.robust", "rlkit attack").PGD(_whole(function), loss)
    attack.bound, attack.fgsm.zero_thresh = bounds.clamped, 0.0
    return attack


def has_gradient(function: ScoreFunction, obs: Tensor) -> bool:
    """Whether the scores change with small changes of observations (N, *O); those of codes do not."""
    moved = obs.detach()[:1].clone().requires_grad_()
    scores = function.function(function.encode(moved), *(part[:1] for part in function.context))
    if not scores.requires_grad:
        return False
    return torch.autograd.grad(scores.sum(), moved, allow_unused=True)[0] is not None


def require_gradient(function: ScoreFunction, obs: Tensor) -> None:
    """Raises SpecError if the scores do not change with small changes of observations."""
    if not has_gradient(function, obs):
        raise SpecError("these observations are codes, which have no small changes: there is nothing to attack")


class Attacked:
    """A policy that sees changed observations; signals and the policy itself stay as they are."""

    def __init__(self, policy: Policy, perturbation: Perturbation) -> None:
        self._policy, self._perturbation = policy, perturbation

    def initial_state(self, num_envs: int) -> ActorState:
        return self._policy.initial_state(num_envs)

    def act(self, observation: Observation, state: ActorState, rng: np.random.Generator, mode: Mode) -> ActorOutput:
        assert isinstance(self._policy, HasScores)
        function = acting(self._policy, observation, state)
        changed = self._perturbation(function, float_observations(function, observation.obs))
        return self._policy.act(replace(observation, obs=changed.cpu().numpy()), state, rng, mode)

    def load_policy_state(self, state: State) -> None:
        self._policy.load_policy_state(state)


def float_observations(function: ScoreFunction, obs: NDArray[Any]) -> Tensor:
    """Observations (N, *O) as float32, where the network is."""
    return torch.from_numpy(obs.astype(np.float32)).to(next(function.module.parameters()).device)


def smallest_change(function: ScoreFunction, obs: Tensor, bounds: Bounds, largest: float) -> float | None:
    """The smallest epsilon of the gradient sign attack that changes the best output for one observation (1, *O).

    Found by bisection (captum's MinParamPerturbation) to a 512th of `largest`; None if `largest` changes nothing.
    """
    robust = needed("captum.robust", "rlkit attack")
    require_gradient(function, obs)
    search = robust.MinParamPerturbation(
        _whole(function), sign_attack(function, bounds), "epsilon", 0.0, largest, largest / SEARCHED, mode="binary"
    )
    target = int(function.chosen[0])
    context = function.context or None
    _, epsilon = search.evaluate(
        obs,
        context,
        target,
        attack_kwargs={"target": torch.tensor([target], device=obs.device), "additional_forward_args": context},
    )
    return None if epsilon is None else float(epsilon)
