"""Codes that an autoencoder learns from the replay's frames (Tang et al. 2017, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.exploration.count.autoencoder import Autoencoder, BitEncoder, code_loss
from rlkit.exploration.count.features import Pixels
from rlkit.exploration.count.hashing import Codes, Hash
from rlkit.learning.optimizers import load_optimizer, optimizer_state
from rlkit.nn.config import NetworkConfig
from rlkit.nn.inputs import to_tensor
from rlkit.nn.layers import LayerFactory
from rlkit.nn.parameters import flatten_parameters, load_parameters, parameter_state
from rlkit.nn.weight_norm import initialise_from_data, projection
from rlkit.pacing import Ratio
from rlkit.replay import Replay
from rlkit.seeding import Streams, torch_seeded
from rlkit.types import Metrics, Observation, State

_HOST = torch.device("cpu")
WATCHED = 256  # frames of the warm-up whose codes are compared before and after each fit


def applicable(network: NetworkConfig) -> NetworkConfig:
    """`network` itself. Raises ValueError if the autoencoder or its frozen encoder cannot have such layers."""
    for key, field in NetworkConfig.model_fields.items():
        if (
            key not in ("normalisation", "weight_norm", "activation", "groups")
            and getattr(network, key) != field.default
        ):
            raise ValueError(
                f"features.network.{key} does not apply: the autoencoder's layers are fixed; it uses only "
                "normalisation, weight_norm and activation of this table"
            )
    reasons = {
        "layer": "uses statistics of each frame, which frozen weights cannot replace",
        "group": "uses statistics of each frame, which frozen weights cannot replace",
        "spectral": "applies to the last hidden layer of a Q-network, which an autoencoder lacks",
    }
    if network.normalisation in reasons:
        raise ValueError(
            f'features.network.normalisation = "{network.normalisation}" {reasons[network.normalisation]}; give '
            '"weight", "weight_mean_batch", "batch" or "none"'
        )
    if network.activation in ("elu", "tanh"):
        raise ValueError(
            f'features.network.activation = "{network.activation}" is not exact: the last bits of exp, and so a code, '
            'may change with the batch; give "relu" or "leaky_relu"'
        )
    return network


@dataclass(frozen=True, slots=True)
class LearnedSettings:
    """The settings of learned codes; `LearnedConfig` describes each."""

    codes: int
    levels: int
    noise: float
    penalty: float
    learning_rate: float
    batch_size: int
    updates_per_step: float
    refit_every: int
    network: NetworkConfig | None = None


class FrozenCodes:
    """Digests of grey frames: the bits of a frozen encoder, and another hash of these bits."""

    def __init__(self, encoder: BitEncoder, hashing: Codes) -> None:
        """hashing: of the bits, (K, codes) uint8."""
        self.encoder, self.hashing = encoder, hashing
        self.ready = False  # until the encoder has copied an autoencoder

    def bits(self, features: NDArray[Any]) -> NDArray[np.uint8]:
        """The code itself, (K, codes) of 0 and 1, of frames (K, side * side)."""
        bits: NDArray[np.uint8] = self.encoder(to_tensor(features, _HOST)).numpy().astype(np.uint8)
        return bits

    def __call__(self, features: NDArray[Any]) -> NDArray[np.int64]:
        return self.hashing(self.bits(features))

    def state_dict(self) -> dict[str, Any]:
        return {"hash": self.hashing.state_dict(), "encoder": parameter_state(self.encoder), "ready": self.ready}

    def load_state_dict(self, state: State) -> None:
        self.hashing.load_state_dict(state["hash"])
        load_parameters(self.encoder, state["encoder"], "the encoder's state")
        self.ready = bool(state["ready"])


class LearnedCodes:
    """A hash of grey frames that an autoencoder learns.

    The autoencoder learns from the first environment step on. The encoder that gives the codes is copied from it at
    each `fit` and does not change in between, because known states would otherwise become new ones at every update.

    frames: how observations become frames. hashing: of the bits, (K, codes) uint8.
    """

    def __init__(
        self, settings: LearnedSettings, side: int, frames: Pixels, hashing: Hash, replay: Replay, streams: Streams
    ) -> None:
        self._settings = settings
        self._frames, self._replay = frames, replay
        factory = LayerFactory.of(settings.network) if settings.network else LayerFactory()
        self._initial_batch = settings.network.initial_batch if settings.network else 0
        with torch_seeded(streams.seed("autoencoder")):
            self.network = Autoencoder(side, settings.codes, settings.levels, factory).to(replay.device)
            encoder = BitEncoder(side, settings.codes, factory)  # on the host, so that acting never waits for a device
        self.codes = FrozenCodes(encoder, hashing)
        self._weights, self._gradient = flatten_parameters(self.network)
        self._project = projection(self.network)
        self._optimizer = torch.optim.Adam([self._weights], settings.learning_rate, fused=True)
        self._noise = streams.torch_generator("noise", torch.device("cpu"))
        self._pacing = Ratio(settings.updates_per_step, 0)
        self._updates = 0
        self.fits = 0
        self.watched = np.zeros((0, frames.size), np.uint8)

    @property
    def updates(self) -> int:
        """Updates of the autoencoder so far."""
        return self._updates

    @property
    def ready(self) -> bool:
        return self.codes.ready

    def due(self, steps: int) -> bool:
        return steps >= self.fits * self._settings.refit_every

    def learn(self, env_steps: int) -> Metrics:
        """A weight-normalised network starts updating after `initial_batch` steps, then makes up for those missed."""
        metrics: Metrics = {}
        owed = self._pacing.total(env_steps) - self._updates if env_steps >= self._initial_batch else 0
        if owed and not self._updates:
            self._initialise()
        for _ in range(owed):
            metrics = {"loss/codes": self._update()}
        return metrics

    def _initialise(self) -> None:
        """Data-dependent initialisation from random play; a resumed run knows by its updates that it is done."""
        if self._initial_batch:
            frames = self._sample(self._initial_batch)
            initialise_from_data(self.network, lambda: self.network.decode(self.network.encode(frames)))

    def _sample(self, size: int) -> torch.Tensor:
        """Frames of the replay, (size, side * side) uint8 on its device."""
        obs = self._replay.sample(size).window.obs.cpu().numpy()
        return to_tensor(self._frames(Observation(obs, {}, np.zeros(len(obs), np.bool_))), self._replay.device)

    def _update(self) -> torch.Tensor:
        """One step down the gradient of equation 4 on frames of the replay; the loss before it, ()."""
        settings, device = self._settings, self._replay.device
        frames = self._sample(settings.batch_size)
        code = self.network.encode(frames)  # (B, K)
        noise = torch.rand(code.shape, generator=self._noise).mul_(2).sub_(1).mul_(settings.noise)
        logits = self.network.decode(code + noise.to(device, non_blocking=True))
        loss = code_loss(logits, frames, code, settings.penalty)
        self._gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._project is not None:
            self._project()
        self._updates += 1
        return loss.detach()

    def fit(self, features: NDArray[Any]) -> Metrics:
        """Copies the encoder: codes are from now on those that the autoencoder has learned."""
        before = self(self.watched) if self.ready else None
        self.codes.encoder.follow(self.network)
        self.codes.ready = True
        self.fits += 1
        if before is None:
            self.watched = features[:WATCHED].copy()
            return {}
        return {"explore/codes_changed": float((self(self.watched) != before).mean())}

    def __call__(self, features: NDArray[Any]) -> NDArray[np.int64]:
        return self.codes(features)

    def state_dict(self) -> dict[str, Any]:
        """Shares memory."""
        return {
            "hash": self.codes.hashing.state_dict(),
            "network": parameter_state(self.network),
            "encoder": parameter_state(self.codes.encoder),
            "optimizer": optimizer_state(self._optimizer),
            "noise": self._noise.get_state(),
            "updates": self._updates,
            "fits": self.fits,
            "watched": self.watched,
        }

    def load_state_dict(self, state: State) -> None:
        """Takes over a state, copied. Raises ConfigError where it is of another autoencoder."""
        self.codes.load_state_dict({**state, "ready": state["fits"] > 0})
        load_parameters(self.network, state["network"], "the autoencoder's state")
        load_optimizer(self._optimizer, state["optimizer"])
        self._noise.set_state(torch.as_tensor(state["noise"]))
        self._updates, self.fits = int(state["updates"]), int(state["fits"])
        self.watched = state["watched"].copy()
