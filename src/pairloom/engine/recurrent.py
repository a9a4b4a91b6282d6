"""The recurrent decoders (rnn, attention, hybrid) in ONNX nodes; what they compute is in `models/`.

The state holds, for each layer, the product of its hidden state with its own weights, since `read` has made it already,
and the cell of an LSTM or the hidden state of a GRU. Dimensions: N sentences, W rows of each, R = N W, S source tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pairloom.engine import cells
from pairloom.engine.attending import Look, look
from pairloom.engine.graph import Graph, Value
from pairloom.engine.layout import Layout
from pairloom.engine.products import lookup, product
from pairloom.engine.protocol import Form, Memory, Spoken, State
from pairloom.engine.recurrent_plan import Plan
from pairloom.engine.shortlist import logits as logits_of

LEAST = 1e-30
"""As in `models/copying.py`."""


@dataclass(frozen=True)
class Recurrent:
    """A recurrent decoder; its encoder is in a subclass."""

    plan: Plan
    layout: Layout
    form: Form

    by_sentence: ClassVar[frozenset[str]] = frozenset()

    # -- the state -----------------------------------------------------------------------------------------------------

    def begin(self, graph: Graph, hidden: list[Value], cell: list[Value], source: Value) -> State:
        """The state from the hidden states (and cells) [N, H] of all layers; ids [N, S]."""
        g, plan = graph, self.plan
        state: State = {}
        for layer in range(plan.layers):
            read = self._read(g, layer, hidden[layer])
            state[f"again_{layer}"] = read["again"]
            if plan.remembers:
                state[f"memory_{layer}"] = cell[layer] if plan.cell == "lstm" else hidden[layer]
        if plan.asks_first:
            state["query"] = read["query"]
        rows = g.size(hidden[0], 0)
        if plan.feeds:
            state["fed"] = cells.zeros_like_rows(g, rows, self.plan.gates)
        if plan.covers:
            state["coverage"] = g.cast(g.mul(source, 0), "float32")  # [N, S]
        return state

    def _read(self, graph: Graph, layer: int, hidden: Value) -> dict[str, Value]:
        """What the hidden state [R, H] of a layer gives, by name."""
        columns = self.plan.read(layer)
        read = product(graph, hidden, f"read.{layer}", rows=self.form.rows)
        return dict(zip(columns, graph.split(read, list(columns.values()), axis=1), strict=True))

    # -- a step --------------------------------------------------------------------------------------------------------

    def step(self, graph: Graph, position: Value, tokens: Value, memory: Memory, state: State) -> Spoken:
        """R latest tokens → scores and the next state."""
        g, plan, after = graph, self.plan, dict(state)
        row = lookup(g, "table", tokens)
        token = dict(zip(plan.table, g.split(row, list(plan.table.values()), axis=1), strict=True))
        inputs, seen, context = token["gates"], None, {}
        if plan.asks_first:
            seen = self._look(g, memory, state, {"query": state["query"]})
            context = self._context(g, seen)
            inputs = g.add(inputs, context["fed"])
        if plan.feeds:
            inputs = g.add(inputs, state["fed"])
        read: dict[str, Value] = {}
        hidden = ""
        for layer in range(plan.layers):
            inputs = read["next"] if layer else inputs
            again, kept = state[f"again_{layer}"], state.get(f"memory_{layer}")
            hidden, remembered = cells.step(g, plan.cell, inputs, again, kept, plan.hidden)
            read = self._read(g, layer, hidden)
            after[f"again_{layer}"] = read["again"]
            if remembered is not None:
                after[f"memory_{layer}"] = remembered
        if plan.asks_first:
            after["query"] = read["query"]
        elif plan.score != "none":
            seen = self._look(g, memory, state, {"query": hidden, **read})
            context = self._context(g, seen)
        weights = ""  # [R, S] the mean of the heads
        if seen is not None and seen.weights is not None:
            weights = g.op("ReduceMean", seen.weights, axes=[1], keepdims=0)
        if plan.covers:
            after["coverage"] = g.add(state["coverage"], weights)
        combined = self._read_out(g, hidden, read, context, token)
        if plan.feeds:
            after["fed"] = product(g, combined, "feed", rows=self.form.rows)
        logits = logits_of(g, self.form, memory, combined)
        if not plan.copies:
            return Spoken(logits, after)
        gate = g.add(context["gate"], read["gate"], token["gate"])
        return Spoken(self._mix(g, logits, gate, weights, memory), after, normalised=True)

    def _look(self, graph: Graph, memory: Memory, state: State, read: Mapping[str, Value]) -> Look:
        coverage = state.get("coverage")
        return look(graph, self.plan, memory, read["query"], read.get("cover"), coverage, self.form.single)

    def _context(self, graph: Graph, seen: Look) -> dict[str, Value]:
        columns = self.plan.context
        return dict(zip(columns, graph.split(seen.context, list(columns.values()), axis=1), strict=True))

    def _read_out(
        self,
        graph: Graph,
        hidden: Value,
        read: Mapping[str, Value],
        context: Mapping[str, Value],
        token: Mapping[str, Value],
    ) -> Value:
        """What the logits are made of."""
        g, plan = graph, self.plan
        if plan.readout == "plain":
            return hidden
        if plan.readout == "linear":
            return read["combine"]
        total = g.add(read["combine"], context["combine"])
        if plan.readout == "tanh":
            return g.op("Tanh", total)
        first, second = g.split(g.add(total, token["combine"]), [plan.combined // 2] * 2, axis=1)
        return g.op("Max", first, second)

    def _mix(self, graph: Graph, logits: Value, gate: Value, weights: Value, memory: Memory) -> Value:
        """Making and copying as one distribution (`models/copying.py`): log P [R, V']."""
        g = graph
        generate = g.op("Sigmoid", gate)
        made = g.mul(g.op("Softmax", logits, axis=-1), generate)
        copied = g.mul(weights, g.op("Sub", 1.0, generate))
        source = memory["places"]  # [N, 1, S]
        shape = g.outside.concat(g.outside.size(source, 0), [-1], g.outside.size(source, 2), axis=0)
        places = g.op("Expand", source, g.op("Shape", g.op("Reshape", copied, shape)))  # [N, W, S]
        places = g.op("Reshape", places, g.op("Shape", copied))
        mixed = g.op("ScatterElements", made, places, copied, axis=1, reduction="add")
        return g.op("Log", g.op("Max", mixed, LEAST))
