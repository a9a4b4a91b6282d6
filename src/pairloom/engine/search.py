"""Greedy and beam search inside the graph: what `decoding/choosers.py` and `decoding/beam.py` do, as one loop of nodes.

The loop keeps only what says when a sentence is finished. The tokens, and which row each continues, are collected step
by step, and hypotheses are traced back through them afterwards (`tracing.py`).

The beam does not look at 2 K candidates, as Python does, but at the same hypotheses: the K best that go on are the K
best continuations without `</s>`; a hypothesis that ends is one of the best K of all if it is one of the best K of
these and all K that end.

Dimensions: N sentences, W rows of each (K in a beam), R = N W, V' positions, B positions in a block, F finished
hypotheses that decide when to stop, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pairloom.engine.graph import Body, Graph, Value
from pairloom.engine.layout import Layout
from pairloom.engine.protocol import Form, GraphModel, Memory, State
from pairloom.text.components import BOS

CARRIED = frozenset({"token", "left", "scores", "done"})
"""What a search carries from step to step beside the state of the model."""
LOWEST = np.float32(-3e38)
"""Below every score, above minus infinity."""


class Outcome(NamedTuple):
    """What a search ends with."""

    carried: dict[str, Value]
    collected: dict[str, Value]
    kinds: dict[str, tuple[str, int]]  # data type and number of dimensions of what is collected


@dataclass(frozen=True)
class Begun:
    """What a search starts from, or goes on from: the first call is given it by the model, a later one as inputs."""

    memory: Memory
    carried: dict[str, Value]


def greedy(graph: Graph, model: GraphModel, layout: Layout, begun: Begun, limits: Value, most: Value) -> Outcome:
    """Collects tokens [T, N] by position and gains [T, N], their log-probabilities. What is carried: the state, the
    latest token [N] and how many more steps there may be, left [N]."""
    allowed = _allowed(graph, model.form)

    def body(g: Graph, step: Value, now: dict[str, Value]) -> tuple[Value, dict[str, Value], dict[str, Value]]:
        state = {name: value for name, value in now.items() if name not in CARRIED}
        spoken = model.step(g, step, now["token"], begun.memory, state)
        scores = spoken.scores if spoken.normalised else g.op("LogSoftmax", spoken.scores, axis=-1)
        gain, token = _best(g, layout, scores)
        ended = g.op("Equal", token, int(layout.end))
        after, collected = {**spoken.state, "token": token}, {"tokens": token, "gains": gain}
        if model.form.single:  # its limit ends the loop
            return _go_on(g, model.form, ended, allowed), after, collected
        left = g.op("Where", ended, 0, g.op("Sub", now["left"], 1))
        on = _go_on(g, model.form, g.op("LessOrEqual", left, 0), allowed)
        return on, {**after, "left": left}, collected

    carried, collected = graph.loop(most, begun.carried, {"token": "int64", "left": "int64"}, body)
    return Outcome(carried, collected, {"tokens": ("int64", 2), "gains": ("float32", 2)})


def start_greedy(graph: Graph, form: Form, layout: Layout, state: State, limits: Value) -> dict[str, Value]:
    """What is carried before the first step."""
    first = graph.op("Expand", np.array([layout.positions[BOS]]), graph.size(limits, 0))
    return {**state, "token": first, **({} if form.single else {"left": limits})}


def _allowed(graph: Graph, form: Form) -> Value | None:
    """The input `allowed` [1]: the loop goes on while more sentences than that are unfinished."""
    return None if form.single else graph.input("allowed", "int64", ("one",))


def _go_on(graph: Graph, form: Form, finished: Value, allowed: Value | None) -> Value:
    """Whether there is another step; finished: one truth value for each sentence."""
    g = graph
    if form.single or allowed is None:
        return g.op("Not", g.op("Squeeze", finished))
    return g.op(
        "Greater", g.op("ReduceSum", g.cast(g.op("Not", finished), "int64"), keepdims=0), g.op("Squeeze", allowed)
    )


def _best(graph: Graph, layout: Layout, scores: Value) -> tuple[Value, Value]:
    """[R, V'] → the best that may be said: its score and position, each [R]."""
    g, size = graph, layout.block
    if size == 1:
        value, place = g.topk(g.slice(scores, 0, layout.never, axis=1), [1], axis=1)
        return g.reshape(value, -1), g.reshape(place, -1)
    blocks = g.reshape(scores, -1, layout.length // size, size)
    maxima = g.slice(g.op("ReduceMax", blocks, axes=[2], keepdims=0), 0, layout.never // size, axis=1)
    value, block = g.topk(maxima, [1], axis=1)  # [R, 1]
    _, place = g.topk(g.op("GatherND", blocks, block, batch_dims=1), [1], axis=1)  # of [R, B]
    return g.reshape(value, -1), g.reshape(g.add(g.mul(block, size), place), -1)


def beam(graph: Graph, model: GraphModel, layout: Layout, begun: Begun, limits: Value, most: Value) -> Outcome:
    """Inputs:

    allowed [1]
    penalties [T]     the length penalty after 1, 2, ... steps
    final [N, 1]      that of the limits
    best [1]          which of the finished hypotheses a live one must be able to beat: nbest - 1

    What each step collects:

    codes [T, N, W]   row of the batch times V' plus position: what goes on, best first
    scores [T, N, W]  of these
    endings [T, N, W] scores of the rows that end here; minus infinity: it does not
    finished [T, N, 1] the sentence needs no further step
    """
    g = graph
    rows = g.op("Range", 0, g.op("Squeeze", g.size(limits, 0)), 1)  # [N]
    given = {
        "limits": g.op("Unsqueeze", limits, [1]),
        "penalties": g.input("penalties", "float32", ("longest",)),
        "final": g.input("final", "float32", ("sentences", "one")),
        "best": g.input("best", "int64", ("one",)),
        "first": g.op("Unsqueeze", g.mul(rows, model.form.width), [1]),  # [N, 1] the first row of each sentence
    }
    allowed = _allowed(g, model.form)
    body = _beam_body(model, layout, begun.memory, given, allowed)
    carried, collected = g.loop(most, begun.carried, {"token": "int64"}, body)
    kinds = {"codes": ("int64", 3), "scores": ("float32", 3), "endings": ("float32", 3), "finished": ("bool", 3)}
    return Outcome(carried, collected, kinds)


def start_beam(graph: Graph, model: GraphModel, layout: Layout, state: State, limits: Value) -> dict[str, Value]:
    """What is carried before the first step: the state, the latest token [R], the scores of the rows [N, W], and as
    many of the best finished hypotheses as decide when to stop: those of the input `done` [N, F], all minus infinity.
    """
    g, width = graph, model.form.width
    rows = g.op("Range", 0, g.op("Squeeze", g.size(limits, 0)), 1)  # [N]
    repeated = g.reshape(g.op("Expand", g.op("Unsqueeze", rows, [1]), [1, width]), -1)
    opening = np.full((1, width), -np.inf, np.float32)
    opening[0, 0] = 0  # all rows begin alike: only the first one counts
    return {
        **_moved(g, model, state, repeated),
        "token": g.op("Expand", np.array([layout.positions[BOS]]), g.size(repeated, 0)),
        "scores": g.op("Expand", opening, g.concat(g.size(limits, 0), [1], axis=0)),
        "done": g.input("done", "float32", ("sentences", "decisive")),
    }


def _moved(graph: Graph, model: GraphModel, state: State, rows: Value) -> State:
    """The state with other rows."""
    kept = model.by_sentence
    return {name: value if name in kept else graph.gather(value, rows) for name, value in state.items()}


def _beam_body(
    model: GraphModel, layout: Layout, memory: Memory, given: Mapping[str, Value], allowed: Value | None
) -> Body:
    """One step of the beam, as the body of the loop."""
    width = model.form.width

    def body(g: Graph, step: Value, now: dict[str, Value]) -> tuple[Value, dict[str, Value], dict[str, Value]]:
        state = {name: value for name, value in now.items() if name not in CARRIED}
        spoken = model.step(g, step, now["token"], memory, state)
        scores = spoken.scores if spoken.normalised else g.op("LogSoftmax", spoken.scores, axis=-1)
        survivors, codes = _continuations(g, layout, scores, now["scores"], given["first"], width)
        endings = _endings(g, layout, scores, now["scores"], survivors, width)
        rows = g.reshape(g.op("Div", codes, layout.length), -1)
        tokens = g.reshape(g.op("Mod", codes, layout.length), -1)

        normalised = g.op("Div", endings, g.gather(given["penalties"], step))
        decisive = g.size(now["done"], 1)
        done, _ = g.topk(g.concat(now["done"], normalised, axis=1), decisive, axis=1)
        bound = g.op("Div", g.slice(survivors, 0, 1, axis=1), given["final"])  # what a live one can reach at most
        lost = g.op("LessOrEqual", bound, g.gather(done, given["best"], axis=1))
        enough = g.op("Greater", g.gather(done, [-1], axis=1), LOWEST)
        finished = g.op("Or", lost, enough)  # [N, 1]
        if not model.form.single:  # the limit of a single sentence ends the loop
            finished = g.op("Or", finished, g.op("LessOrEqual", given["limits"], g.add(step, 1)))
        on = _go_on(g, model.form, finished, allowed)

        after = _moved(g, model, spoken.state, rows)
        after |= {"token": tokens, "scores": survivors, "done": done}
        collected = {"codes": codes, "scores": survivors, "endings": endings}
        return on, after, {**collected, "finished": finished}

    return body


def _continuations(
    graph: Graph,
    layout: Layout,
    log_probs: Value,  # [R, V']
    scores: Value,  # [N, W]
    first: Value,  # [N, 1]
    width: int,
) -> tuple[Value, Value]:
    """The W best continuations that do not end, best first: their scores and codes, each [N, W].

    Exact: the W best lie in the W blocks with the highest maxima.
    """
    g, size = graph, layout.block
    before = g.op("Unsqueeze", scores, [2])  # [N, W, 1]
    if size == 1:
        allowed = g.reshape(g.slice(log_probs, 0, layout.end, axis=1), -1, width, layout.end)
        values, places = g.topk(g.reshape(g.add(allowed, before), 0, -1), [width], axis=1)
        rows = g.op("Div", places, layout.end)
        tokens = g.op("Mod", places, layout.end)
        return values, g.add(g.mul(g.add(rows, first), layout.length), tokens)
    every, allowed_blocks = layout.length // size, layout.end // size
    maxima = g.op("ReduceMax", g.reshape(log_probs, -1, every, size), axes=[2], keepdims=0)  # [R, blocks]
    maxima = g.reshape(g.slice(maxima, 0, allowed_blocks, axis=1), -1, width, allowed_blocks)
    _, chosen = g.topk(g.reshape(g.add(maxima, before), 0, -1), [width], axis=1)  # [N, W]
    rows = g.op("Div", chosen, allowed_blocks)
    blocks = g.add(g.mul(g.add(rows, first), every), g.op("Mod", chosen, allowed_blocks))  # [N, W] of all rows' blocks
    candidates = g.gather(g.reshape(log_probs, -1, size), blocks)  # [N, W, B]
    so_far = g.op("Unsqueeze", g.op("GatherElements", scores, rows, axis=1), [2])
    values, places = g.topk(g.reshape(g.add(candidates, so_far), 0, -1), [width], axis=1)
    block = g.op("GatherElements", blocks, g.op("Div", places, size), axis=1)
    return values, g.add(g.mul(block, size), g.op("Mod", places, size))


def _endings(graph: Graph, layout: Layout, log_probs: Value, scores: Value, survivors: Value, width: int) -> Value:
    """[N, W] the scores of the rows that end with this step, being among the W best of all; else minus infinity."""
    g = graph
    ends = g.add(g.reshape(g.slice(log_probs, layout.end, layout.end + 1, axis=1), -1, width), scores)
    best, _ = g.topk(g.concat(survivors, ends, axis=1), [width], axis=1)
    among = g.op("GreaterOrEqual", ends, g.slice(best, width - 1, width, axis=1))
    return g.op("Where", among, ends, np.float32(-np.inf))
