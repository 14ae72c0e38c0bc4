"""The table `network`: the layers of a Q-network."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rlkit.config.model import SWITCH, Model
from rlkit.errors import ConfigError
from rlkit.nn.inputs import InputKind, Layout

Normalisation: TypeAlias = Literal["weight", "weight_mean_batch", "batch", "layer", "group", "spectral"]
Activation: TypeAlias = Literal["relu", "leaky_relu", "elu", "tanh"]
Pooling: TypeAlias = Literal["max", "fractional_max"]

KNOWN_ENCODERS = ("auto", "mlp", "nature", "nips", "minatar", "impala", "cells")


def _absent(value: Any) -> Any:
    return None if value == "none" else value


def _guessed(value: Any) -> Any:
    return None if value == "auto" else value


class WeightNormConfig(Model):
    """The table `weight_norm`: w = g v / ||v|| (Salimans and Kingma 2016), for normalisation = "weight..."."""

    initial_batch: int = Field(
        500,
        ge=2,
        description="Observations of random play from which scales and biases are set before the first update (the "
        "authors' code: 500). Few observations, or similar ones, give noisy statistics.",
    )
    output_scale: float = Field(
        0.1,
        gt=0.0,
        description="Initial standard deviation of the output layer; that of hidden layers is 1. 1: the paper's rule, "
        "with which values start as noise as large as a clipped reward. 0.01: values start near 0.",
    )
    exponential: bool = Field(
        False,
        description="Learn s, with g = exp(s), instead of g (paper, section 2: no advantage). Scales stay positive.",
    )
    project: bool = Field(
        False,
        description="Rescale v to its initial length after each update; w does not change. Without it v grows, which "
        "slows down learning over time (Lyle et al. 2024).",
    )


class MemoryConfig(Model):
    """The table `memory`: a recurrent layer between the hidden layers and the output (docs/networks.md)."""

    type: Literal["gru", "lstm"] = Field(
        "gru",
        description="gru: gated recurrent units (Cho et al. 2014), one vector of state; lstm: long short-term memory "
        "(Hochreiter and Schmidhuber 1997; Gers et al. 2000), two. On a CPU lstm learns in about half the time.",
    )
    size: int = Field(128, ge=1, description="Units of the recurrent layer (Kapturowski et al. 2019: 512).")
    horizon: int | None = Field(
        None,
        ge=3,
        description="Steps that the layer remembers before it learns: biases of its gates are drawn so that units "
        "forget within 1 to this many steps (Tallec and Ollivier 2018). Left out: PyTorch's biases, about 2 steps.",
    )
    last_action: bool = Field(False, description="The last action, one-hot, is an input of the recurrent layer.")
    last_reward: bool = Field(
        False, description="The last reward, clipped to [-1, 1], is an input of the recurrent layer."
    )


class NetworkConfig(Model):
    """The table `network` of an agent with a Q-network."""

    input: InputKind = Field(
        "measured",
        description="How observations become inputs (docs/networks.md). measured: vectors of floats in units, what is "
        "large in the steps before the first update scaled down, and all else as auto; standardise: vectors of floats "
        "by mean and deviation of those steps; auto: by the space alone, as in 0.1.0; pixels divides by 255; codes "
        "makes MiniGrid's codes one-hot; bounds scales to [-1, 1]; raw changes nothing.",
    )
    layout: Annotated[Layout | None, BeforeValidator(_guessed)] = Field(
        None,
        description="Where observations of rank 3 have their channels: channels_first is (c, h, w), channels_last "
        '(h, w, c). "auto" or left out: the axis besides two equal ones, or else the last if no other is smaller.',
    )
    encoder: str = Field(
        "auto",
        description='The layers before the fully connected ones. auto: for images "nature", "nips" or "minatar", the '
        'first that their size permits; "mlp" for all else; for Dict and Tuple observations each part its own, then '
        'side by side. "mlp": none; "nature" the three convolutions of '
        'Mnih et al. 2015, for images from 36 x 36; "nips" the two of Mnih et al. 2013, a third of the work, from '
        '20 x 20; "minatar" the one of Young and Tian 2019, from 3 x 3; "impala" '
        "the residual network of Espeholt et al. 2018, for images of any size; "
        '"cells" learned vectors for the codes of MiniGrid\'s pictures; '
        '"package.module:attr" your own, a callable (shape) -> nn.Module with the int attribute output_size.',
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None,
        description="Units of the fully connected layers after the encoder. Left out: 120, 84 (mlp, parts), 512 "
        "(nature), 256 (nips), 128 (minatar), 256 (impala), 128, 128 (cells), none after your own. [] makes values "
        "linear in the features: a table if observations are one-hot.",
    )
    dueling: bool = Field(
        False,
        description="Separate streams for the state's value and the actions' advantages (Wang et al. 2016, eq. 9), "
        "each with its own last hidden layer.",
    )
    normalisation: Annotated[Normalisation | None, BeforeValidator(_absent)] = Field(
        None,
        description='"weight": w = g v / ||v||, output layer included; "weight_mean_batch": also subtracts the '
        'batch mean; "batch", "layer", "group": of each hidden layer before its activation; "spectral": the largest '
        'singular value of the last hidden layer is 1. "none" or left out: none. Does not apply to your own encoder.',
    )
    weight_norm: WeightNormConfig | None = Field(
        None, description='How weights are normalised, with normalisation = "weight..."; left out: its defaults.'
    )
    groups: int | None = Field(
        None, ge=1, description='Groups of each layer\'s units or channels, with normalisation = "group". Left out: 4.'
    )
    activation: Activation | None = Field(
        None,
        description='After each hidden layer: "relu", "leaky_relu" with slope 0.01 below 0, "elu", exp(x) - 1 below 0, '
        'or "tanh". Left out: relu.',
    )
    pooling: Pooling | None = Field(
        None,
        description='Of encoder = "impala": "max", 3 x 3 with stride 2; "fractional_max" shrinks by the root of 2 '
        "(Graham 2014), which keeps more detail and takes several times as long. Left out: max.",
    )
    width: float | None = Field(
        None, gt=0.0, description='Factor of the 16, 32, 32 channels of encoder = "impala". Left out: 1.'
    )
    residual_scale: float | None = Field(
        None,
        gt=0.0,
        description='Factor of the residual branches of encoder = "impala". Left out: 1. 0.1: blocks start nearly as '
        "the identity.",
    )

    memory: Annotated[MemoryConfig | None, SWITCH] = Field(
        None,
        description="A recurrent layer, whose state is kept from step to step and begins anew with each episode; of "
        "PPO, PQN and DQN. false or left out: none, true: with its defaults.",
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
        if self.encoder == "cells" and self.input in ("pixels", "codes", "bounds"):
            raise ValueError(
                f'network.encoder = "cells" reads codes as they are: leave out network.input = "{self.input}"'
            )
        if self.groups is not None and self.normalisation != "group":
            raise ValueError(f'network.groups applies to normalisation = "group" only, not to {self._shown}')
        if self.weight_norm is not None and not self.weights_are_normalised:
            raise ValueError(f'network.weight_norm applies to normalisation = "weight..." only, not to {self._shown}')
        return self

    def refuse_memory(self, at: str = "") -> None:
        """Raises ConfigError if there is a memory; at: the prefix of the key, with a dot ("meta.")."""
        if self.memory is not None:
            raise ConfigError(f"{at}network.memory: this agent does not keep the state of a memory; leave it out")

    @property
    def input_kind(self) -> InputKind:
        """How observations become inputs; the encoder "cells" reads codes as they are."""
        return "raw" if self.encoder == "cells" else self.input

    @property
    def _shown(self) -> str:
        return f'"{self.normalisation or "none"}"'

    @property
    def weights_are_normalised(self) -> bool:
        """Whether weights are g v / ||v||, which are initialised from data."""
        return self.normalisation in ("weight", "weight_mean_batch")

    @property
    def initial_batch(self) -> int:
        """The number of observations of random play from which the network is initialised; 0: none."""
        return (self.weight_norm or WeightNormConfig()).initial_batch if self.weights_are_normalised else 0

    def validate_sizes(
        self, batch_size: int, random_steps: int, *, at: str = "", steps: str = "learning_starts"
    ) -> None:
        """Raises ValueError unless the network can learn from batches of that size, after that many random steps.

        For the message: at is the prefix of the keys, with a dot ("meta."), and steps the key of random_steps.
        """
        if self.normalisation in ("batch", "weight_mean_batch") and batch_size < 2:
            raise ValueError(
                f"{at}network.normalisation = {self._shown} subtracts the mean over the batch, so that a batch "
                f"of one observation, (1, ...), is always 0: {at}batch_size = {batch_size} must be at least 2"
            )
        if random_steps < self.initial_batch:
            raise ValueError(
                f"{at}network.normalisation = {self._shown} is initialised from {self.initial_batch} observations of "
                f"random play: {steps} = {random_steps} must be at least {at}network.weight_norm.initial_batch"
            )
