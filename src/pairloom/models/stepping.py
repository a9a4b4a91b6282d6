"""Cells one step at a time, for a decoder whose input is known only when the step is reached.

A decoder that is fed (the context of Bahdanau et al. 2015, the attentional vector of Luong et al. 2015) cannot run as
one fused call: a part of its input is what the step before it, or its own attention, has given. The other part, the
embeddings of the previous tokens, is known, and its product with the input weights is computed for all T at once. So
a step multiplies the fed part and the hidden state only.

The weights are those of torch's own `nn.RNN`, `nn.GRU`, `nn.LSTM`, and so are the equations: with the same inputs the
results are those of `run_cells`.

Dimensions: B sentences, T target tokens, E known input, F fed input, H hidden size, L layers, G gates times H (RNN 1,
GRU 3, LSTM 4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.models.recurrent import LSTMState, RecurrentState

Layer = tuple[Tensor, ...]
"""What one layer remembers: hidden [B, H], and for an LSTM its cell [B, H]."""


class CellSteps:
    """The layers of `cells` over T steps, with the known part of the input multiplied beforehand."""

    def __init__(
        self,
        cells: nn.RNNBase,  # made for inputs of size E + F
        known: Tensor,  # [B, T, E]
    ) -> None:
        self.cells = cells
        into, _, bias, _ = cells.all_weights[0]
        size = known.shape[2]
        self.fed_weight = into[:, size:].t()  # [F, G]
        self.ahead = functional.linear(known.transpose(0, 1), into[:, :size], bias).unbind(0)  # T times [B, G]

    def layers(self, state: RecurrentState) -> list[Layer]:
        """A state, layer by layer."""
        if isinstance(state, LSTMState):
            return list(zip(state.hidden.unbind(1), state.cell.unbind(1), strict=True))
        return [(hidden,) for hidden in state.hidden.unbind(1)]

    @staticmethod
    def top(layers: list[Layer]) -> Tensor:
        """The hidden state [B, H] of the last layer."""
        return layers[-1][0]

    def state(self, layers: list[Layer]) -> RecurrentState:
        """The layers as a state."""
        hidden, *cell = (torch.stack(parts, dim=1) for parts in zip(*layers, strict=True))
        return LSTMState(hidden, cell[0]) if cell else RecurrentState(hidden)

    def step(self, t: int, fed: Tensor, layers: list[Layer]) -> list[Layer]:
        """The layers after step `t`, whose input is the known part of that step and `fed` [B, F]."""
        after: list[Layer] = []
        inputs = torch.addmm(self.ahead[t], fed, self.fed_weight)  # [B, G]
        for number, (before, weights) in enumerate(zip(layers, self.cells.all_weights, strict=True)):
            if number:
                below = functional.dropout(after[-1][0], self.cells.dropout, self.cells.training)
                inputs = functional.linear(below, weights[0], weights[2])
            after.append(self._advance(inputs, functional.linear(before[0], weights[1], weights[3]), before))
        return after

    def _advance(self, inputs: Tensor, recurrent: Tensor, before: Layer) -> Layer:
        """One layer: W x + b and U h + b, both [B, G], and what it remembers → what it remembers now."""
        if isinstance(self.cells, nn.LSTM):  # Hochreiter & Schmidhuber 1997, Gers et al. 2000
            enter, forget, new, show = (inputs + recurrent).chunk(4, dim=1)
            cell = forget.sigmoid() * before[1] + enter.sigmoid() * new.tanh()
            return show.sigmoid() * cell.tanh(), cell
        if isinstance(self.cells, nn.GRU):  # Cho et al. 2014, with the reset gate after the product, as torch has it
            x, h = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
            reset, update = (x[0] + h[0]).sigmoid(), (x[1] + h[1]).sigmoid()
            proposal = (x[2] + reset * h[2]).tanh()
            return (proposal + update * (before[0] - proposal),)
        return ((inputs + recurrent).tanh(),)  # Elman 1990
