"""The recurrent cells as ONNX nodes: a whole encoder layer as one operator, the decoder's cells one step at a time.

    Elman 1990; Cho et al. 2014, arXiv 1406.1078; Hochreiter & Schmidhuber 1997 with Gers et al. 2000

Dimensions: N sentences, S source tokens, E input, H hidden size, G = H times the gates (LSTM 4, GRU 3, RNN 1).
The gates of torch are in the order i f g o (LSTM), r z n (GRU); those of ONNX in i o f c and z r h. The decoder has
those of an LSTM as i f o g: the three with a sigmoid side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pairloom.engine.graph import MICROSOFT, Given, Graph, Value
from pairloom.engine.products import quantise, zero
from pairloom.engine.wire import Array
from pairloom.models.settings import Cell

GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}
ONNX_ORDER: dict[Cell, tuple[int, ...]] = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
STEP_ORDER: dict[Cell, tuple[int, ...]] = {"lstm": (0, 1, 3, 2), "gru": (0, 1, 2), "rnn": (0,)}


def reorder(rows: Array, order: tuple[int, ...]) -> Array:
    """[G, ...] with the gates in another order."""
    gates = np.split(rows, len(order))
    return np.concatenate([gates[gate] for gate in order])


# -- the encoder -------------------------------------------------------------------------------------------------------


def fold_sequence(cell: Cell, directions: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """One layer of one or two directions, as the operators LSTM, GRU and RNN take it.

    `directions` have `weight_ih` [G, E], `weight_hh` [G, H], `bias_ih` and `bias_hh` [G].
    """
    order = ONNX_ORDER[cell]
    into, again = (np.stack([reorder(one[name], order) for one in directions]) for name in ("weight_ih", "weight_hh"))
    biases = [[reorder(one[name], order) for name in ("bias_ih", "bias_hh")] for one in directions]
    return {"into": into, "again": again, "biases": np.stack([np.concatenate(two) for two in biases])}


def quantise_sequence(into: Array, again: Array) -> dict[str, Array] | None:
    """[D, G, K] of an LSTM → [D, K, G] int8 and a scale for each gate of each unit; None for the other cells, of which
    ONNX Runtime has no int8 operator."""
    if again.shape[1] != GATES["lstm"] * again.shape[2]:
        return None
    found = {}
    for name, weight in (("into", into), ("again", again)):
        parts = [quantise(one.T) for one in weight]
        found[name], found[f"{name}_scale"] = (np.stack(part) for part in zip(*parts, strict=True))
    return found


def run_sequence(
    graph: Graph,
    cell: Cell,
    name: str,  # of the arrays
    inputs: Value,  # [S, N, E]
    lengths: Value,  # [N] int32
) -> tuple[Value, Value]:
    """→ outputs [S, D, N, H] and the states of each direction after its last token: [D, N, H] of hidden, and for an
    LSTM of the cell behind it [2 D, N, H]. The backward direction reads each sentence from its own end."""
    directions = graph.arrays[f"{name}.into"].shape[0]
    hidden = graph.arrays[f"{name}.biases"].shape[1] // (2 * GATES[cell])
    direction = "bidirectional" if directions == 2 else "forward"
    into, again, biases = (graph.array(f"{name}.{part}") for part in ("into", "again", "biases"))
    if cell == "lstm" and f"{name}.into_scale" in graph.arrays:
        nought = zero(graph.arrays[f"{name}.into"]) or np.int8(0)
        zeros = np.full(graph.arrays[f"{name}.into_scale"].shape, nought)
        scales = [graph.array(f"{name}.{part}_scale") for part in ("into", "again")]
        outputs, last, memory = graph.ops(
            "DynamicQuantizeLSTM",
            *(inputs, into, again, biases, lengths, "", "", "", scales[0], zeros, scales[1], zeros),
            outputs=3,
            domain=MICROSOFT,
            hidden_size=hidden,
            direction=direction,
        )
        return outputs, graph.concat(last, memory, axis=0)
    kind = cell.upper()
    given = (inputs, into, again, biases, lengths)
    if cell == "lstm":
        outputs, last, memory = graph.ops(kind, *given, outputs=3, hidden_size=hidden, direction=direction)
        return outputs, graph.concat(last, memory, axis=0)
    more: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
    outputs, last = graph.ops(kind, *given, outputs=2, hidden_size=hidden, direction=direction, **more)
    return outputs, last


# -- one step of the decoder -------------------------------------------------------------------------------------------


def step(
    graph: Graph,
    cell: Cell,
    inputs: Value,  # [R, G] W x and all biases that are only added
    recurrent: Value,  # [R, G] U h; of a GRU with its bias, which the reset gate multiplies
    memory: Value | None,  # [R, H] the cell of an LSTM, the hidden state of a GRU
    hidden: int,
) -> tuple[Value, Value | None]:
    """→ the hidden state [R, H] and what `memory` is for the next step. Equations: `models/stepping.py`."""
    g = graph
    if cell == "rnn":
        return g.op("Tanh", g.add(inputs, recurrent)), None
    assert memory is not None
    if cell == "gru":
        x, h = (g.split(one, [2 * hidden, hidden], axis=1) for one in (inputs, recurrent))
        reset, update = g.split(g.op("Sigmoid", g.add(x[0], h[0])), [hidden, hidden], axis=1)
        proposal = g.op("Tanh", g.add(x[1], g.mul(reset, h[1])))
        after = g.add(proposal, g.mul(update, g.op("Sub", memory, proposal)))
        return after, after
    sigmoids, new = g.split(g.add(inputs, recurrent), [3 * hidden, hidden], axis=1)
    enter, forget, show = g.split(g.op("Sigmoid", sigmoids), [hidden] * 3, axis=1)
    after = g.add(g.mul(forget, memory), g.mul(enter, g.op("Tanh", new)))
    return g.mul(show, g.op("Tanh", after)), after


def zeros_like_rows(graph: Graph, rows: Given, columns: int) -> Value:
    """[rows, columns] zeros; `rows` is a vector of one number."""
    return graph.op("Expand", np.zeros((1, columns), np.float32), graph.concat(rows, [1], axis=0))
