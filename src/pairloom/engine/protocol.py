"""What every kind of model gives to the graph of a search: the counterpart of `models/protocol.py`, in ONNX nodes.

Dimensions: N sentences, S source tokens, W rows of each sentence (the width of the beam; in the first step of a beam
one row of each), R = N W, V' positions of the vocabulary (see `layout.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pairloom.engine.graph import Graph, Value
from pairloom.engine.products import FEW, Rows

Memory = dict[str, Value]
"""What no step changes. The sentences are on axis 0: nothing of it is ever copied for the rows of a beam. `positions`,
if there is one, has the steps on axis 0."""
State = dict[str, Value]
"""What each step changes, in float32. The rows are on axis 0, but for what `by_sentence` names."""


@dataclass(frozen=True)
class Form:
    """What a graph is made for."""

    width: int = 1  # W
    single: bool = False  # one sentence at a time: no padding, no masks
    listed: int = 0  # words that the search chooses among; 0: the whole vocabulary

    @property
    def rows(self) -> Rows:
        """How many rows the products of a step have."""
        if not self.single or self.width > FEW:
            return "many"
        return "one" if self.width == 1 else "few"


class Spoken(NamedTuple):
    """What a step gives."""

    scores: Value  # [R, V']: logits, or log-probabilities
    state: State
    normalised: bool = False  # they are log-probabilities


class GraphModel(Protocol):
    """One kind of model."""

    @property
    def form(self) -> Form:
        """What its nodes are for."""
        ...

    @property
    def by_sentence(self) -> frozenset[str]:
        """The parts of the state that have the sentences on axis 0, and stay where they are when rows change places."""
        ...

    def encode(self, graph: Graph, source: Value, lengths: Value, most: Value) -> tuple[Memory, State]:
        """Ids [N, S] with `</s>`, how many of each sentence are real (int32 [N]), and the most steps that follow → what
        the steps look at, and the state [N, ...] of each sentence before its first token."""
        ...

    def step(self, graph: Graph, position: Value, tokens: Value, memory: Memory, state: State) -> Spoken:
        """The number of the step, and the latest tokens [R] by position."""
        ...
