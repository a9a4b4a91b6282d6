"""Greedy and beam search inside the graph: what `decoding/choosers.py` and `decoding/beam.py` do, as one loop of nodes.

The loop keeps only what says when a sentence is finished. The tokens, and which row each continues, are collected step
by step, and hypotheses are traced back through them afterwards (`tracing.py`).

The beam does not look at 2 K candidates, as Python does, but at the same hypotheses: the K best that go on are the K
best continuations without `</s>`; a hypothesis that ends is one of the best K of all if it is one of the best K of
these and all K that end.

Dimensions: N sentences, w rows of each (1 before the first step, then W, which is K in a beam), R = N w, V' positions,
B positions in a block, F finished hypotheses that decide when to stop, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pairloom.engine.graph import Body, Given, Graph, Value
from pairloom.engine.layout import Layout
from pairloom.engine.protocol import Form, GraphModel, Memory, State
from pairloom.engine.shortlist import in_table
from pairloom.text.components import BOS

CARRIED = frozenset({"token", "left", "scores", "done", "first"})
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
        spoken = model.step(g, step, in_table(g, model.form, now["token"]), begun.memory, state)
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
    if allowed is None:
        return g.op("Not", finished if form.width > 1 else g.op("Squeeze", finished))
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

    What each step collects (without N for a single sentence):

    codes [T, N, W]   row of the batch times V' plus position: what goes on, best first
    scores [T, N, W]  of these
    endings [T, N, W] scores of what ends here, best first; minus infinity: nothing more does
    enders [T, N, W]  W plus the row of its sentence that each of these ends
    finished [T, N]   the sentence needs no further step
    """
    g, single = graph, model.form.single
    final = g.input("final", "float32", ("sentences", "one"))
    given: dict[str, Given] = {
        "limits": limits,
        "penalties": g.input("penalties", "float32", ("longest",)),
        "final": g.reshape(final, -1) if single else final,
        "best": g.input("best", "int64", ("one",)),
        "each": [-1] if single else g.concat(g.size(limits, 0), [-1], axis=0),
        "decisive": g.size(begun.carried["done"], -1),
    }
    if not single:
        given["first"] = _first_rows(g, layout, limits, model.form.width)
    allowed = _allowed(g, model.form)
    body = _beam_body(model, layout, begun.memory, given, allowed)
    after, collected = g.loop(most, begun.carried, {"token": "int64", "first": "int64"}, body)
    after.pop("first", None)
    types = {"codes": "int64", "scores": "float32", "endings": "float32", "enders": "int64"}
    kinds = {name: (type_, 2 if single else 3) for name, type_ in types.items()}
    return Outcome(after, collected, kinds | {"finished": ("bool", 1 if single else 2)})


def start_beam(graph: Graph, model: GraphModel, layout: Layout, state: State, limits: Value) -> dict[str, Value]:
    """What is carried before the first step: the state, the latest token [R], the scores of the rows [R, 1], and as
    many of the best finished hypotheses as decide when to stop: those of the input `done` [N, F], all minus infinity.

    All hypotheses of a sentence begin alike, so there is one row for each: the first step makes W of it. Only where
    the vocabulary is too small for that there are W from the beginning, of which the first one counts.
    """
    g, width = graph, model.form.width
    sentences = g.size(limits, 0)
    opening = np.zeros((1, 1), np.float32)
    first: dict[str, Value] = {}
    if layout.opening(width) > 1:
        opening = np.full((1, width), -np.inf, np.float32)
        opening[0, 0] = 0
        rows = g.op("Range", 0, g.op("Squeeze", sentences), 1)  # [N]
        state = _moved(g, model, state, g.reshape(g.op("Expand", g.op("Unsqueeze", rows, [1]), [1, width]), -1))
    elif not model.form.single:
        first["first"] = _first_rows(g, layout, limits, 1)
    scores = g.reshape(g.op("Expand", opening, g.concat(sentences, [1], axis=0)), -1, 1)
    done = g.input("done", "float32", ("sentences", "decisive"))
    return {
        **state,
        **first,
        "token": g.op("Expand", np.array([layout.positions[BOS]]), g.size(scores, 0)),
        "scores": scores,
        "done": g.reshape(done, -1) if model.form.single else done,
    }


def _first_rows(graph: Graph, layout: Layout, limits: Value, width: int) -> Value:
    """[N, 1] the first row of each sentence, counted in what `_continuations` chooses among in a row."""
    g = graph
    rows = g.op("Range", 0, g.op("Squeeze", g.size(limits, 0)), 1)
    return g.op("Unsqueeze", g.mul(rows, width * (layout.length // layout.block)), [1])


def _moved(graph: Graph, model: GraphModel, state: State, rows: Value) -> State:
    """The state with other rows."""
    kept = model.by_sentence
    return {name: value if name in kept else graph.gather(value, rows) for name, value in state.items()}


def _beam_body(
    model: GraphModel, layout: Layout, memory: Memory, given: Mapping[str, Given], allowed: Value | None
) -> Body:
    """One step of the beam, as the body of the loop."""
    width = model.form.width

    def body(g: Graph, step: Value, now: dict[str, Value]) -> tuple[Value, dict[str, Value], dict[str, Value]]:
        state = {name: value for name, value in now.items() if name not in CARRIED}
        spoken = model.step(g, step, in_table(g, model.form, now["token"]), memory, state)
        log_probs = spoken.scores if spoken.normalised else g.op("LogSoftmax", spoken.scores, axis=-1)
        before = Rows(now["scores"], now.get("first", given.get("first")), given["each"])
        survivors, codes, ends = _continuations(g, layout, log_probs, before, width)
        flat = codes if model.form.single else g.reshape(codes, -1)
        rows, tokens = g.op("Div", flat, layout.length), g.op("Mod", flat, layout.length)

        # What ends is one of the W best of all: they are ordered, what goes on before what ends.
        both, places = g.topk(g.concat(survivors, ends, axis=-1), [width], axis=-1)
        going = np.array([-np.inf] * width + [0] * width, np.float32)
        endings = g.add(both, g.gather(going, places))
        penalty = g.gather(given["penalties"], step)
        normalised = g.op("Div", endings, penalty)
        done, _ = g.topk(g.concat(now["done"], normalised, axis=-1), given["decisive"], axis=-1)
        finished = _finished(g, done, survivors, penalty, given)
        if not model.form.single:  # the limit of a single sentence ends the loop
            finished = g.op("Or", finished, g.op("LessOrEqual", given["limits"], g.add(step, 1)))
        on = _go_on(g, model.form, finished, allowed)

        after = _moved(g, model, spoken.state, rows)
        after |= {"token": tokens, "scores": g.reshape(survivors, -1, 1), "done": done}
        if "first" in now:
            after["first"] = g.constant(given["first"])  # from now on there are W rows for each
        collected = {"codes": codes, "scores": survivors, "endings": endings, "enders": places, "finished": finished}
        return on, after, collected

    return body


def _finished(graph: Graph, done: Value, survivors: Value, penalty: Value, given: Mapping[str, Given]) -> Value:
    """[N] whether there are enough finished hypotheses [N, F] and no live one [N, W] is ahead of the best, or none can
    become one of the best: its score only falls, and divided by the penalty of the limit it is the most that it can
    reach. `penalty`: that of this step."""
    g = graph
    lost = g.op("LessOrEqual", g.op("Div", survivors, given["final"]), g.gather(done, given["best"], axis=-1))
    behind = g.op("LessOrEqual", g.op("Div", survivors, penalty), g.gather(done, [0], axis=-1))
    enough = g.op("And", g.op("Greater", g.gather(done, [-1], axis=-1), LOWEST), behind)
    return g.gather(g.op("Or", lost, enough), 0, axis=-1)  # of the best live one


class Rows(NamedTuple):
    """The hypotheses that a step begins with: w rows for each of N sentences."""

    scores: Value  # [R, 1]
    first: Given | None  # [N, 1] see `_first_rows`; None: there is one sentence
    each: Given  # the shape [N, -1]; of a single sentence [-1]


def _continuations(
    graph: Graph, layout: Layout, log_probs: Value, before: Rows, width: int
) -> tuple[Value, Value, Value]:
    """Of log-probabilities [R, V'] the W best continuations that do not end, best first: their scores and codes, each
    [N, W]; and the scores of the w rows if they end [N, w]. A single sentence has no N.

    Exact: the W best lie in the W blocks with the highest maxima.
    """
    g, size = graph, layout.block
    every, end = layout.length // size, layout.end // size
    maxima = log_probs
    if size > 1:
        maxima = g.op("ReduceMax", g.reshape(log_probs, -1, every, size), axes=[2], keepdims=0)  # [R, blocks]
    maxima = g.add(maxima, before.scores)
    ends = g.op("Reshape", g.slice(maxima, end, end + 1, axis=1), before.each)  # its block holds nothing else
    closed = np.zeros((1, every), np.float32)
    closed[0, end:] = -np.inf
    values, chosen = g.topk(g.op("Reshape", g.add(maxima, closed), before.each), [width], axis=-1)  # [N, W]
    blocks = chosen if before.first is None else g.add(chosen, before.first)
    if size == 1:
        return values, blocks, ends
    candidates = g.gather(g.reshape(log_probs, -1, size), blocks)  # [N, W, B]
    so_far = g.gather(before.scores, g.op("Div", blocks, every))  # [N, W, 1]
    values, places = g.topk(g.op("Reshape", g.add(candidates, so_far), before.each), [width], axis=-1)
    block = g.op("GatherElements", blocks, g.op("Div", places, size), axis=-1)
    return values, g.add(g.mul(block, size), g.op("Mod", places, size)), ends
