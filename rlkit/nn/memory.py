"""Networks with memory: a recurrent layer between the hidden layers and the output, for a policy, values, or both.

The state of the layer is an input and an output: an actor keeps it from step to step, a learner starts a sequence with
the state that was stored when the sequence's first step was made. A state is (B, S), with S the size of a GRU and twice
that of an LSTM (output and cell), summed over the bodies of a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rlkit.memory import require_layer
from rlkit.nn.config import MemoryConfig, NetworkConfig
from rlkit.nn.encoders import build_encoder, default_hidden, output_size
from rlkit.nn.heads import DuelingHead, values_of
from rlkit.nn.layers import LayerFactory
from rlkit.nn.structured import Inputs


class Memory(nn.Module):
    """A GRU or LSTM over sequences in which episodes begin. Computes in float32, whatever the precision around it."""

    def __init__(self, config: MemoryConfig, inputs: int) -> None:
        super().__init__()
        self.size = config.size
        require_layer(inputs + config.size, 4 * config.size)
        self.cell: nn.GRU | nn.LSTM = (nn.LSTM if config.type == "lstm" else nn.GRU)(inputs, config.size)
        self.state_size = state_size(config)
        if config.horizon is not None:
            remember_for(self.cell, config.horizon)

    def forward(
        self, inputs: Tensor, state: Tensor, resets: Tensor | None = None, restart: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, size) of inputs (T, B, F), and the state (B, S) after them.

        state: (B, S) before the first step. resets: (T, B) bool, on the CPU; before these steps the state is replaced
        by `restart` (B, S), or by zeros.
        """
        outputs = []
        with torch.autocast(inputs.device.type, enabled=False):
            inputs = inputs.float()
            for begin, end in pieces(resets, len(inputs)):
                if resets is not None:
                    mask = resets[begin].to(state.device).unsqueeze(1)
                    state = torch.where(mask, 0.0 if restart is None else restart, state)
                output, state = self._run(inputs[begin:end], state)
                outputs.append(output)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state

    def _run(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.cell, nn.GRU):
            output, last = self.cell(inputs, state.unsqueeze(0))
            return output, last[0]
        hidden, cell = (part.unsqueeze(0).contiguous() for part in state.tensor_split(2, 1))
        output, (hidden, cell) = self.cell(inputs, (hidden, cell))
        return output, torch.cat((hidden[0], cell[0]), 1)


def pieces(resets: Tensor | None, steps: int) -> Iterator[tuple[int, int]]:
    """Begin and end of runs of steps in which no sequence is reset after the first step; `resets` (T, B) or None."""
    begins = [] if resets is None else resets[1:].any(1).nonzero().flatten().tolist()
    edges = [0, *(begin + 1 for begin in begins), steps]
    yield from itertools.pairwise(edges)


@torch.no_grad()
def remember_for(cell: nn.RNNBase, horizon: int) -> None:
    """Biases with which unit i forgets within about u_i steps, u_i ~ U(1, horizon - 1) (Tallec and Ollivier 2018).

    Of an LSTM the forget gate's bias is log(u) and the input gate's -log(u); of a GRU, where one gate does both, it is
    log(u). torch adds two biases; the second one is 0 here.
    """
    size = cell.hidden_size
    kept, other = cell.bias_ih_l0, cell.bias_hh_l0
    assert isinstance(kept, Tensor)
    assert isinstance(other, Tensor)
    steps = torch.empty(size).uniform_(1.0, horizon - 1.0).log()
    block = slice(size, 2 * size)  # torch's order: GRU reset, update, new; LSTM input, forget, cell, output
    kept[block], other[block] = steps, 0.0
    if isinstance(cell, nn.LSTM):
        kept[:size], other[:size] = -steps, 0.0


@torch.no_grad()
def initialise_cell_orthogonally(cell: nn.RNNBase) -> None:
    """An orthogonal matrix with gain 1 for each gate; biases stay as they are."""
    for name, parameter in cell.named_parameters():
        if name.startswith("weight"):
            for block in parameter.tensor_split(len(parameter) // cell.hidden_size):
                nn.init.orthogonal_(block)


class RecurrentBody(nn.Module):
    """Layers before the memory, the memory, and the output: (T, B, *shape) -> (T * B, outputs)."""

    def __init__(self, before: nn.Sequential, memory: Memory, output: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.memory = memory
        self.output = output


class RecurrentNetwork(nn.Module):
    """Maps sequences of raw observations (T, B, *O) to outputs (T * B, ...), row t * B + b for step t of sequence b.

    With several bodies, as of a policy and its values, the outputs are concatenated. `values` computes action values
    from the output if a single body's output has such a method; else they are the output.
    """

    def __init__(self, inputs: Inputs, bodies: Sequence[RecurrentBody], config: MemoryConfig) -> None:
        super().__init__()
        self.inputs = inputs
        self.bodies = nn.ModuleList(bodies)
        self._parts = list(bodies)
        self.config = config
        self.state_size = sum(body.memory.state_size for body in bodies)
        self._values = values_of(bodies[0].output)

    def forward(
        self,
        obs: Tensor,
        state: Tensor | None = None,
        resets: Tensor | None = None,
        last: Tensor | None = None,
        restart: Tensor | None = None,
        rows: Tensor | None = None,
        burn_in: int = 0,
    ) -> Tensor:
        """Outputs (T * B, ...); the first arguments as of `unroll`.

        burn_in: the first steps, which only bring the state up to date with the present parameters: without outputs and
        gradients (Kapturowski et al. 2019, section 3). rows: the rows of the output to return; left out: all.
        """
        if burn_in:
            with torch.no_grad():
                _, state = self.unroll(
                    obs[:burn_in],
                    state,
                    None if resets is None else resets[:burn_in],
                    None if last is None else last[:burn_in],
                    restart,
                )
            obs = obs[burn_in:]
            resets = None if resets is None else resets[burn_in:]
            last = None if last is None else last[burn_in:]
        output, _ = self.unroll(obs, state, resets, last, restart)
        return output if rows is None else output.index_select(0, rows)

    def unroll(
        self,
        obs: Tensor,
        state: Tensor | None = None,
        resets: Tensor | None = None,
        last: Tensor | None = None,
        restart: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Outputs (T * B, ...) of observations (T, B, *O), and the state (B, S) after them.

        state: (B, S) before the first step; left out: zeros. resets and restart: as of `Memory`. last: (T, B, P)
        float32, last action and last reward as the config has them, `last_size` numbers; left out: zeros.
        """
        steps, count = obs.shape[:2]
        values = self.inputs(obs.flatten(0, 1))
        if state is None:
            state = values.new_zeros(count, self.state_size)
        outputs, states = [], []
        count_bodies = len(self._parts)  # of equal size
        restarts = [None] * count_bodies if restart is None else restart.tensor_split(count_bodies, 1)
        for body, own, again in zip(self._parts, state.tensor_split(count_bodies, 1), restarts, strict=True):
            features = body.before(values).view(steps, count, -1)
            wanted = body.memory.cell.input_size - features.shape[2]
            if wanted:
                added = features.new_zeros(steps, count, wanted) if last is None else last
                features = torch.cat((features, added), 2)
            remembered, after = body.memory(features, own, resets, again)
            outputs.append(body.output(remembered.flatten(0, 1)))
            states.append(after)
        if len(outputs) == 1:
            return outputs[0], states[0]
        return torch.cat(outputs, 1), torch.cat(states, 1)

    def values(self, output: Tensor) -> Tensor:
        """Action values (B, A) of an output (B, ...)."""
        return self._values(output)


def build_body(
    config: NetworkConfig, memory: MemoryConfig, inputs: Inputs, num_actions: int, outputs: int
) -> RecurrentBody:
    """Encoder, hidden layers, memory, output; with fresh parameters from torch's global generator.

    Of a dueling network the last hidden layer comes after the memory, one for each stream (Kapturowski et al. 2019).
    """
    factory = LayerFactory.of(config)
    encoder = build_encoder(config.encoder, inputs.shape, factory)
    hidden = default_hidden(config.encoder) if config.hidden is None else config.hidden
    before, size = nn.Sequential(encoder), output_size(encoder)
    shared = hidden[:-1] if config.dueling else hidden
    for number, units in enumerate(shared, 1):
        before.extend(factory.linear(size, units, last=number == len(hidden)))
        size = units
    cell = Memory(memory, size + last_size(memory, num_actions))
    if config.dueling:
        return RecurrentBody(before, cell, DuelingHead(memory.size, hidden[len(shared) :], outputs, factory))
    return RecurrentBody(before, cell, factory.output(memory.size, outputs))


def state_size(config: MemoryConfig) -> int:
    """S of one memory."""
    return config.size * (2 if config.type == "lstm" else 1)


def last_size(config: MemoryConfig, num_actions: int) -> int:
    """P, the number of inputs of the memory for last action and last reward."""
    return num_actions * config.last_action + config.last_reward
