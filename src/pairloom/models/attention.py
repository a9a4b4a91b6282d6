"""The LSTM encoder-decoder with attention: read once, look back at every step.

    Sutskever, Vinyals, Le 2014   arXiv 1409.3215   the encoder-decoder LSTM
    Bahdanau, Cho, Bengio 2015    arXiv 1409.0473   the bidirectional encoder, the memory of annotations
    Luong, Pham, Manning 2015     arXiv 1508.04025  attention after the decoder's LSTM, W_c [context; hidden]
    Vaswani et al. 2017           arXiv 1706.03762  the scaled dot product, softmax(q k / sqrt(d))
    Press & Wolf 2017             arXiv 1608.05859  output layer tied with the target embeddings

Dimensions: B sentences, S source tokens, T target tokens, E embedding, H decoder hidden state, A annotation (encoder
output), L layers, V target vocabulary.

    source ids [B, S] ── embed ── encoder LSTM ──► annotations [B, S, A] ──┐ keys, values
                                       │ last states                       │
                                       ▼ bridge                            ▼
    target ids [B, T] ── embed ── decoder LSTM ──► hidden [B, T, H] ──► attention [B, T, S] ──► context [B, T, A]
                                                     │                                            │
                                                     └───────────► tanh(W_c [context; hidden]) ◄──┘ ──► logits [B, T, V]

There is no input feeding: no step's attention enters the next step's LSTM. So in training the decoder's LSTM runs as
one fused call over all T, and attention and output are computed for all steps at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pairloom.models.dropout import Dropout
from pairloom.models.protocol import PAD, Memory, Model, ModelSettings, State, Step
from pairloom.models.recurrent import LSTMState, RecurrentEncoder, initialise_cells, make_cells, run_cells


class AttentionSettings(ModelSettings):
    """Sizes and choices of the attention model."""

    embedding: int = Field(256, ge=1, le=4096, description="E, size of the embeddings of both sides")
    encoder_hidden: int = Field(256, ge=1, le=4096, description="hidden units of each direction of the encoder")
    encoder_layers: int = Field(1, ge=1, le=8, description="layers of the encoder")
    bidirectional: bool = Field(True, description="read the source in both directions (Bahdanau et al. 2015, 3.2)")
    hidden: int = Field(512, ge=1, le=8192, description="H, hidden units of the decoder")
    decoder_layers: int = Field(1, ge=1, le=8, description="layers of the decoder")
    attention: Literal["scaled_dot", "dot"] = Field(
        "scaled_dot", description="how a state asks the memory: q·k/sqrt(d) with projected q, or Luong's plain dot"
    )
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="share of units dropped on every non-recurrent connection")
    tie: bool = Field(True, description="the output layer shares the target embeddings (Press & Wolf 2017)")

    def summary(self) -> str:
        """For people, in a few words."""
        return f"embeddings {self.embedding}, hidden {self.hidden}, dropout {self.dropout}"


@dataclass(frozen=True)
class AttentionMemory(Memory):
    """The annotations of the source and what the decoder starts from."""

    values: Tensor  # [B, S, A]
    keys: Tensor  # [B, S, H]; asks nothing of the decoder, so it is computed once a sentence
    last: Tensor  # [B, A] the last state of each direction
    length_fields: ClassVar[tuple[str, ...]] = ("mask", "values", "keys")


class AttentionModel(Model):
    """LSTM encoder-decoder with attention, after the `EncoderDecoder` protocol."""

    settings_type = AttentionSettings

    def __init__(self, settings: AttentionSettings, source_size: int, target_size: int, joint: bool = False) -> None:
        super().__init__(settings, source_size, target_size, joint)
        self.settings = s = settings
        self.target_embedding = nn.Embedding(target_size, s.embedding, padding_idx=PAD)
        self.source_embedding = None if joint else nn.Embedding(source_size, s.embedding, padding_idx=PAD)
        self.encoder = RecurrentEncoder(s.embedding, s.encoder_hidden, s.encoder_layers, s.bidirectional, s.dropout)
        annotation = self.encoder.output_size
        self.bridge = nn.Linear(annotation, 2 * s.decoder_layers * s.hidden)
        self.decoder = make_cells("lstm", s.embedding, s.hidden, s.decoder_layers, s.dropout)
        self.key = nn.Linear(annotation, s.hidden, bias=False) if self._projects_keys(annotation) else None
        self.combine = nn.Linear(s.hidden + annotation, s.embedding)
        self.output = None if s.tie else nn.Linear(s.embedding, target_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = Dropout(s.dropout)
        self._initialise()

    def _projects_keys(self, annotation: int) -> bool:
        return self.settings.attention == "scaled_dot" or annotation != self.settings.hidden

    def _initialise(self) -> None:
        """Embeddings N(0, 1/E), so that tied logits start with unit variance; LSTMs as `initialise_cells` says.

        The other matrices after Glorot & Bengio 2010: with torch's smaller ones the attention stays nearly even, and so
        teaches nothing, for hundreds of updates.
        """
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
    ) -> AttentionMemory:
        embedding = self.target_embedding if self.source_embedding is None else self.source_embedding
        annotations, last = self.encoder(self._embed(embedding, source), source_mask)
        annotations = self.dropout(annotations)
        keys = annotations if self.key is None else self.key(annotations)
        return AttentionMemory(mask=source_mask, values=annotations, keys=keys, last=last)

    def start(self, memory: Memory) -> LSTMState:
        """s_0 = tanh(W_s h_last) (Bahdanau et al. 2015, appendix A.2.2), for the cell as well."""
        assert isinstance(memory, AttentionMemory)
        s = self.settings
        both = torch.tanh(self.bridge(memory.last)).view(-1, 2, s.decoder_layers, s.hidden)
        return LSTMState(hidden=both[:, 0], cell=both[:, 1])

    def decode(
        self,
        tokens: Tensor,  # [B, T] ids of the previous tokens
        memory: Memory,
        state: State,
        *,
        attention: bool = False,
    ) -> Step:
        assert isinstance(memory, AttentionMemory)
        assert isinstance(state, LSTMState)
        outputs, after = run_cells(self.decoder, self._embed(self.target_embedding, tokens), state)
        outputs = self.dropout(outputs)
        weights = self._attend(outputs, memory)  # [B, T, S]
        context = weights.to(memory.values.dtype) @ memory.values  # [B, T, A]
        combined = torch.tanh(self.combine(torch.cat([context, outputs], dim=2)))  # Luong et al. 2015, equation 5
        return Step(self.dropout(combined), after, weights if attention else None)

    def context(self, memory: Memory) -> Tensor:
        return self.start(memory).hidden.flatten(1)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., E] → [..., V]"""
        weight = self.target_embedding.weight if self.output is None else self.output.weight
        return functional.linear(hidden, weight, self.output_bias)

    def _attend(self, queries: Tensor, memory: AttentionMemory) -> Tensor:
        """[B, T, H] → weights [B, T, S]: the dot product (Luong et al. 2015, equation 8), divided by the square root of
        its length when scaled (Vaswani et al. 2017, equation 1)."""
        scores: Tensor = queries @ memory.keys.transpose(1, 2)
        if self.settings.attention == "scaled_dot":
            scores = scores * self.settings.hidden**-0.5
        return scores.float().masked_fill(~memory.mask.unsqueeze(1), float("-inf")).softmax(dim=2)

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Looked up, brought to a deviation of 0.3 (the table has E^-1/2, for the output's sake), dropped out."""
        embedded: Tensor = embedding(ids) * (0.3 * self.settings.embedding**0.5)
        dropped: Tensor = self.dropout(embedded)
        return dropped
