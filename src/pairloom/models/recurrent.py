"""What every recurrent model is built from: the three cells, their state as a value, and the encoder.

    Elman 1990                        the plain recurrent net, h_t = tanh(W x_t + U h_{t-1})
    Cho et al. 2014                   arXiv 1406.1078, section 2.3: the gated recurrent unit
    Hochreiter & Schmidhuber 1997     the LSTM; with the forget gate of Gers et al. 2000

Dimensions: B sentences, S source tokens, E embedding, H hidden size of one direction, L layers (see `protocol.py`).

No `pack_padded_sequence`: batches are sorted by length, so there is next to nothing to pack, and a packed sequence is
slower and cannot be exported. The forward direction simply runs on into the padding, where nobody reads it; the
backward direction reads each sentence reversed *within its own length*, so that no padding comes before its first
token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from pairloom.models.dropout import Dropout
from pairloom.models.protocol import State
from pairloom.models.settings import Cell

CELLS: dict[Cell, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class RecurrentState(State):
    """Hidden state of every decoder layer."""

    hidden: Tensor  # [B, L, H]


@dataclass(frozen=True)
class LSTMState(RecurrentState):
    """An LSTM has a cell beside it."""

    cell: Tensor  # [B, L, H]


def make_cells(cell: Cell, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> nn.RNNBase:
    """Layers of one kind of cell, batch first; dropout between them (Zaremba et al. 2014, section 3.1)."""
    between = dropout if layers > 1 else 0.0
    return CELLS[cell](inputs, hidden, num_layers=layers, batch_first=True, dropout=between)


@cache
def has_bfloat16_lstm() -> bool:
    """Whether torch computes an LSTM of float32 inputs in bfloat16 here: oneDNN's kernel for it takes AVX-512."""
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.random.fork_rng(devices=[]):
            nn.LSTM(8, 8)(torch.zeros(1, 1, 8))  # its first weights must not be drawn from a run's numbers
    except RuntimeError:
        return False
    return True


def call_cells(cells: nn.Module, inputs: Tensor, *states: Tensor) -> tuple[Tensor, Any]:
    """inputs [B, T, E] and the states [L, B, H] → as torch has it, in one fused call over all T.

    Where a processor cannot compute an LSTM in bfloat16 (and other cells only slowly), they are computed in float32;
    all around them stays as it was asked for.
    """
    state = (states if len(states) > 1 else states[0]) if states else None
    if inputs.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or has_bfloat16_lstm():
        return cast(tuple[Tensor, Any], cells(inputs, state))
    with torch.autocast("cpu", enabled=False):
        return call_cells(cells, inputs.float(), *(one.float() for one in states))


def run_cells(cells: nn.RNNBase, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
    """inputs [B, T, E] from `state` on → outputs of the top layer [B, T, H] and the state after the last step; one
    fused call over all T."""
    hidden = state.hidden.transpose(0, 1).contiguous()
    if isinstance(state, LSTMState):
        outputs, (after, cell) = call_cells(cells, inputs, hidden, state.cell.transpose(0, 1).contiguous())
        return outputs, LSTMState(hidden=after.transpose(0, 1), cell=cell.transpose(0, 1))
    outputs, after = call_cells(cells, inputs, hidden)
    return outputs, RecurrentState(hidden=after.transpose(0, 1))


def reversal(mask: Tensor) -> Tensor:
    """[B, S] mask → [B, S] positions that reverse every sentence within its length; padding stays in its place.

    Reversing twice gives the original.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    mirrored = mask.sum(1, keepdim=True) - 1 - positions
    return torch.where(mirrored >= 0, mirrored, positions)


def reorder(values: Tensor, positions: Tensor) -> Tensor:
    """[B, S, X] and [B, S] → [B, S, X] with the steps of each sentence in the order of `positions`."""
    return values.gather(1, positions.unsqueeze(2).expand_as(values))


class RecurrentEncoder(nn.Module):
    """Source embeddings → one annotation a token (Bahdanau et al. 2015, section 3.2) and the last state of each
    direction.

    Dropout lies between the layers only, never on the recurrent connection (Zaremba et al. 2014, section 3.1).
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int, bidirectional: bool, dropout: float, cell: Cell = "lstm"
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.output_size = hidden * directions
        sizes = [inputs] + [self.output_size] * (layers - 1)
        self.forwards = nn.ModuleList(make_cells(cell, size, hidden) for size in sizes)
        self.backwards = nn.ModuleList(make_cells(cell, size, hidden) for size in sizes if bidirectional)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        embedded: Tensor,  # [B, S, E]
        mask: Tensor,  # [B, S] True = a real token
    ) -> tuple[Tensor, Tensor]:  # annotations [B, S, H·directions], last states [B, H·directions]
        mirror = reversal(mask)
        values = embedded
        for number, ahead in enumerate(self.forwards):
            if number:
                values = self.dropout(values)
            outputs = [call_cells(ahead, values)[0]]
            if self.backwards:
                read_back, _ = call_cells(self.backwards[number], reorder(values, mirror))
                outputs.append(reorder(read_back, mirror))
            values = torch.cat(outputs, dim=2)
        return values, self._last(values, mask)

    def _last(self, values: Tensor, mask: Tensor) -> Tensor:
        """Where each direction ended: at the last real token going forward, at the first going backward."""
        final = mask.sum(1) - 1
        at_end = values[torch.arange(len(values), device=values.device), final]
        if not self.backwards:
            return at_end
        half = self.output_size // 2
        return torch.cat([at_end[:, :half], values[:, 0, half:]], dim=1)


def initialise_cells(cells: nn.RNNBase) -> None:
    """Input weights after Glorot & Bengio 2010; recurrent weights orthogonal (Bahdanau et al. 2015, appendix B.1), gate
    by gate; the forget gate starts open with a bias of 1 (Gers et al. 2000; Jozefowicz et al. 2015, section 3)."""
    hidden = cells.hidden_size
    for name, parameter in cells.named_parameters():
        if name.startswith("weight_ih"):
            for gate in torch.split(parameter.data, hidden):
                nn.init.xavier_uniform_(gate)
        elif name.startswith("weight_hh"):
            for gate in torch.split(parameter.data, hidden):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih") and isinstance(cells, nn.LSTM):
                parameter.data[hidden : 2 * hidden] = 1.0
