"""Weights of the models with Transformer layers → the arrays of the engine. Shapes and letters as in `fold.py`; d is
the size of every vector of a Transformer.

The scale of the dot products is multiplied into the queries; everything else is as torch has it, turned round.
"""

from __future__ import annotations

import numpy as np

from pairloom.engine.fold import Weights, cells_of, output, reads, table
from pairloom.engine.layout import Layout
from pairloom.engine.recurrent_plan import plan_hybrid
from pairloom.engine.wire import Array
from pairloom.models.hybrid_settings import HybridSettings
from pairloom.models.transformer_settings import TransformerSettings


def fold_transformer(w: Weights, s: TransformerSettings, layout: Layout) -> dict[str, Array]:
    """The Transformer."""
    scale = np.float32(s.size**0.5)
    arrays = {
        "table": layout.ordered(w["target_embedding.weight"] * scale),
        "embedding": w.get("source_embedding.weight", w["target_embedding.weight"]) * scale,
        "cross.weight": w["cross.weight"].T,
        "cross.bias": w["cross.bias"],
    }
    arrays |= _encoder(w, s.encoder_layers, s.heads, s.norm)
    for layer in range(s.decoder_layers):
        arrays |= _layer(w, f"decoder.{layer}", f"decoder.{layer}", s.heads, norms=3)
        query = _scaled(w, f"decoder.{layer}.query", s.heads)
        arrays |= {f"decoder.{layer}.query.{part}": array for part, array in query.items()}
        arrays |= _product(w, f"decoder.{layer}.cross_mix", f"decoder.{layer}.cross_mix")
    if s.norm == "pre":
        arrays |= _norm(w, "norm", "norm")
    return arrays | output(w, layout)


def fold_hybrid(w: Weights, s: HybridSettings, layout: Layout) -> dict[str, Array]:
    """The hybrid."""
    plan, cells = plan_hybrid(s), cells_of(w, "decoder", s.decoder_layers)
    keys, values = np.split(w["cross.weight"], 2)  # each [d, d]
    by_context, by_hidden = np.split(w["combine.weight"], [s.size], axis=1)
    heads = zip(np.split(by_context, s.heads, 1), np.split(values, s.heads), strict=True)
    contexts = [context @ value for context, value in heads]
    embedding = w["target_embedding.weight"] * np.float32(0.3 * s.size**0.5)
    scale = np.float32((s.size // s.heads) ** -0.5)
    arrays = {
        "table": table(plan, layout, embedding, cells[0]["weight_ih"], cells[0], {}),
        "embedding": w.get("source_embedding.weight", w["target_embedding.weight"]) * np.float32(s.size**0.5),
        "bridge.weight": w["bridge.weight"].T,
        "bridge.bias": w["bridge.bias"],
        "memory.weight": np.concatenate([keys * scale, *contexts]).T,
    }
    arrays |= _encoder(w, s.encoder_layers, s.heads, "pre")
    by = {"query": w["query.weight"], "combine": by_hidden}
    return arrays | reads(plan, cells, by, {"combine": w["combine.bias"]}) | output(w, layout)


def _encoder(w: Weights, layers: int, heads: int, norm: str) -> dict[str, Array]:
    """`TransformerEncoder`"""
    arrays: dict[str, Array] = {}
    for layer in range(layers):
        arrays |= _layer(w, f"encoder.layers.{layer}", f"encoder.{layer}", heads, norms=2)
    return arrays | (_norm(w, "encoder.norm", "encoder.norm") if norm == "pre" else {})


def _layer(w: Weights, theirs: str, ours: str, heads: int, norms: int) -> dict[str, Array]:
    """What the layers of encoder and decoder have in common."""
    project = _scaled(w, f"{theirs}.project", heads)
    arrays = {f"{ours}.project.{part}": array for part, array in project.items()}
    for one, other in (("mix", "mix"), ("feed_forward.0", "inner"), ("feed_forward.2", "outer")):
        arrays |= _product(w, f"{theirs}.{one}", f"{ours}.{other}")
    for number in range(norms):
        arrays |= _norm(w, f"{theirs}.residuals.{number}.norm", f"{ours}.norm.{number}")
    return arrays


def _product(w: Weights, theirs: str, ours: str) -> dict[str, Array]:
    return {f"{ours}.weight": w[f"{theirs}.weight"].T, f"{ours}.bias": w[f"{theirs}.bias"]}


def _norm(w: Weights, theirs: str, ours: str) -> dict[str, Array]:
    return {f"{ours}.gain": w[f"{theirs}.weight"], f"{ours}.shift": w[f"{theirs}.bias"]}


def _scaled(w: Weights, name: str, heads: int) -> dict[str, Array]:
    """A product whose first d outputs are queries, with the scale of the dot product."""
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    size = weight.shape[1]
    scale = np.ones(len(weight), np.float32)
    scale[:size] = (size // heads) ** -0.5
    return {"weight": (weight * scale[:, None]).T, "bias": bias * scale}
