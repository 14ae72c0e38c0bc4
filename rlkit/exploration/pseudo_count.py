"""Pseudo-counts from a density model (Bellemare et al. 2016; Ostrovski et al. 2017): a bonus for unlikely frames.

A gated PixelCNN learns the newest frame of each step, one step of gradient descent a frame. The more a frame's
probability rises by learning it, the newer it is. This is the reference of the literature on counts, and slow: every
frame needs two passes and one update of the model, one after the other.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from rlkit.errors import SpecError
from rlkit.exploration.bonus import BonusConfig
from rlkit.exploration.count.features import LatestFrame, Pixels
from rlkit.exploration.protocol import Bonus
from rlkit.learning.gradient import Gradient, GradientSettings
from rlkit.learning.optimizers import OptimizerConfig
from rlkit.nn.parameters import load_parameters, parameter_state
from rlkit.nn.pixelcnn import GatedPixelCNN, log_probability
from rlkit.replay import Column, Replay, Trajectory
from rlkit.seeding import Streams, torch_seeded
from rlkit.types import EnvSpec, Metrics, State, StepBatch, Window

SMALLEST = 0.01  # added to the pseudo-count, so that the largest bonus is 10 * beta


class PseudoCountConfig(BonusConfig):
    """Pseudo-counts from a density model of frames (Ostrovski et al. 2017): slow, and needs no features."""

    type: Literal["pseudo_count"] = Field("pseudo_count", description="Kind of the bonus: pseudo-counts of frames.")
    beta: float = Field(
        0.05,
        ge=0.0,
        description="The bonus is beta / sqrt(N + 0.01), N the pseudo-count, in units of (clipped) reward (Bellemare "
        "et al. 2016: 0.05). 0: no bonus; too large: the agent prefers exploring.",
    )
    gain: float = Field(
        0.1,
        gt=0.0,
        description="c in N = 1 / (exp(c * g / sqrt(n)) - 1), where g is the rise of a frame's log-probability by "
        "learning it, and n the frames so far (Ostrovski et al. 2017: 0.1). Small: bonuses vanish early.",
    )
    side: int = Field(42, ge=2, description="Frames are averaged down to side x side pixels (Ostrovski et al.: 42).")
    levels: int = Field(8, ge=2, le=256, description="Grey levels of a pixel (Ostrovski et al.: 8, of 3 bits).")
    features: int = Field(16, ge=1, description="Channels of the model's layers (public code: 16).")
    layers: int = Field(2, ge=1, description="Gated layers of the model (public code: 2).")
    learning_rate: float = Field(
        1e-3, gt=0.0, description="Step size of RMSProp for the model, one step a frame; it does not fall."
    )

    def columns(self) -> dict[str, Column]:
        return {"bonus": Column((), np.float32, latest=True)}

    def validate_for(self, spec: EnvSpec, warm_up: int) -> None:
        super().validate_for(spec, warm_up)
        height, width = LatestFrame(spec, None).shape[:2]
        if self.side > min(height, width):
            raise SpecError(f"bonus.side = {self.side} is more than the {height} x {width} frames have")

    def summary(self) -> str:
        return f"{self.beta:g} / sqrt(N + {SMALLEST:g}), N from a PixelCNN of {self.side} x {self.side} pixels"

    def build(self, spec: EnvSpec, streams: Streams, replay: Replay | Trajectory | None, warm_up: int) -> Bonus:
        self.validate_for(spec, warm_up)
        with torch_seeded(streams.seed("networks")):
            model = GatedPixelCNN(self.levels, self.features, self.layers)
        return PseudoCountBonus(self, Pixels(spec, self.side, None), model)


def pseudo_count(gain: float, frames: int, scale: float) -> float:
    """N = 1 / (exp(scale * gain / sqrt(frames)) - 1), infinite where nothing was gained (Ostrovski et al. 2017, eq. 4).

    gain: log p after learning the frame minus before, in nats; frames: number of frames so far, this one included.
    """
    exponent = min(scale * max(gain, 0.0) / frames**0.5, 700.0)  # e^700 is nearly the largest float64
    return 1.0 / np.expm1(exponent) if exponent > 0.0 else float("inf")


class PseudoCountBonus(Bonus):
    """Pays beta / sqrt(N + 0.01), with the pseudo-count N when the step was made. The model runs on the CPU."""

    def __init__(self, config: PseudoCountConfig, pixels: Pixels, model: GatedPixelCNN) -> None:
        self._config, self._pixels, self._model = config, pixels, model
        optimizer = OptimizerConfig(type="rmsprop")
        self._gradient = Gradient(model, GradientSettings(config.learning_rate, optimizer))
        self._metrics: dict[str, Any] = {}

    @property
    def frames(self) -> int:
        """Frames learned so far."""
        return self._gradient.updates

    def observe(self, step: StepBatch) -> dict[str, NDArray[Any]]:
        side, levels = self._config.side, self._config.levels
        rows = self._pixels(step.after)  # (N, side * side) of 0..255
        images = torch.as_tensor(rows.astype(np.int64) * levels // 256).view(-1, 1, side, side)
        gains, surprises = zip(*(self._learned(image) for image in images), strict=True)
        numbers = range(self.frames - len(images) + 1, self.frames + 1)
        counts = [pseudo_count(gain, number, self._config.gain) for gain, number in zip(gains, numbers, strict=True)]
        bonus = (self._config.beta / np.sqrt(np.array(counts) + SMALLEST)).astype(np.float32)  # (N,)
        self._metrics = {
            "explore/bonus": float(bonus.mean()),
            "explore/prediction_gain": float(np.mean(gains)),
            "loss/density": float(np.mean(surprises)) / side**2,
        }
        return {"bonus": bonus}

    def _learned(self, image: Tensor) -> tuple[float, float]:
        """Learns an image (1, side, side); returns the gain and -log p before, in nats."""
        logits = self._gradient.forward(image)
        before = log_probability(logits.detach(), image)
        error = logits.detach().softmax(1)
        error.scatter_add_(1, image[:, None], torch.full_like(error[:, :1], -1.0))
        self._gradient.step(logits, error / image.numel(), (image,))  # of the mean over pixels of -log p
        after = log_probability(self._gradient.evaluate(image), image)
        return float(after - before), -float(before)

    def learn(self) -> Metrics:
        metrics, self._metrics = self._metrics, {}
        return metrics

    def add(self, reward: Tensor, window: Window) -> Tensor:
        return reward + torch.as_tensor(window.extras["bonus"]).to(reward.device, non_blocking=True)

    def state_dict(self) -> State:
        return {
            "model": parameter_state(self._model),
            "gradient": self._gradient.state_dict(),
            "metrics": dict(self._metrics),
        }

    def load_state_dict(self, state: State) -> None:
        load_parameters(self._model, state["model"], "the state of the density model")
        self._gradient.load_state_dict(state["gradient"])
        self._metrics = dict(state["metrics"])
