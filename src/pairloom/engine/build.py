"""From settings and arrays to the whole model of a search, as bytes for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pairloom.engine import fold, search, shortlist, transformer_fold
from pairloom.engine.graph import Graph, Value
from pairloom.engine.kinds import AttentionGraph, HybridGraph, RNNGraph
from pairloom.engine.layout import Layout
from pairloom.engine.protocol import Form, GraphModel
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

MODELS: dict[str, Callable[[Any, Layout, Form], GraphModel]] = {
    "attention": lambda s, layout, form: AttentionGraph(plan_attention(s), layout, form, s),
    "rnn": lambda s, layout, form: RNNGraph(plan_rnn(s), layout, form, s),
    "transformer": TransformerGraph,
    "hybrid": lambda s, layout, form: HybridGraph(plan_hybrid(s), layout, form, s),
}
"""kind → what gives the nodes, of (settings, order of the vocabulary, form)."""

TYPES = {"token": "int64", "left": "int64", "places": "int64", "enders": "int64"}
"""Data types of what is remembered and carried, but for float32."""


class Built(NamedTuple):
    """A graph, and the names of what a search is interrupted and taken up with."""

    graph: Graph
    memory: list[str]
    carried: list[str]
    collected: list[str]


def build(arrays: Mapping[str, Array], model: GraphModel, layout: Layout) -> Built:
    """Encoder and search as one graph. Inputs: source [N, S] ids with `</s>`, lengths [N], limits [N], and those of the
    search. Outputs: what the search collects, and unless it is for one sentence at a time, all that it takes to go on.
    """
    graph = Graph(arrays)
    source = graph.input("source", "int64", ("sentences", "source"))
    lengths = graph.input("lengths", "int32", ("sentences",))
    limits = graph.input("limits", "int64", ("sentences",))
    most = graph.op("ReduceMax", limits, keepdims=0)
    memory, state = model.encode(graph, source, lengths, most)
    if model.form.listed:
        memory["listed"] = graph.input(shortlist.BIAS, "float32", ("sentences", "listed"))
    if model.form.width == 1:
        carried = search.start_greedy(graph, model.form, layout, state, limits)
    else:
        carried = search.start_beam(graph, model, layout, state, limits)
    return _search(graph, model, layout, search.Begun(memory, carried), limits, most)


def build_rest(arrays: Mapping[str, Array], model: GraphModel, layout: Layout, first: Built) -> Built:
    """The search alone, going on with what `first` has given."""
    graph = Graph(arrays)
    limits = graph.input("limits", "int64", ("sentences",))
    memory, carried = (
        {name: graph.input(f"{group}.{name}", TYPES.get(name, "float32")) for name in names}
        for group, names in (("memory", first.memory), ("carried", first.carried))
    )
    most = graph.op("ReduceMax", limits, keepdims=0)
    return _search(graph, model, layout, search.Begun(memory, carried), limits, most)


def _search(graph: Graph, model: GraphModel, layout: Layout, begun: search.Begun, limits: Value, most: Value) -> Built:
    if model.form.listed:
        shortlist.declare(graph)
    kind = search.greedy if model.form.width == 1 else search.beam
    outcome = kind(graph, model, layout, begun, limits, most)
    for name, value in outcome.collected.items():
        data_type, rank = outcome.kinds[name]
        graph.output(name, value, data_type, ("steps", "sentences", "width")[:rank])
    if not model.form.single:
        passed = {f"memory.{name}": value for name, value in begun.memory.items() if value != f"memory.{name}"}
        passed |= {f"after.{name}": value for name, value in outcome.carried.items()}
        for name, value in passed.items():
            graph.output(name, value, TYPES.get(name.partition(".")[2], "float32"))
    return Built(graph, list(begun.memory), list(outcome.carried), list(outcome.collected))
