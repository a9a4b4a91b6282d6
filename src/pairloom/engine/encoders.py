"""The encoders in ONNX nodes. Dimensions: N sentences, S source tokens, A annotation, D directions, H hidden."""

from __future__ import annotations

import numpy as np

from pairloom.engine.cells import run_sequence
from pairloom.engine.graph import Graph, Value
from pairloom.engine.products import lookup
from pairloom.models.settings import Cell


def mask_of(graph: Graph, source: Value, lengths: Value) -> Value:
    """[N, S] float32: 0 at a real token, minus infinity at padding; to be added to scores."""
    g = graph
    places = g.op("Range", 0, g.op("Squeeze", g.size(source, 1)), 1)
    real = g.op("Less", places, g.op("Unsqueeze", g.cast(lengths, "int64"), [1]))
    return g.op("Where", real, np.float32(0), np.float32(-np.inf))


def read(graph: Graph, cell: Cell, layers: int, source: Value, lengths: Value) -> tuple[Value, list[Value]]:
    """`RecurrentEncoder` and the encoder of the fixed context: ids [N, S] → annotations [S, N, A] and for each layer
    the states after the last tokens as `run_sequence` gives them."""
    g, last = graph, []
    values = lookup(g, "embedding", g.transpose(source, 1, 0))  # [S, N, E]
    for layer in range(layers):
        outputs, states = run_sequence(g, cell, f"encoder.{layer}", values, lengths)
        values = g.reshape(g.transpose(outputs, 0, 2, 1, 3), 0, 0, -1)
        last.append(states)
    return values, last
