"""The kinds of models as the engine runs them: their encoders, and how each begins."""

from __future__ import annotations

from dataclasses import dataclass

from pairloom.engine import encoders, transformer
from pairloom.engine.attending import keys_and_values
from pairloom.engine.graph import Graph, Value
from pairloom.engine.products import product
from pairloom.engine.protocol import Memory, State
from pairloom.engine.recurrent import Recurrent
from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.hybrid_settings import HybridSettings
from pairloom.models.rnn_settings import RNNSettings


@dataclass(frozen=True)
class AttentionGraph(Recurrent):
    """`models/attention.py`"""

    settings: AttentionSettings

    def encode(self, graph: Graph, source: Value, lengths: Value, most: Value) -> tuple[Memory, State]:
        g, s, plan = graph, self.settings, self.plan
        annotations, last = encoders.read(g, s.cell, s.encoder_layers, source, lengths)
        annotations = g.transpose(annotations, 1, 0, 2)  # [N, S, A]
        memory = keys_and_values(g, plan, annotations, product(g, annotations, "memory", flat=False))
        if not self.form.single:
            memory["mask"] = g.op("Unsqueeze", encoders.mask_of(g, source, lengths), [1])  # [N, 1, S]
        if plan.copies:
            memory["places"] = g.op("Unsqueeze", g.gather(self.layout.positions, source), [1])  # [N, 1, S]
        directions = 2 if s.bidirectional else 1
        ends = g.reshape(g.transpose(g.slice(last[-1], 0, directions, axis=0), 1, 0, 2), 0, -1)  # [N, A]
        states = g.op("Tanh", product(g, ends, "bridge"))
        kinds = 2 if plan.cell == "lstm" else 1
        parts = g.split(states, [plan.hidden] * (kinds * plan.layers), axis=1)
        return memory, self.begin(g, parts[: plan.layers], parts[plan.layers :], source)


@dataclass(frozen=True)
class RNNGraph(Recurrent):
    """`models/rnn.py`"""

    settings: RNNSettings

    def encode(self, graph: Graph, source: Value, lengths: Value, most: Value) -> tuple[Memory, State]:
        """No memory: all that the decoder learns of the source is its first state."""
        g, s = graph, self.settings
        if s.reverse_source:  # all but the `</s>` at the end
            words = g.op("Max", g.op("Sub", g.cast(lengths, "int64"), 1), 1)
            source = g.op("ReverseSequence", source, words, batch_axis=0, time_axis=1)
        _, last = encoders.read(g, s.cell, s.layers, source, lengths)  # of each layer [1 or 2, N, H]
        hidden = [g.gather(states, 0) for states in last]
        cell = [g.gather(states, 1) for states in last] if self.plan.cell == "lstm" else []
        return {}, self.begin(g, hidden, cell, source)


@dataclass(frozen=True)
class HybridGraph(Recurrent):
    """`models/hybrid.py`"""

    settings: HybridSettings

    def encode(self, graph: Graph, source: Value, lengths: Value, most: Value) -> tuple[Memory, State]:
        g, s, plan = graph, self.settings, self.plan
        layers = transformer.Layers(s.size, s.heads, before=True)
        annotations, mask = transformer.encode(g, layers, s.encoder_layers, source, lengths)
        memory = keys_and_values(g, plan, annotations, product(g, annotations, "memory", flat=False))
        if not self.form.single:
            memory["mask"] = g.op("Unsqueeze", mask, [1])  # [N, 1, S]
        real = g.op("Unsqueeze", g.op("Exp", mask), [2])  # 1 at a real token, 0 at padding
        total = g.op("ReduceSum", g.mul(annotations, real), [1], keepdims=0)
        mean = g.op("Div", total, g.op("Unsqueeze", g.cast(lengths, "float32"), [1]))  # [N, d]
        both = g.op("Tanh", product(g, mean, "bridge"))
        parts = g.split(both, [plan.hidden] * (2 * plan.layers), axis=1)
        return memory, self.begin(g, parts[: plan.layers], parts[plan.layers :], source)
