"""A shortlist: the search chooses among the words that are likely for the sources of a batch, not all.

What the sentences of a chunk may say together lies as a vocabulary of its own would (`layout.Listed`), and the graph is
that of such a vocabulary. Two things only are different in it: the output layer's weights are an input, and a token is
looked up in the whole table. A word that is listed for another sentence of the chunk has a bias of minus infinity, so
that company changes nothing. Probabilities are those among the words listed.

There is a graph for every size, and so there are few sizes; what is left over is filled up with nothing.

Dimensions: N sentences, V' positions of the list, D columns of the output layer, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pairloom.engine.graph import MICROSOFT, Graph, Value
from pairloom.engine.layout import FIRST, Layout, Listed
from pairloom.engine.products import product, zero
from pairloom.engine.protocol import Form, Memory
from pairloom.engine.wire import Array

WORDS, WEIGHT, SCALE, BIAS = "listed.words", "listed.weight", "listed.scale", "listed.bias"
"""Inputs of a graph with a shortlist: position → position in the whole order [V'], and of the output layer the weights
[V', D], the scales [V'] (in int8 only) and the biases [N, V']."""
SMALLEST = 256


# -- in the graph ------------------------------------------------------------------------------------------------------


def declare(graph: Graph) -> None:
    """The inputs that every graph of a search needs; `BIAS` is given to the first only, which remembers it."""
    graph.input(WORDS, "int64", ("listed",))
    quantised = graph.arrays.get("output.quantised")
    graph.input(WEIGHT, "float32" if quantised is None else quantised.dtype.name, ("listed", "columns"))
    if quantised is not None:
        graph.input(SCALE, "float32", ("listed",))


def in_table(graph: Graph, form: Form, tokens: Value) -> Value:
    """The tokens of a search as positions of the whole order."""
    return graph.gather(WORDS, tokens) if form.listed else tokens


def logits(graph: Graph, form: Form, memory: Memory, hidden: Value) -> Value:
    """The output layer: [R, D] → [R, V']."""
    if not form.listed:
        return product(graph, hidden, "output", rows=form.rows)
    g, once, bias = graph, graph.outside, memory["listed"]
    weight = once.transpose(WEIGHT, 1, 0)
    if "output.quantised" in g.arrays:
        nought = zero(g.arrays["output.quantised"])
        y = g.op("DynamicQuantizeMatMul", hidden, weight, SCALE, nought, domain=MICROSOFT)
    else:
        y = g.op("MatMul", hidden, weight)
    if form.single or form.width == 1:
        return g.add(y, bias)
    length = Layout(FIRST + form.listed).length
    sentences = g.op("Reshape", y, once.concat(once.size(bias, 0), [-1, length], axis=0))  # [N, w, V']
    return g.reshape(g.add(sentences, once.op("Unsqueeze", bias, [1])), -1, length)


# -- beside it ---------------------------------------------------------------------------------------------------------


class Chosen(NamedTuple):
    """What the sentences of a chunk may say."""

    layout: Listed
    inputs: dict[str, Array]  # of both graphs
    bias: Array  # [N, V']

    @property
    def listed(self) -> int:
        """For `Form`."""
        return self.layout.size - FIRST


class Shortlist:
    """The lists of a model, and its output layer laid out so that rows can be taken of it."""

    def __init__(self, likely: Mapping[str, Array], arrays: Mapping[str, Array], layout: Layout) -> None:
        """`likely`: as `stored.load_shortlist` gives it; `arrays`: those of the engine."""
        self.by_source, self.always, self.layout = likely["by_source"], likely["always"], layout
        weight = arrays["output.quantised"] if "output.quantised" in arrays else arrays["output.weight"]
        self.weight = np.ascontiguousarray(weight.T)
        self.scale, self.bias = arrays.get("output.scale"), arrays["output.bias"]

    def choose(self, sources: Sequence[Sequence[int]]) -> Chosen:
        """The union of what is listed for each of N sources."""
        possible = np.zeros((len(sources), self.layout.size), np.bool_)
        possible[:, self.always] = True
        for row, source in zip(possible, sources, strict=True):
            row[self.by_source[np.array(source, np.int64)]] = True
        possible[:, :FIRST] = True  # they have places of their own
        words = FIRST + np.nonzero(possible[:, FIRST:].any(0))[0]
        layout = Listed(FIRST + min(self.layout.size - FIRST, room(len(words))), tuple(words.tolist()))
        ids = layout.ids
        places = self.layout.positions[np.maximum(ids, 0)]
        bias = np.where(possible[:, ids] & (ids >= 0), self.bias[places], np.float32(-np.inf))
        inputs = {WORDS: places, WEIGHT: self.weight[places]}
        if self.scale is not None:
            inputs[SCALE] = self.scale[places]
        return Chosen(layout, inputs, bias)


def room(words: int) -> int:
    """The smallest size of a graph for so many words: 256, 384, 512, 768, 1024, ..."""
    size = SMALLEST
    while size < words:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size
