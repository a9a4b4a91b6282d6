"""The hybrid: a Transformer reads, an LSTM speaks (Chen et al. 2018, arXiv 1804.09849, section 5.1).

    Chen et al. 2018        section 5.1: a Transformer encoder with a recurrent decoder beats both
    Vaswani et al. 2017     arXiv 1706.03762, section 3.2.2: attention with several heads
    Luong et al. 2015       arXiv 1508.04025, section 3: attention after the LSTM, tanh(W_c [context; hidden])

Dimensions: B sentences, S source tokens, T target tokens, d the size of embeddings and annotations, H decoder hidden
state, L decoder layers, N heads, V target vocabulary.

    source ids [B, S] ── embed + positions ── Transformer encoder ──► annotations [B, S, d] ── keys and values
                                                    │ mean                                         │
                                                    ▼ bridge                                       ▼
    target ids [B, T] ── embed ──────────────► decoder LSTM ──► hidden [B, T, H] ──► N heads ──► context [B, T, d]
                                                                    │                              │
                                                                    └► tanh(W_c [context; hidden]) ◄┘ ► logits [B, T, V]

What a step of the Transformer pays for (a cache that grows, L layers that look back over it) the LSTM has in one state
of fixed size. Other than in the paper, where the context also feeds the LSTM: it does not, so that the LSTM runs as one
fused call over all T; and the LSTM starts from the mean of the annotations, since a Transformer has no last state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.models.dropout import Dropout
from pairloom.models.hybrid_settings import HybridSettings
from pairloom.models.layers import attend, initialise_blocks, sinusoids
from pairloom.models.protocol import PAD, Memory, Model, State, Step
from pairloom.models.recurrent import LSTMState, initialise_cells, make_cells, run_cells
from pairloom.models.transformer import TransformerEncoder


@dataclass(frozen=True)
class HybridMemory(Memory):
    """The annotations of the source and what the attention makes of them."""

    annotations: Tensor  # [B, S, d]
    cross: Tensor  # [B, S, 2·d] keys and values, computed once a sentence
    length_fields: ClassVar[tuple[str, ...]] = ("mask", "annotations", "cross")


class HybridModel(Model):
    """Transformer encoder, LSTM decoder with multi-head attention, after the `EncoderDecoder` protocol."""

    settings_type = HybridSettings

    def __init__(self, settings: HybridSettings, source_size: int, target_size: int, joint: bool = False) -> None:
        super().__init__(settings, source_size, target_size, joint)
        self.settings = s = settings
        self.target_embedding = nn.Embedding(target_size, s.size, padding_idx=PAD)
        self.source_embedding = None if joint else nn.Embedding(source_size, s.size, padding_idx=PAD)
        self.encoder = TransformerEncoder(s.size, s.feed_forward, s.heads, s.encoder_layers, "pre", s.dropout)
        self.bridge = nn.Linear(s.size, 2 * s.decoder_layers * s.hidden)
        self.decoder = make_cells("lstm", s.size, s.hidden, s.decoder_layers, s.dropout)
        self.query = nn.Linear(s.hidden, s.size, bias=False)
        self.cross = nn.Linear(s.size, 2 * s.size, bias=False)
        self.combine = nn.Linear(s.hidden + s.size, s.size)
        self.output = None if s.tie else nn.Linear(s.size, target_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = Dropout(s.dropout)
        self._initialise()

    def _initialise(self) -> None:
        """As in the models that it is made of."""
        for embedding in (self.target_embedding, self.source_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=self.settings.size**-0.5)
                nn.init.zeros_(embedding.weight.data[PAD])
        initialise_blocks(self)
        initialise_cells(self.decoder)

    def encode(
        self,
        source: Tensor,  # [B, S] ids, ending with `</s>`
        source_mask: Tensor,  # [B, S]
    ) -> HybridMemory:
        s = self.settings
        embedding = self.target_embedding if self.source_embedding is None else self.source_embedding
        positions = torch.arange(source.shape[1], device=source.device).expand_as(source)
        embedded = self.dropout(embedding(source) * s.size**0.5 + sinusoids(positions, s.size))
        annotations = self.encoder(embedded, source_mask)
        return HybridMemory(mask=source_mask, annotations=annotations, cross=self.cross(annotations))

    def start(self, memory: Memory) -> LSTMState:
        """s_0 = tanh(W_s mean(annotations)), for the cell as well."""
        s = self.settings
        both = torch.tanh(self.bridge(self.context(memory))).view(-1, 2, s.decoder_layers, s.hidden)
        return LSTMState(hidden=both[:, 0], cell=both[:, 1])

    def decode(
        self,
        tokens: Tensor,  # [B, T] ids of the previous tokens
        memory: Memory,
        state: State,
        *,
        attention: bool = False,
    ) -> Step:
        assert isinstance(memory, HybridMemory)
        assert isinstance(state, LSTMState)
        s = self.settings
        embedded = self.dropout(self.target_embedding(tokens) * (0.3 * s.size**0.5))  # as in the attention model
        outputs, after = run_cells(self.decoder, embedded, state)
        outputs = self.dropout(outputs)
        keys, values = memory.cross.chunk(2, dim=2)
        visible = memory.mask[:, None, None, :]
        context, weights = attend(self.query(outputs), keys, values, s.heads, visible, weights=attention)
        hidden = self.dropout(torch.tanh(self.combine(torch.cat([context, outputs], dim=2))))
        if weights is None:
            return Step(hidden, after, None)
        return Step(hidden, after, weights.mean(1), weights[:, None])

    def context(self, memory: Memory) -> Tensor:
        """The mean of the annotations [B, d]."""
        assert isinstance(memory, HybridMemory)
        real = memory.mask[:, :, None]
        mean: Tensor = (memory.annotations * real).sum(1) / real.sum(1)
        return mean

    def annotations(self, memory: Memory) -> Tensor:
        assert isinstance(memory, HybridMemory)
        return memory.annotations

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., d] → [..., V]"""
        weight = self.target_embedding.weight if self.output is None else self.output.weight
        return functional.linear(hidden, weight, self.output_bias)
