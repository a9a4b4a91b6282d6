"""What a newcomer writes after a tutorial: tutorial.py FOLDER SENTENCES

A packed bidirectional encoder, and a decoder that steps through the target in Python, asking the annotations with
additive attention (Bahdanau et al. 2015) before each step; float32, the loss over the padded [B, T, V].
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch
from common import BOS, PAD, Meter, batches
from torch import nn
from torch.nn import functional

EMBEDDING, HIDDEN, WORDS, DROPOUT = 256, 512, 8000, 0.3


class Encoder(nn.Module):
    """[B, S] → annotations [B, S, H] and the first state of the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, EMBEDDING, padding_idx=PAD)
        self.dropout = nn.Dropout(DROPOUT)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN // 2, batch_first=True, bidirectional=True)

    def forward(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        lengths = (source != PAD).sum(1)
        embedded = self.dropout(self.embedding(source))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        outputs, (hidden, cell) = self.lstm(packed)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
        return outputs, torch.cat([hidden[0], hidden[1]], 1), torch.cat([cell[0], cell[1]], 1)


class Decoder(nn.Module):
    """One step at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, EMBEDDING, padding_idx=PAD)
        self.dropout = nn.Dropout(DROPOUT)
        self.query, self.key = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.energy = nn.Linear(HIDDEN, 1)
        self.cell = nn.LSTMCell(EMBEDDING + HIDDEN, HIDDEN)
        self.output = nn.Linear(HIDDEN, WORDS)

    def forward(
        self, tokens: torch.Tensor, notes: torch.Tensor, mask: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> torch.Tensor:
        keys, scores = self.key(notes), []
        for t in range(tokens.shape[1]):
            energy = self.energy(torch.tanh(self.query(hidden).unsqueeze(1) + keys)).squeeze(2)
            weights = energy.masked_fill(~mask, -1e9).softmax(1)
            context = torch.bmm(weights.unsqueeze(1), notes).squeeze(1)
            embedded = self.dropout(self.embedding(tokens[:, t]))
            hidden, cell = self.cell(torch.cat([embedded, context], 1), (hidden, cell))
            scores.append(self.output(self.dropout(hidden)))
        return torch.stack(scores, 1)


def main(folder: Path, size: int) -> None:
    """Trains until it is ended."""
    torch.manual_seed(1)
    random.seed(1)
    encoder, decoder = Encoder(), Decoder()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    print("parameters", sum(p.numel() for p in parameters), flush=True)
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    meter = Meter()
    for source, target in batches(folder, size):
        before = torch.cat([torch.full((len(target), 1), BOS), target[:, :-1]], dim=1)
        notes, hidden, cell = encoder(source)
        scores = decoder(before, notes, source != PAD, hidden, cell)
        loss = functional.cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        meter.count(int((target != PAD).sum()), len(target))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
