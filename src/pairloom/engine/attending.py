"""How a state asks the memory, in ONNX nodes; the equations are in `models/scores.py`.

Dimensions: N sentences, W rows of each, R = N W, S source tokens, Z heads, H of the query, D columns of the context.
"""

from __future__ import annotations

from typing import NamedTuple

from pairloom.engine.graph import Graph, Value
from pairloom.engine.protocol import Memory
from pairloom.engine.recurrent_plan import Plan


class Look(NamedTuple):
    """What R queries saw."""

    context: Value  # [R, D] what the context gives, multiplied ahead
    weights: Value | None  # [R, Z, S], where coverage or copying needs them


def keys_and_values(graph: Graph, plan: Plan, annotations: Value, multiplied: Value) -> Memory:
    """Annotations [N, S, A] and their product with `memory` [N, S, keys + Z D], ready to be asked."""
    g, heads, memory = graph, plan.heads, {}
    contents = heads * sum(plan.context.values())
    keys, values = g.split(multiplied, [plan.key, contents], axis=2) if plan.key else (annotations, multiplied)
    if plan.score == "tanh":
        memory["keys"] = g.op("Unsqueeze", keys, [1])  # [N, 1, S, H]
    elif heads == 1:
        memory["keys"] = g.transpose(keys, 0, 2, 1)  # [N, H, S]
    else:
        memory["keys"] = g.transpose(g.reshape(keys, 0, 0, heads, -1), 0, 2, 3, 1)  # [N, Z, H / Z, S]
        values = g.transpose(g.reshape(values, 0, 0, heads, -1), 0, 2, 1, 3)  # [N, Z, S, D]
        values = g.op("Reshape", values, g.concat(g.size(values, 0), [-1], g.size(values, 3), axis=0))
    memory["values"] = values  # [N, Z S, D]
    return memory


def look(
    graph: Graph,
    plan: Plan,
    memory: Memory,
    query: Value,  # [R, H]
    cover: Value | None,  # [R, Z] what the query gives for coverage, of a dot product
    coverage: Value | None,  # [R, S]
    single: bool,  # there is one sentence
) -> Look:
    """The context of each query."""
    g, heads = graph, plan.heads
    once = g.outside
    if single and plan.score == "dot" and heads == 1 and coverage is None:  # matrices, without N
        keys, values = (once.op("Squeeze", memory[name], [0]) for name in ("keys", "values"))
        weights = g.op("Softmax", g.op("MatMul", query, keys), axis=-1)
        return Look(g.op("MatMul", weights, values), g.op("Unsqueeze", weights, [1]) if plan.copies else None)
    sentences, source = once.size(memory["values"], 0), once.size(memory["keys"], 2 if plan.score == "tanh" else -1)
    asked = g.op("Reshape", query, once.concat(sentences, [-1, plan.query or plan.hidden], axis=0))  # [N, W, H]
    if plan.score == "tanh":
        keys = memory["keys"]
        if coverage is not None:
            covered = g.op("Reshape", coverage, once.concat(sentences, [-1], source, [1], axis=0))
            keys = g.add(keys, g.mul(covered, g.array("covered")))  # [N, W, S, H]
        energy = g.op("Tanh", g.add(g.op("Unsqueeze", asked, [2]), keys))
        scores = g.op("Squeeze", g.op("MatMul", energy, g.array("weigh")), [3])  # [N, W, S]
    elif heads == 1:
        scores = g.op("MatMul", asked, memory["keys"])  # [N, W, S]
    else:
        asked = g.transpose(g.reshape(asked, 0, 0, heads, -1), 0, 2, 1, 3)  # [N, Z, W, H / Z]
        scores = g.transpose(g.op("MatMul", asked, memory["keys"]), 0, 2, 1, 3)  # [N, W, Z, S]
    if cover is not None and coverage is not None:
        by_row = g.op("Reshape", scores, once.concat([-1, heads], source, axis=0))  # [R, Z, S]
        scores = g.add(by_row, g.mul(g.op("Unsqueeze", cover, [2]), g.op("Unsqueeze", coverage, [1])))
    if heads > 1 or cover is not None:
        scores = g.op("Reshape", scores, once.concat(sentences, [-1], source, axis=0))  # [N, W Z, S]
    masked = g.add(scores, memory["mask"]) if "mask" in memory else scores
    weights = g.op("Softmax", masked, axis=-1)
    flat = weights
    if heads > 1:
        flat = g.op("Reshape", weights, once.concat(sentences, [-1], once.mul(source, heads), axis=0))  # [N, W, Z S]
    context = g.reshape(g.op("MatMul", flat, memory["values"]), -1, sum(plan.context.values()))
    if not (plan.covers or plan.copies):
        return Look(context, None)
    return Look(context, g.op("Reshape", weights, once.concat([-1, heads], source, axis=0)))
