"""Weights as torch has them → the arrays of the engine, in float32: everything that can be multiplied ahead is.

The columns of the products are those of `recurrent_plan.py`, the tokens are in the order of `layout.py`. Dimensions as
there; weights of torch are [out, in], products here [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pairloom.engine.cells import STEP_ORDER, fold_sequence, reorder
from pairloom.engine.layout import Layout
from pairloom.engine.recurrent_plan import Plan, plan_attention, plan_rnn
from pairloom.engine.wire import Array
from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.rnn_settings import RNNSettings
from pairloom.models.settings import Cell

Weights = Mapping[str, Array]


def fold_attention(w: Weights, s: AttentionSettings, layout: Layout) -> dict[str, Array]:
    """The attention model."""
    plan, annotation = plan_attention(s), s.encoder_hidden * (2 if s.bidirectional else 1)
    combine, bias = w["combine.weight"], w["combine.bias"]
    if s.readout == "maxout":  # of units 2 i and 2 i + 1 the larger: as two halves
        combine, bias = (np.concatenate([part[0::2], part[1::2]]) for part in (combine, bias))
    gate = w["gate.gate.weight"] if s.copying else np.zeros((0, 0), np.float32)
    ends = np.cumsum([annotation, s.hidden])
    by_context, by_hidden, by_token = (
        {"combine": c, "gate": g} for c, g in zip(np.split(combine, ends, 1), np.split(gate, ends, 1), strict=True)
    )
    cells = cells_of(w, "decoder", s.decoder_layers)
    known = cells[0]["weight_ih"][:, : s.embedding]
    fed = reorder(cells[0]["weight_ih"][:, s.embedding :], STEP_ORDER[s.cell])
    embedding = w["target_embedding.weight"] * np.float32(0.3 * s.embedding**0.5)
    arrays = {
        "table": table(plan, layout, embedding, known, cells[0], by_token),
        "embedding": w.get("source_embedding.weight", w["target_embedding.weight"])
        * np.float32(0.3 * s.embedding**0.5),
        "bridge.weight": w["bridge.weight"].T,
        "bridge.bias": w["bridge.bias"],
    }
    arrays |= _encoder(w, s)
    hidden = {**by_hidden, **_asking(w, s, plan)}
    biases = {"combine": bias, "query": w.get("attend.query.bias"), "gate": w.get("gate.gate.bias")}
    arrays |= reads(plan, cells, hidden, biases)
    arrays |= _memory(w, s, plan, {**by_context, "fed": fed})
    if s.input_feeding:
        arrays["feed.weight"] = fed.T
    if plan.score == "tanh":
        arrays["weigh"] = w["attend.weigh.weight"].T
        if s.coverage:
            arrays["covered"] = w["attend.covered"][None, None, :]
    return arrays | output(w, layout)


def fold_rnn(w: Weights, s: RNNSettings, layout: Layout) -> dict[str, Array]:
    """The model with the fixed context vector."""
    plan, scale = plan_rnn(s), np.float32(0.3 * s.embedding**0.5)
    cells = cells_of(w, "decoder", s.layers)
    source = w.get("source_embedding.weight", w["target_embedding.weight"])
    target = w["target_embedding.weight"] * scale
    arrays = {
        "table": table(plan, layout, target, cells[0]["weight_ih"], cells[0], {}),
        "embedding": source * scale,
    }
    for layer, one in enumerate(cells_of(w, "encoder", s.layers)):
        arrays |= _named(f"encoder.{layer}", fold_sequence(s.cell, [one]))
    project = {"combine": w["project.weight"]} if "project.weight" in w else {}
    return arrays | reads(plan, cells, project, {}) | output(w, layout)


def cells_of(w: Weights, name: str, layers: int) -> list[dict[str, Array]]:
    """The weights of each layer of torch's cells."""
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [{part: w[f"{name}.{part}_l{layer}"] for part in parts} for layer in range(layers)]


def _encoder(w: Weights, s: AttentionSettings) -> dict[str, Array]:
    """The layers of `RecurrentEncoder`."""
    arrays: dict[str, Array] = {}
    for layer in range(s.encoder_layers):
        ways = ("forwards", "backwards") if s.bidirectional else ("forwards",)
        directions = [cells_of(w, f"encoder.{way}.{layer}", 1)[0] for way in ways]
        arrays |= _named(f"encoder.{layer}", fold_sequence(s.cell, directions))
    return arrays


def _named(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{name}.{part}": array for part, array in arrays.items()}


def table(
    plan: Plan,
    layout: Layout,
    embedding: Array,  # [V, E], scaled
    known: Array,  # [G, E]
    first: Mapping[str, Array],  # the weights of the first layer
    by_token: Mapping[str, Array],  # [columns, E]
) -> Array:
    """[V', columns of `plan.table`]"""
    order = STEP_ORDER[plan.cell]
    parts = [embedding @ reorder(known, order).T + reorder(_added(plan.cell, first), order)]
    parts += [embedding @ by_token[name].T for name in plan.table if name != "gates"]
    return layout.ordered(np.concatenate(parts, axis=1))


def _added(cell: Cell, one: Mapping[str, Array]) -> Array:
    """[G] the biases that are only added; the reset gate of a GRU multiplies the recurrent one."""
    return one["bias_ih"] if cell == "gru" else one["bias_ih"] + one["bias_hh"]


def reads(
    plan: Plan,
    cells: list[dict[str, Array]],
    by_hidden: Mapping[str, Array],  # [columns, H] of the top layer, beside its own gates
    biases: Mapping[str, Array | None],
) -> dict[str, Array]:
    """The products that read the hidden state of each layer."""
    arrays, order = {}, STEP_ORDER[plan.cell]
    for layer, one in enumerate(cells):
        weights = {**by_hidden, "again": reorder(one["weight_hh"], order)}
        added: dict[str, Array | None] = {**biases}
        if plan.cell == "gru":
            added["again"] = reorder(one["bias_hh"], order)
        if layer < plan.layers - 1:
            weights["next"] = reorder(cells[layer + 1]["weight_ih"], order)
            added["next"] = reorder(_added(plan.cell, cells[layer + 1]), order)
        columns = plan.read(layer)
        found = [added.get(name) for name in columns]
        filled = [
            np.zeros(width, np.float32) if b is None else b for b, width in zip(found, columns.values(), strict=True)
        ]
        arrays[f"read.{layer}.weight"] = np.concatenate([weights[name] for name in columns]).T
        arrays[f"read.{layer}.bias"] = np.concatenate(filled)
    return arrays


def _asking(w: Weights, s: AttentionSettings, plan: Plan) -> dict[str, Array]:
    """What the hidden state gives to ask with: [columns, H]."""
    found: dict[str, Array] = {}
    if plan.query:
        found["query"] = w["attend.query.weight"]
    if s.coverage and plan.score == "dot":
        scale, covered = _scale(s), w["attend.covered"]
        if plan.heads == 1 and not plan.query:
            found["cover"] = covered[None] * scale
        else:  # (W_q h)·w for the part of each head
            parts = zip(np.split(covered, plan.heads), np.split(found["query"], plan.heads), strict=True)
            found["cover"] = np.stack([one @ query for one, query in parts]) * scale
    return found


def _scale(s: AttentionSettings) -> np.float32:
    """By which a dot product is multiplied."""
    sizes = {"scaled_dot": s.hidden, "multi_head": s.hidden // (s.heads or 1)}
    return np.float32(sizes[s.attention] ** -0.5 if s.attention in sizes else 1)


def _memory(w: Weights, s: AttentionSettings, plan: Plan, by_context: Mapping[str, Array]) -> dict[str, Array]:
    """What an annotation gives: its keys, and for each head what the context gives."""
    context = np.concatenate([by_context[name] for name in plan.context])  # [D, A]
    if s.attention == "multi_head":
        ways = zip(
            np.split(w["attend.out.weight"], plan.heads, 1), np.split(w["attend.value.weight"], plan.heads), strict=True
        )
        context = np.concatenate([context @ out @ value for out, value in ways])
    keys = [w["key.weight"] * _scale(s)] if plan.key else []
    return {"memory.weight": np.concatenate([*keys, context]).T}


def output(w: Weights, layout: Layout) -> dict[str, Array]:
    """The output layer."""
    weight = w.get("output.weight", w["target_embedding.weight"])
    return {
        "output.weight": layout.ordered(weight).T,
        "output.bias": layout.ordered(w["output_bias"], -np.inf),
    }
