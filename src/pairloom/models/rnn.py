"""The fixed context vector: the whole source in one state, and nothing else for the decoder to look at.

    Sutskever, Vinyals, Le 2014   arXiv 1409.3215   two deep LSTMs, the second starts where the first has ended
    Cho et al. 2014               arXiv 1406.1078   the same year's encoder-decoder, with gated recurrent units
    Zaremba et al. 2014           arXiv 1409.2329   dropout between layers, never on the recurrent connection
    Press & Wolf 2017             arXiv 1608.05859  output layer tied with the target embeddings

Dimensions: B sentences, S source tokens, T target tokens, E embedding, H hidden state, L layers of each side, V target
vocabulary; N = 2 for an LSTM (hidden and cell), else 1.

    source ids [B, S] ── reversed ── embed ── encoder cells ──► last state of every layer [B, N, L, H]
                                                                        │ the only way through
                                                                        ▼
    target ids [B, T] ───────────── embed ── decoder cells ──► hidden [B, T, H] ── project ──► logits [B, T, V]

From the paper: separate weights for both sides, several layers, the reversed source (section 2, the three differences;
section 3.3). Other than there: both sides may have another cell; dropout, tied embeddings and initial weights are those
of the attention model (`initialise_cells`, embeddings N(0, 1/E)), not uniform(-0.08, 0.08) (section 3.4), so that the
two models differ in nothing but the attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.models.dropout import Dropout
from pairloom.models.protocol import PAD, Memory, Model, State, Step, join, select
from pairloom.models.recurrent import (
    LSTMState,
    RecurrentState,
    initialise_cells,
    make_cells,
    reversal,
    run_cells,
)
from pairloom.models.rnn_settings import RNNSettings


@dataclass(frozen=True)
class RNNMemory(Memory):
    """All that the decoder learns of the source; its size does not depend on the length of the source."""

    last: Tensor  # [B, N, L, H] hidden (and cell) of every layer after the last real token


class RNNModel(Model):
    """Encoder-decoder without attention, after the `EncoderDecoder` protocol. `Step.attention` is always None."""

    settings_type = RNNSettings

    def __init__(self, settings: RNNSettings, source_size: int, target_size: int, joint: bool = False) -> None:
        super().__init__(settings, source_size, target_size, joint)
        self.settings = s = settings
        self.target_embedding = nn.Embedding(target_size, s.embedding, padding_idx=PAD)
        self.source_embedding = None if joint else nn.Embedding(source_size, s.embedding, padding_idx=PAD)
        self.encoder = make_cells(s.cell, s.embedding, s.hidden, s.layers, s.dropout)
        self.decoder = make_cells(s.cell, s.embedding, s.hidden, s.layers, s.dropout)
        projects = s.tie and s.hidden != s.embedding
        self.project = nn.Linear(s.hidden, s.embedding, bias=False) if projects else None
        self.output = None if s.tie else nn.Linear(s.hidden, target_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = Dropout(s.dropout)
        self._initialise()

    def _initialise(self) -> None:
        """As in the attention model, whose file says why."""
        for embedding in (self.target_embedding, self.source_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=self.settings.embedding**-0.5)
                nn.init.zeros_(embedding.weight.data[PAD])
        for module in self.modules():
            if isinstance(module, nn.RNNBase):
                initialise_cells(module)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def encode(
        self,
        source: Tensor,  # [B, S] ids, ending with `</s>`
        source_mask: Tensor,  # [B, S]
    ) -> RNNMemory:
        if self.settings.reverse_source:
            source = source.gather(1, backwards(source_mask))
        embedding = self.target_embedding if self.source_embedding is None else self.source_embedding
        state = self._read(self._embed(embedding, source), source_mask.sum(1))
        return RNNMemory(mask=source_mask, last=torch.stack(list(vars(state).values()), dim=1))

    def start(self, memory: Memory) -> RecurrentState:
        """Layer by layer the last state of the encoder (Sutskever et al. 2014, section 2 and figure 1): no bridge."""
        assert isinstance(memory, RNNMemory)
        return self._state(memory.last)

    def decode(
        self,
        tokens: Tensor,  # [B, T] ids of the previous tokens
        memory: Memory,
        state: State,
        *,
        attention: bool = False,
    ) -> Step:
        assert isinstance(state, RecurrentState)
        outputs, after = run_cells(self.decoder, self._embed(self.target_embedding, tokens), state)
        if self.project is not None:
            outputs = self.project(self.dropout(outputs))
        return Step(self.dropout(outputs), after, None)

    def context(self, memory: Memory) -> Tensor:
        """[B, N·L·H]: every number that the decoder gets; 8000 for the paper's 4 layers of 1000 cells (3.4)."""
        assert isinstance(memory, RNNMemory)
        return memory.last.flatten(1)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] → [..., V]; D = E where the output is tied, else H."""
        weight = self.target_embedding.weight if self.output is None else self.output.weight
        return functional.linear(hidden, weight, self.output_bias)

    def _read(
        self,
        embedded: Tensor,  # [B, S, E]
        lengths: Tensor,  # [B], at least 1
    ) -> RecurrentState:
        """The state of each sentence after its own last token.

        A fused call returns the state of every layer at its end only, so there is one call from each length in the
        batch to the next, with the sentences that are still being read. Batches are sorted by length: the lengths in
        one are few, and mostly there is one.
        """
        lengths, longest_first = lengths.sort(descending=True)
        embedded = embedded[longest_first]
        numbers = 2 if self.settings.cell == "lstm" else 1
        state = self._state(embedded.new_zeros(len(embedded), numbers, self.settings.layers, self.settings.hidden))
        begin, ended = 0, []
        for end, count in zip(*(found.tolist() for found in torch.unique(lengths, return_counts=True)), strict=True):
            _, state = run_cells(self.encoder, embedded[:, begin:end], state)
            rows = torch.arange(len(embedded), device=embedded.device)
            ended.append(select(state, rows[-count:]))
            state, embedded, begin = select(state, rows[:-count]), embedded[:-count], end
        return select(join(ended[::-1]), longest_first.argsort())

    def _state(self, numbers: Tensor) -> RecurrentState:
        """[B, N, L, H] → the state of the cells."""
        if self.settings.cell == "lstm":
            return LSTMState(hidden=numbers[:, 0], cell=numbers[:, 1])
        return RecurrentState(hidden=numbers[:, 0])

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Looked up, brought to a deviation of 0.3 (the table has E^-1/2, for the output's sake), dropped out."""
        embedded: Tensor = embedding(ids) * (0.3 * self.settings.embedding**0.5)
        dropped: Tensor = self.dropout(embedded)
        return dropped


def backwards(mask: Tensor) -> Tensor:
    """[B, S] mask → [B, S] positions in which every sentence is reversed and its `</s>` stays at the end.

    The paper reads a sentence as A, B, C, <EOS> (figure 1) and reverses its words, not that mark (section 3.3: c, b, a
    for a, b, c): it is what tells the encoder that now everything has been read, so it comes last in either order.
    """
    final = torch.full_like(mask[:, :1], mask.shape[1] - 1, dtype=torch.long)
    return torch.cat([reversal(mask[:, 1:]), final], dim=1)
