"""What the recurrent decoders (rnn, attention, hybrid) have in common, and in which columns their products lie.

A decoder's step is few products with many columns. Whatever reads the same vector is one product:

    table    a token                  → the first cell's gates, and what readout and copying take of the token
    read     the top hidden state     → its own next gates, the query, what readout and copying take of it
    memory   an annotation            → keys, and what cells, readout and copying take of the context

The context is a mean of annotations, and a product of a mean is the mean of the products: so W context is computed once
for each annotation of a sentence rather than at each step, and the attention averages the results.

Dimensions: E embedding, H hidden, G gates times H, A annotation, C columns that the readout adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pairloom.engine.cells import GATES
from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.hybrid_settings import HybridSettings
from pairloom.models.rnn_settings import RNNSettings
from pairloom.models.settings import Cell


@dataclass(frozen=True)
class Plan:
    """One recurrent decoder."""

    cell: Cell
    hidden: int  # H
    layers: int
    readout: Literal["plain", "linear", "tanh", "maxout"]  # plain: the hidden state itself makes the logits
    combined: int  # C, without plain
    score: Literal["none", "dot", "tanh"] = "none"
    heads: int = 1
    query: int = 0  # columns of the query; 0: the hidden state itself asks
    key: int = 0  # columns of the keys in `memory`; 0: the annotations themselves
    asks_first: bool = False  # the state before the step asks, and the context feeds the cell
    feeds: bool = False  # what made the last logits feeds the cell
    covers: bool = False
    copies: bool = False

    @property
    def gates(self) -> int:
        """G"""
        return GATES[self.cell] * self.hidden

    @property
    def remembers(self) -> bool:
        """A layer has more than the product of its hidden state with its own weights."""
        return self.cell != "rnn"

    @property
    def table(self) -> dict[str, int]:
        """What a token gives."""
        return _present(gates=self.gates, combine=self.combined * (self.readout == "maxout"), gate=self.copies)

    def read(self, layer: int) -> dict[str, int]:
        """What the hidden state of a layer gives; what the next step needs comes first."""
        if layer < self.layers - 1:
            return {"again": self.gates, "next": self.gates}
        combine = 0 if self.readout == "plain" else self.combined
        cover = self.heads * (self.covers and self.score == "dot")
        return _present(again=self.gates, query=self.query, cover=cover, combine=combine, gate=self.copies)

    @property
    def context(self) -> dict[str, int]:
        """What a context gives, for each head."""
        return _present(combine=self.combined, fed=self.gates * self.asks_first, gate=self.copies)


def _present(**columns: int) -> dict[str, int]:
    return {name: int(width) for name, width in columns.items() if width}


def plan_attention(s: AttentionSettings) -> Plan:
    """The decoder of `models/attention.py`."""
    maxout = s.readout == "maxout"
    annotation = s.encoder_hidden * (2 if s.bidirectional else 1)
    tanh, several = s.attention in {"concat", "additive"}, s.attention == "multi_head"
    return Plan(
        cell=s.cell,
        hidden=s.hidden,
        layers=s.decoder_layers,
        readout="maxout" if maxout else "tanh",
        combined=s.embedding * (2 if maxout else 1),
        score="tanh" if tanh else "dot",
        heads=s.heads or 1,
        query=s.hidden if tanh or several else 0,
        key=0 if s.attention == "dot" and annotation == s.hidden else s.hidden,
        asks_first=s.attention == "additive",
        feeds=s.input_feeding,
        covers=s.coverage,
        copies=s.copying,
    )


def plan_rnn(s: RNNSettings) -> Plan:
    """The decoder of `models/rnn.py`."""
    projects = s.tie and s.hidden != s.embedding
    return Plan(s.cell, s.hidden, s.layers, "linear" if projects else "plain", s.embedding if projects else s.hidden)


def plan_hybrid(s: HybridSettings) -> Plan:
    """The decoder of `models/hybrid.py`."""
    return Plan(
        "lstm", s.hidden, s.decoder_layers, "tanh", s.size, score="dot", heads=s.heads, query=s.size, key=s.size
    )
