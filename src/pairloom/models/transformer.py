"""The Transformer: no recurrence, attention alone (Vaswani et al. 2017, arXiv 1706.03762).

    Vaswani et al. 2017     sections 3.1 to 3.5: layers, heads, feed-forward, shared embeddings, sinusoidal positions
    Xiong et al. 2020       arXiv 2002.04745: the norm before each sub-layer, which trains without a long warm-up
    Garg et al. 2019        arXiv 1909.02074: the penultimate layer aligns best

Dimensions: B sentences, S source tokens, T target tokens now, P target tokens before, d the size of every vector
(d_model), L decoder layers, N heads, V target vocabulary.

    source ids [B, S] ── embed + positions ── encoder layers ──► annotations [B, S, d] ── keys and values of all L
                                                                                          layers, once a sentence
    target ids [B, T] ── embed + positions ── L × (look back · look at the source · feed forward) ──► hidden [B, T, d]
                                                   ▲
                              state: keys and values of the P tokens before, for each row as many as it has

In training the state is empty and all T tokens are decoded at once; in generation each step adds one to the cache. Rows
of one batch may be at different positions, since the generation loop refills its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.models.dropout import Dropout
from pairloom.models.layers import DecoderLayer, EncoderLayer, initialise_blocks, sinusoids
from pairloom.models.protocol import PAD, Memory, Model, State, Step, pad_to
from pairloom.models.transformer_settings import TransformerSettings


@dataclass(frozen=True)
class TransformerMemory(Memory):
    """The annotations of the source, and what each decoder layer makes of them."""

    annotations: Tensor  # [B, S, d]
    cross: Tensor  # [B, S, L·2·d] keys and values of each layer: no step changes them
    length_fields: ClassVar[tuple[str, ...]] = ("mask", "annotations", "cross")


@dataclass(frozen=True)
class TransformerState(State):
    """The key-value cache."""

    lengths: Tensor  # [B] tokens decoded so far
    cache: Tensor  # [B, P, L·2·d] keys and values of those; zeros beyond a row's length
    length_fields: ClassVar[tuple[str, ...]] = ("cache",)


class TransformerEncoder(nn.Module):
    """Embedded source [B, S, d] → annotations [B, S, d]."""

    def __init__(self, size: int, feed_forward: int, heads: int, layers: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(size, feed_forward, heads, norm, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size) if norm == "pre" else nn.Identity()

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        visible = None if bool(mask.all()) else mask[:, None, None, :]  # [B, 1, 1, S]
        for layer in self.layers:
            embedded = layer(embedded, visible)
        normed: Tensor = self.norm(embedded)
        return normed


class TransformerModel(Model):
    """The Transformer, after the `EncoderDecoder` protocol."""

    settings_type = TransformerSettings

    def __init__(self, settings: TransformerSettings, source_size: int, target_size: int, joint: bool = False) -> None:
        super().__init__(settings, source_size, target_size, joint)
        self.settings = s = settings
        self.target_embedding = nn.Embedding(target_size, s.size, padding_idx=PAD)
        self.source_embedding = None if joint else nn.Embedding(source_size, s.size, padding_idx=PAD)
        self.encoder = TransformerEncoder(s.size, s.feed_forward, s.heads, s.encoder_layers, s.norm, s.dropout)
        self.cross = nn.Linear(s.size, s.decoder_layers * 2 * s.size)
        self.decoder = nn.ModuleList(
            DecoderLayer(s.size, s.feed_forward, s.heads, s.norm, s.dropout) for _ in range(s.decoder_layers)
        )
        self.norm = nn.LayerNorm(s.size) if s.norm == "pre" else nn.Identity()
        self.output = None if s.tie else nn.Linear(s.size, target_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = Dropout(s.dropout)
        self._initialise()

    def _initialise(self) -> None:
        """Embeddings N(0, 1/d), so that times sqrt(d) they have the size of the positions; matrices after Glorot."""
        for embedding in (self.target_embedding, self.source_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=self.settings.size**-0.5)
                nn.init.zeros_(embedding.weight.data[PAD])
        initialise_blocks(self)

    def encode(
        self,
        source: Tensor,  # [B, S] ids, ending with `</s>`
        source_mask: Tensor,  # [B, S]
    ) -> TransformerMemory:
        embedding = self.target_embedding if self.source_embedding is None else self.source_embedding
        positions = torch.arange(source.shape[1], device=source.device).expand_as(source)
        annotations = self.encoder(self._embed(embedding, source, positions), source_mask)
        return TransformerMemory(mask=source_mask, annotations=annotations, cross=self.cross(annotations))

    def start(self, memory: Memory) -> TransformerState:
        assert isinstance(memory, TransformerMemory)
        lengths = memory.mask.new_zeros(len(memory.mask), dtype=torch.long)
        return TransformerState(lengths=lengths, cache=memory.cross[:, :0])

    def decode(
        self,
        tokens: Tensor,  # [B, T] ids of the previous tokens
        memory: Memory,
        state: State,
        *,
        attention: bool = False,
    ) -> Step:
        assert isinstance(memory, TransformerMemory)
        assert isinstance(state, TransformerState)
        s = self.settings
        positions = state.lengths[:, None] + torch.arange(tokens.shape[1], device=tokens.device)  # [B, T]
        values = self._embed(self.target_embedding, tokens, positions)
        past, visible = self._past(state, positions)
        source_visible = None if bool(memory.mask.all()) else memory.mask[:, None, None, :]
        pasts = [None] * s.decoder_layers if past is None else past.chunk(s.decoder_layers, dim=2)
        caches, heads = [], []
        for layer, before, cross in zip(self.decoder, pasts, memory.cross.chunk(s.decoder_layers, dim=2), strict=True):
            values, cache, weights = layer(values, before, positions, visible, cross, source_visible, attention)
            caches.append(cache)
            heads.append(weights)
        after = TransformerState(lengths=state.lengths + tokens.shape[1], cache=torch.cat(caches, dim=2))
        hidden = self.norm(values)
        if not attention:
            return Step(hidden, after, None)
        every = torch.stack(heads, dim=1)  # [B, L, N, T, S]
        return Step(hidden, after, every[:, max(0, s.decoder_layers - 2)].mean(1), every)

    def _past(self, state: TransformerState, positions: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The cache with room for the new tokens [B, P + T, L·2·d], and which of its places each of them may see [B, 1,
        T, P + T]; (None, None) before the first token, when plain causal attention does."""
        if state.cache.shape[1] == 0:
            return None, None
        places = int(positions.max()) + 1
        room = pad_to(state.cache, places)[:, :places]
        return room, (torch.arange(places, device=positions.device) <= positions[:, :, None])[:, None]

    def context(self, memory: Memory) -> Tensor:
        """The mean of the annotations [B, d]: the Transformer's decoder starts from nothing."""
        assert isinstance(memory, TransformerMemory)
        real = memory.mask[:, :, None]
        return (memory.annotations * real).sum(1) / real.sum(1)

    def annotations(self, memory: Memory) -> Tensor:
        assert isinstance(memory, TransformerMemory)
        return memory.annotations

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., d] → [..., V]"""
        weight = self.target_embedding.weight if self.output is None else self.output.weight
        return functional.linear(hidden, weight, self.output_bias)

    def _embed(self, embedding: nn.Embedding, ids: Tensor, positions: Tensor) -> Tensor:
        """Looked up, times sqrt(d) (3.4), plus the positions (3.5), dropped out (5.4)."""
        embedded = embedding(ids) * self.settings.size**0.5 + sinusoids(positions, self.settings.size)
        dropped: Tensor = self.dropout(embedded)
        return dropped
