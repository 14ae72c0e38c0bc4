"""The table `network`: every choice about a network's layers, for every agent that has one."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rlkit.config.model import Model
from rlkit.nn.inputs import InputKind

Normalisation: TypeAlias = Literal["weight", "weight_mean_batch", "batch", "layer", "group", "spectral"]
Activation: TypeAlias = Literal["relu", "leaky_relu", "elu"]
Pooling: TypeAlias = Literal["max", "fractional_max"]

KNOWN_ENCODERS = ("mlp", "nature", "nips", "minatar", "impala")


def _absent(value: Any) -> Any:
    return None if value == "none" else value


class WeightNormConfig(Model):
    """The table `weight_norm`: w = g v / ||v|| (Salimans and Kingma 2016), for normalisation = "weight..."."""

    initial_batch: int = Field(
        500,
        ge=2,
        description="Observations of random play from which scales and biases are set before the first update (the "
        "authors' code: 500). Few, or all alike: statistics of noise.",
    )
    output_scale: float = Field(
        0.1,
        gt=0.0,
        description="Standard deviation with which the output layer starts; hidden layers start with 1. 1: as the "
        "paper's rule has it, so that values begin as noise as large as a clipped reward. 0.01: nearly 0 everywhere.",
    )
    exponential: bool = Field(
        False,
        description="Learn s of g = exp(s) instead of g (paper, section 2: no advantage seen). Scales stay positive.",
    )
    project: bool = Field(
        False,
        description="Rescale v to its initial length after each update; w stays as it is. Without it v grows, which "
        "slows learning down over time (Lyle et al. 2024).",
    )


class NetworkConfig(Model):
    """The table `network` of an agent with a Q-network."""

    input: InputKind = Field(
        "auto",
        description="How observations become numbers. auto decides by the space (rlkit/nn/inputs.py has the rules); "
        "pixels divides by 255; codes makes MiniGrid's codes one-hot; bounds scales to [-1, 1]; raw changes nothing.",
    )
    encoder: str = Field(
        "mlp",
        description='What comes before the fully connected layers: "mlp" nothing; "nature" the three convolutions of '
        'Mnih et al. 2015, for images from 36 x 36; "nips" the two of Mnih et al. 2013, a third of the work, from '
        '20 x 20; "minatar" the one of Young and Tian 2019, from 3 x 3; "impala" '
        "the residual network of Espeholt et al. 2018, for images of any size; "
        '"package.module:attr" your own, a callable (shape) -> nn.Module with the int attribute output_size.',
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None,
        description="Units of the fully connected layers after the encoder. Left out: 120, 84 (mlp), 512 "
        "(nature), 256 (nips), 128 (minatar), 256 (impala), none after your own. [] makes values linear in the "
        "features: a table, where observations are one-hot.",
    )
    dueling: bool = Field(
        False,
        description="Separate streams for the state's value and the actions' advantages (Wang et al. 2016, eq. 9), "
        "each with its own copy of the last hidden layer.",
    )
    normalisation: Annotated[Normalisation | None, BeforeValidator(_absent)] = Field(
        None,
        description='"weight": w = g v / ||v||, output layer too; "weight_mean_batch": also the batch\'s mean is taken '
        'off; "batch", "layer", "group": of each hidden layer before its activation; "spectral": the largest singular '
        'value of the last hidden layer is 1. "none" or left out: none. Layers of your own encoder are left alone.',
    )
    weight_norm: WeightNormConfig | None = Field(
        None, description='How weights are normalised, with normalisation = "weight..."; left out: its defaults.'
    )
    groups: int | None = Field(
        None, ge=1, description='Groups of each layer\'s units or channels, with normalisation = "group". Left out: 4.'
    )
    activation: Activation | None = Field(
        None,
        description='After each hidden layer: "relu", "leaky_relu" with slope 0.01 below 0, or "elu", exp(x) - 1 below '
        "0. Left out: relu.",
    )
    pooling: Pooling | None = Field(
        None,
        description='Of encoder = "impala": "max", 3 x 3 with stride 2; "fractional_max" shrinks by the root of 2 '
        "(Graham 2014), which keeps more and costs several times as much. Left out: max.",
    )
    width: float | None = Field(
        None, gt=0.0, description='Factor of the 16, 32, 32 channels of encoder = "impala". Left out: 1.'
    )
    residual_scale: float | None = Field(
        None,
        gt=0.0,
        description='Factor of the branches that encoder = "impala" adds to their inputs. Left out: 1. 0.1: nearly '
        "the identity at the start.",
    )

    @field_validator("encoder")
    @classmethod
    def _known(cls, encoder: str) -> str:
        module, colon, attribute = encoder.partition(":")
        if encoder not in KNOWN_ENCODERS and not (module and colon and attribute):
            known = ", ".join(f'"{name}"' for name in KNOWN_ENCODERS)
            raise ValueError(f'encoder "{encoder}" is not known; use {known} or your own as "package.module:attr"')
        return encoder

    @model_validator(mode="after")
    def _applies(self) -> Self:
        for key in ("pooling", "width", "residual_scale"):
            if getattr(self, key) is not None and self.encoder != "impala":
                raise ValueError(f'network.{key} applies to encoder = "impala" only, not to "{self.encoder}"')
        if self.groups is not None and self.normalisation != "group":
            raise ValueError(f'network.groups applies to normalisation = "group" only, not to {self._shown}')
        if self.weight_norm is not None and not self.weights_are_normalised:
            raise ValueError(f'network.weight_norm applies to normalisation = "weight..." only, not to {self._shown}')
        return self

    @property
    def _shown(self) -> str:
        return f'"{self.normalisation or "none"}"'

    @property
    def weights_are_normalised(self) -> bool:
        """Whether weights are g v / ||v||, and so are initialised from data."""
        return self.normalisation in ("weight", "weight_mean_batch")

    @property
    def initial_batch(self) -> int:
        """How many observations of random play the network is initialised from; 0 for none."""
        return (self.weight_norm or WeightNormConfig()).initial_batch if self.weights_are_normalised else 0

    def validate_sizes(
        self, batch_size: int, random_steps: int, *, at: str = "", steps: str = "learning_starts"
    ) -> None:
        """Raises ValueError unless the network can learn from such batches, after so many steps of random play.

        at: where the tables stand, with a dot ("meta."), and steps: the key of random_steps; both for the message.
        """
        if self.normalisation in ("batch", "weight_mean_batch") and batch_size < 2:
            raise ValueError(
                f"{at}network.normalisation = {self._shown} takes the mean over a batch, which of one observation, of "
                f"shape (1, ...), is the observation itself: {at}batch_size = {batch_size} must be at least 2"
            )
        if random_steps < self.initial_batch:
            raise ValueError(
                f"{at}network.normalisation = {self._shown} is initialised from {self.initial_batch} observations of "
                f"random play: {steps} = {random_steps} must be at least {at}network.weight_norm.initial_batch"
            )
