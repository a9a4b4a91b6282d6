"""The Transformer in ONNX nodes: `models/transformer.py` and `models/layers.py`.

The keys and values of the tokens so far are never put into another order: a beam's W rows share those of all of them,
T·W a sentence, and each row sees only its own ancestors' (`visible`). Rows that change places take a few numbers with
them rather than their whole past.

Dimensions: N sentences, W rows of each, R = N W, S source tokens, T target tokens so far, d the size of every vector,
Z heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairloom.engine.encoders import mask_of
from pairloom.engine.graph import Graph, Value
from pairloom.engine.layout import Layout
from pairloom.engine.products import Rows, lookup, product
from pairloom.engine.protocol import Form, Memory, Spoken, State
from pairloom.engine.shortlist import logits
from pairloom.models.transformer_settings import TransformerSettings


@dataclass(frozen=True)
class Layers:
    """The layers of a Transformer: what encoder and decoder have in common."""

    size: int  # d
    heads: int  # Z
    before: bool  # the norm comes before each sub-layer
    rows: Rows = "many"

    def norm(self, graph: Graph, values: Value, name: str) -> Value:
        given = graph.array(f"{name}.gain"), graph.array(f"{name}.shift")
        return graph.op("LayerNormalization", values, *given, axis=-1, epsilon=1e-5)

    def enter(self, graph: Graph, values: Value, name: str) -> Value:
        """What a sub-layer reads."""
        return self.norm(graph, values, name) if self.before else values

    def leave(self, graph: Graph, values: Value, given: Value, name: str) -> Value:
        """x + f(x), normed or not."""
        added = graph.add(values, given)
        return added if self.before else self.norm(graph, added, name)

    def product(self, graph: Graph, values: Value, name: str, flat: bool = True) -> Value:
        return product(graph, values, name, flat=flat, rows=self.rows)

    def feed_forward(self, graph: Graph, values: Value, name: str, norm: str, flat: bool = True) -> Value:
        """The last sub-layer."""
        inner = self.product(graph, self.enter(graph, values, norm), f"{name}.inner", flat)
        outer = self.product(graph, graph.op("Relu", inner), f"{name}.outer", flat)
        return self.leave(graph, values, outer, norm)


def positions_of(graph: Graph, count: Value, size: int) -> Value:
    """Sines and cosines of positions 0 to `count` - 1: [count, d]."""
    g = graph
    even = np.arange(0, size, 2, dtype=np.float32)
    frequencies = np.power(np.float32(10000), -even / np.float32(size), dtype=np.float32)
    steps = g.cast(g.op("Range", 0, count, 1), "float32")
    angles = g.mul(g.op("Unsqueeze", steps, [1]), frequencies)  # [count, d / 2]
    both = (g.op("Unsqueeze", g.op(kind, angles), [2]) for kind in ("Sin", "Cos"))
    return g.reshape(g.concat(*both, axis=2), 0, -1)


def encode(graph: Graph, layers: Layers, count: int, source: Value, lengths: Value) -> tuple[Value, Value]:
    """`TransformerEncoder`: ids [N, S] → annotations [N, S, d] and the mask [N, S] to be added to scores."""
    g, size = graph, layers.size
    mask = mask_of(g, source, lengths)
    visible = g.op("Unsqueeze", mask, [1, 2])
    values = g.add(lookup(g, "embedding", source), positions_of(g, g.op("Squeeze", g.size(source, 1)), size))
    for number in range(count):
        name = f"encoder.{number}"
        projected = layers.product(g, layers.enter(g, values, f"{name}.norm.0"), f"{name}.project", flat=False)
        parts = [g.reshape(part, 0, 0, layers.heads, -1) for part in g.split(projected, [size] * 3, axis=2)]
        queries, contents = (g.transpose(part, 0, 2, 1, 3) for part in (parts[0], parts[2]))
        weights = g.op("Softmax", g.add(g.op("MatMul", queries, g.transpose(parts[1], 0, 2, 3, 1)), visible), axis=-1)
        seen = g.reshape(g.transpose(g.op("MatMul", weights, contents), 0, 2, 1, 3), 0, 0, -1)
        mixed = layers.product(g, seen, f"{name}.mix", flat=False)
        values = layers.leave(g, values, mixed, f"{name}.norm.0")
        values = layers.feed_forward(g, values, name, f"{name}.norm.1", flat=False)
    return layers.norm(g, values, "encoder.norm") if layers.before else values, mask


@dataclass(frozen=True)
class TransformerGraph:
    """`models/transformer.py`"""

    settings: TransformerSettings
    layout: Layout
    form: Form

    @property
    def by_sentence(self) -> frozenset[str]:
        """What stays where it is when rows change places."""
        return frozenset(["own", *self._past()])

    def _past(self) -> list[str]:
        """The keys and values of all tokens so far."""
        return [f"{what}_{layer}" for what in ("keys", "values") for layer in range(self.settings.decoder_layers)]

    def _layers(self, rows: Rows) -> Layers:
        s = self.settings
        return Layers(s.size, s.heads, s.norm == "pre", rows)

    def encode(self, graph: Graph, source: Value, lengths: Value, most: Value) -> tuple[Memory, State]:
        g, s = graph, self.settings
        layers = self._layers("many")
        annotations, mask = encode(g, layers, s.encoder_layers, source, lengths)
        cross = layers.product(g, annotations, "cross", flat=False)
        memory = {} if self.form.single else {"mask": g.op("Unsqueeze", mask, [1, 2])}  # [N, 1, 1, S]
        for number, part in enumerate(g.split(cross, [s.size] * (2 * s.decoder_layers), axis=2)):
            heads = g.reshape(part, 0, 0, s.heads, -1)
            layer = number // 2
            if number % 2 == 0:
                memory[f"keys_{layer}"] = g.transpose(heads, 0, 2, 3, 1)  # [N, Z, d / Z, S]
            else:
                memory[f"values_{layer}"] = g.transpose(heads, 0, 2, 1, 3)  # [N, Z, S, d / Z]
        memory["positions"] = positions_of(g, most, s.size)
        return memory, self._start(g, memory)

    def _start(self, graph: Graph, memory: Memory) -> State:
        """No token yet."""
        g, s = graph, self.settings
        sentences = g.size(memory["keys_0"], 0)
        nothing = np.zeros((1, s.heads, 0, s.size // s.heads), np.float32)
        empty = g.op("Expand", nothing, g.concat(sentences, list(nothing.shape[1:]), axis=0))
        state = dict.fromkeys(self._past(), empty)
        if self.form.width > 1:
            state["visible"] = g.op("Expand", np.zeros((1, 0), np.float32), g.concat(sentences, [0], axis=0))
            state["own"] = self._own(g, sentences, self.layout.opening(self.form.width))
        return state

    def _own(self, graph: Graph, sentences: Value, rows: int) -> Value:
        """[N, rows, rows] each row of a sentence sees of the newest tokens its own."""
        own = np.where(np.eye(rows, dtype=bool), np.float32(0), np.float32(-np.inf))
        return graph.op("Expand", own[None], graph.concat(sentences, [1, 1], axis=0))

    def step(self, graph: Graph, position: Value, tokens: Value, memory: Memory, state: State) -> Spoken:
        g, s, layers, width = graph, self.settings, self._layers(self.form.rows), self.form.width
        after, once = dict(state), graph.outside
        sentences = once.size(memory["keys_0"], 0)
        values = g.add(lookup(g, "table", tokens), g.gather(memory["positions"], position))  # [R, d]
        visible = None
        if width > 1:
            fresh = g.op("Reshape", state["own"], g.concat([-1], g.size(state["own"], 2), axis=0))  # [R, W]
            after["visible"] = g.concat(state["visible"], fresh, axis=1)  # [R, T W]
            shape = g.concat(once.concat(sentences, [1, -1], axis=0), g.size(after["visible"], 1), axis=0)
            visible = g.op("Reshape", after["visible"], shape)  # [N, 1, W, T W]
            after["own"] = self._own(once, sentences, width)
        for number in range(s.decoder_layers):
            name = f"decoder.{number}"
            projected = layers.product(g, layers.enter(g, values, f"{name}.norm.0"), f"{name}.project")
            query, key, value = g.split(projected, [s.size] * 3, axis=1)
            for what, new in (("keys", key), ("values", value)):
                before = state[f"{what}_{number}"]
                after[f"{what}_{number}"] = g.concat(before, self._heads(g, new, sentences), axis=2)
            keys = g.transpose(after[f"keys_{number}"], 0, 1, 3, 2)  # [N, Z, d / Z, T W]
            seen = self._attend(g, self._heads(g, query, sentences), keys, after[f"values_{number}"], visible)
            mixed = layers.product(g, seen, f"{name}.mix")
            values = layers.leave(g, values, mixed, f"{name}.norm.0")
            query = layers.product(g, layers.enter(g, values, f"{name}.norm.1"), f"{name}.query")
            cross = memory[f"keys_{number}"], memory[f"values_{number}"]
            seen = self._attend(g, self._heads(g, query, sentences), *cross, memory.get("mask"))
            mixed = layers.product(g, seen, f"{name}.cross_mix")
            values = layers.leave(g, values, mixed, f"{name}.norm.1")
            values = layers.feed_forward(g, values, name, f"{name}.norm.2")
        hidden = layers.norm(g, values, "norm") if layers.before else values
        return Spoken(logits(g, self.form, memory, hidden), after)

    def _heads(self, graph: Graph, rows: Value, sentences: Value) -> Value:
        """[R, d] → [N, Z, W, d / Z]"""
        g, heads = graph, self.settings.heads
        if self.form.width == 1:
            return g.reshape(rows, 0, heads, 1, -1)
        shape = g.outside.concat(sentences, [-1, heads, self.settings.size // heads], axis=0)
        return g.transpose(g.op("Reshape", rows, shape), 0, 2, 1, 3)

    def _attend(self, graph: Graph, query: Value, keys: Value, contents: Value, visible: Value | None) -> Value:
        """[N, Z, W, d / Z], [N, Z, d / Z, M], [N, Z, M, d / Z] → [R, d]"""
        g = graph
        scores = g.op("MatMul", query, keys)  # [N, Z, W, M]
        weights = g.op("Softmax", scores if visible is None else g.add(scores, visible), axis=-1)
        seen = g.op("MatMul", weights, contents)  # [N, Z, W, d / Z]
        return g.reshape(seen if self.form.width == 1 else g.transpose(seen, 0, 2, 1, 3), -1, self.settings.size)
