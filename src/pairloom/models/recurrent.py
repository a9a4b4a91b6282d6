"""The recurrent encoder: stacked LSTM layers in one or two directions over a padded batch.

Dimensions: B sentences, S source tokens, E embedding, H hidden size of one direction, L layers (see `protocol.py`).

No `pack_padded_sequence`: batches are sorted by length, so there is next to nothing to pack, and a packed sequence is
slower and cannot be exported. The forward direction simply runs on into the padding, where nobody reads it; the
backward direction reads each sentence reversed *within its own length*, so that no padding comes before its first
token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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

    def __init__(self, inputs: int, hidden: int, layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.output_size = hidden * directions
        sizes = [inputs] + [self.output_size] * (layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes if bidirectional)
        self.dropout = nn.Dropout(dropout)

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
            outputs = [ahead(values)[0]]
            if self.backwards:
                read_back, _ = self.backwards[number](reorder(values, mirror))
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


def initialise_lstm(lstm: nn.LSTM) -> None:
    """Input weights after Glorot & Bengio 2010; recurrent weights orthogonal (Bahdanau et al. 2015, appendix B.1), gate
    by gate; the forget gate starts open with a bias of 1 (Gers et al. 2000; Jozefowicz et al. 2015, section 3)."""
    hidden = lstm.hidden_size
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            for gate in torch.split(parameter.data, hidden):
                nn.init.xavier_uniform_(gate)
        elif name.startswith("weight_hh"):
            for gate in torch.split(parameter.data, hidden):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                parameter.data[hidden : 2 * hidden] = 1.0
