"""Which arrays a model has in the engine, from its settings alone: what a file is held against before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pairloom.engine.cells import GATES
from pairloom.engine.layout import Layout
from pairloom.engine.products import Precision
from pairloom.engine.quantising import TABLES
from pairloom.engine.recurrent_plan import Plan, plan_attention, plan_hybrid, plan_rnn
from pairloom.engine.wire import Array
from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.hybrid_settings import HybridSettings
from pairloom.models.rnn_settings import RNNSettings
from pairloom.models.settings import Cell
from pairloom.models.transformer_settings import TransformerSettings

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def shapes_attention(s: AttentionSettings, source: int, layout: Layout) -> Shapes:
    """Of the attention model in float32, with so many tokens of the source."""
    plan = plan_attention(s)
    annotation = s.encoder_hidden * (2 if s.bidirectional else 1)
    shapes: Shapes = {"embedding": (source, s.embedding)}
    for layer in range(s.encoder_layers):
        inputs = annotation if layer else s.embedding
        shapes |= _sequence(f"encoder.{layer}", s.cell, 2 if s.bidirectional else 1, inputs, s.encoder_hidden)
    states = 2 if s.cell == "lstm" else 1
    shapes |= _product("bridge", annotation, states * s.hidden * s.decoder_layers)
    shapes |= {"memory.weight": (annotation, plan.key + plan.heads * sum(plan.context.values()))}
    if s.input_feeding:
        shapes["feed.weight"] = (s.embedding, plan.gates)
    if plan.score == "tanh":
        shapes["weigh"] = (s.hidden, 1)
        if s.coverage:
            shapes["covered"] = (1, 1, s.hidden)
    return shapes | _decoder(plan, layout, s.embedding)


def shapes_rnn(s: RNNSettings, source: int, layout: Layout) -> Shapes:
    """Of the model with the fixed context vector."""
    plan = plan_rnn(s)
    shapes: Shapes = {"embedding": (source, s.embedding)}
    for layer in range(s.layers):
        shapes |= _sequence(f"encoder.{layer}", s.cell, 1, s.hidden if layer else s.embedding, s.hidden)
    return shapes | _decoder(plan, layout, plan.combined)


def shapes_transformer(s: TransformerSettings, source: int, layout: Layout) -> Shapes:
    """Of the Transformer."""
    d = s.size
    shapes: Shapes = {"embedding": (source, d), "table": (layout.length, d)}
    shapes |= _encoder(d, s.feed_forward, s.encoder_layers, s.norm)
    shapes |= _product("cross", d, 2 * d * s.decoder_layers) | _product("output", d, layout.length)
    for layer in range(s.decoder_layers):
        shapes |= _layer(f"decoder.{layer}", d, s.feed_forward, norms=3)
        shapes |= _product(f"decoder.{layer}.query", d, d) | _product(f"decoder.{layer}.cross_mix", d, d)
    return shapes | (_norm("norm", d) if s.norm == "pre" else {})


def shapes_hybrid(s: HybridSettings, source: int, layout: Layout) -> Shapes:
    """Of the hybrid."""
    plan, d = plan_hybrid(s), s.size
    shapes: Shapes = {"embedding": (source, d), "memory.weight": (d, d + s.heads * d)}
    shapes |= _encoder(d, s.feed_forward, s.encoder_layers, "pre")
    shapes |= _product("bridge", d, 2 * s.hidden * s.decoder_layers)
    return shapes | _decoder(plan, layout, d)


def _encoder(d: int, feed_forward: int, layers: int, norm: str) -> Shapes:
    shapes: Shapes = {}
    for layer in range(layers):
        shapes |= _layer(f"encoder.{layer}", d, feed_forward, norms=2)
    return shapes | (_norm("encoder.norm", d) if norm == "pre" else {})


def _layer(name: str, d: int, feed_forward: int, norms: int) -> Shapes:
    shapes = _product(f"{name}.project", d, 3 * d) | _product(f"{name}.mix", d, d)
    shapes |= _product(f"{name}.inner", d, feed_forward) | _product(f"{name}.outer", feed_forward, d)
    for number in range(norms):
        shapes |= _norm(f"{name}.norm.{number}", d)
    return shapes


def _norm(name: str, d: int) -> Shapes:
    return {f"{name}.gain": (d,), f"{name}.shift": (d,)}


def _decoder(plan: Plan, layout: Layout, combined: int) -> Shapes:
    shapes: Shapes = {"table": (layout.length, sum(plan.table.values()))}
    for layer in range(plan.layers):
        shapes |= _product(f"read.{layer}", plan.hidden, sum(plan.read(layer).values()))
    return shapes | _product("output", combined, layout.length)


def _sequence(name: str, cell: Cell, directions: int, inputs: int, hidden: int) -> Shapes:
    gates = GATES[cell] * hidden
    return {
        f"{name}.into": (directions, gates, inputs),
        f"{name}.again": (directions, gates, hidden),
        f"{name}.biases": (directions, 2 * gates),
    }


def _product(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


SHAPES: dict[str, Callable[[Any, int, Layout], Shapes]] = {
    "attention": shapes_attention,
    "rnn": shapes_rnn,
    "transformer": shapes_transformer,
    "hybrid": shapes_hybrid,
}
"""kind → shapes in float32, of (settings, tokens of the source, order of the target)."""


def expected(shapes: Mapping[str, Shape], precision: Precision) -> dict[str, tuple[str, Shape]]:
    """name → (type, shape) in a precision; as `quantising.quantised` makes them."""
    found: dict[str, tuple[str, Shape]] = {}
    for name, shape in shapes.items():
        base, _, what = name.rpartition(".")
        directions = shape[0]
        if precision == "int8" and what == "weight":
            found[f"{base}.quantised"] = "int8", shape
            found[f"{base}.scale"] = "float32", shape[1:]
        elif precision == "int8" and name in TABLES:
            found[name] = "float16", shape
        elif precision == "int8" and what in {"into", "again"} and _is_lstm(shapes[f"{base}.again"]):
            found[name] = "int8", (directions, shape[2], shape[1])
            found[f"{name}_scale"] = "float32", (directions, shape[1])
        else:
            found[name] = "float32", shape
    return found


def _is_lstm(again: Shape) -> bool:
    return again[1] == GATES["lstm"] * again[2]


def differences(arrays: Mapping[str, Array], wanted: Mapping[str, tuple[str, Shape]]) -> list[str]:
    """What is missing, too much, or of another type or shape."""
    found = [f"{name} is missing" for name in wanted.keys() - arrays.keys()]
    found += [f"{name} does not belong to this model" for name in arrays.keys() - wanted.keys()]
    for name in wanted.keys() & arrays.keys():
        given = arrays[name].dtype.name, arrays[name].shape
        if given != wanted[name]:
            found.append(f"{name} is {given[0]} {list(given[1])}, expected {wanted[name][0]} {list(wanted[name][1])}")
    return sorted(found)
