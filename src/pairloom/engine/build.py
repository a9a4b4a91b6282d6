"""From settings and arrays to the whole model of a search, as bytes for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pairloom.engine import fold, search, transformer_fold
from pairloom.engine.graph import Graph
from pairloom.engine.kinds import AttentionGraph, HybridGraph, RNNGraph
from pairloom.engine.layout import Layout
from pairloom.engine.protocol import GraphModel
from pairloom.engine.recurrent_plan import plan_attention, plan_hybrid, plan_rnn
from pairloom.engine.transformer import TransformerGraph
from pairloom.engine.wire import Array

FOLDS: dict[str, Callable[[Mapping[str, Array], Any, Layout], dict[str, Array]]] = {
    "attention": fold.fold_attention,
    "rnn": fold.fold_rnn,
    "transformer": transformer_fold.fold_transformer,
    "hybrid": transformer_fold.fold_hybrid,
}
"""kind → torch's weights to the engine's arrays."""

MODELS: dict[str, Callable[[Any, Layout, bool], GraphModel]] = {
    "attention": lambda s, layout, blocks: AttentionGraph(plan_attention(s), layout, blocks, s),
    "rnn": lambda s, layout, blocks: RNNGraph(plan_rnn(s), layout, blocks, s),
    "transformer": TransformerGraph,
    "hybrid": lambda s, layout, blocks: HybridGraph(plan_hybrid(s), layout, blocks, s),
}
"""kind → what gives the nodes, of (settings, order of the vocabulary, one row in blocks)."""


def build(arrays: Mapping[str, Array], model: GraphModel, layout: Layout, width: int) -> Graph:
    """Encoder and search as one graph. Inputs: source [N, S] ids with `</s>`, lengths [N], limits [N], and those
    of the search."""
    graph = Graph(arrays)
    source = graph.input("source", "int64", ("sentences", "source"))
    lengths = graph.input("lengths", "int32", ("sentences",))
    limits = graph.input("limits", "int64", ("sentences",))
    most = graph.op("ReduceMax", limits, keepdims=0)
    memory = model.encode(graph, source, lengths, most)
    if width == 1:
        search.greedy(graph, model, layout, memory, limits, most)
    else:
        search.beam(graph, model, layout, memory, limits, most, width)
    return graph
