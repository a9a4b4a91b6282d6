"""One batch of sentences through the graphs of a search.

A batch does not wait for its slowest sentence with all rows: when a part of its sentences is finished, the loop stops,
their rows are dropped, and a second graph, which is the search without the encoder, goes on with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pairloom.engine.wire import Array

STAY = 0.7
"""Share of the sentences with which a loop goes on; below it, it is worth more to drop the finished ones."""
FEW = 4
"""Sentences that are not worth a new start."""

BY_SENTENCE = frozenset({"done", "left"})
"""What a search carries with the sentences on axis 0."""
EMPTY: dict[str, Any] = {
    "gains": 0,
    "scores": -np.inf,
    "endings": -np.inf,
    "enders": 0,
    "finished": True,
    "codes": 0,
}
"""What a sentence that is no longer there collects."""


@dataclass(frozen=True)
class Graphs:
    """The two sessions of a search, and the names of what goes from one to the other."""

    first: Any
    rest: Any  # made when it is needed: a function that gives the session
    tables: Mapping[str, Array]  # what both are handed at every call
    embedding: Mapping[str, Array]  # what only the first is
    memory: list[str]
    carried: list[str]
    collected: list[str]
    by_sentence: frozenset[str]
    width: int
    end: int  # the position of `</s>`


def run(graphs: Graphs, encoded: Mapping[str, Array], limits: Array, searching: Mapping[str, Array]) -> list[Array]:
    """What all steps have collected, [T, N, ...] each.

    `encoded` is what only the first graph needs; of `searching`, `final` has a row for each sentence and `penalties`
    one for each step.
    """
    active, count = np.arange(len(limits)), len(graphs.collected)
    segments: list[tuple[Array, list[Array]]] = []
    inputs, session, done = {**graphs.embedding, **encoded, **searching, "limits": limits}, graphs.first, 0
    memory: dict[str, Array] = {}
    while True:
        allowed = int(len(active) * STAY) if len(active) > FEW else 0
        wanted = [f"memory.{name}" for name in graphs.memory] if allowed and not segments else []
        wanted += [f"after.{name}" for name in graphs.carried] if allowed else []
        if len(limits) > 1:
            inputs["allowed"] = np.array([allowed])
        outputs = session.run([*graphs.collected, *wanted], {**inputs, **graphs.tables})
        segments.append((active, outputs[:count]))
        steps = len(outputs[0])
        done += steps
        staying = active[:0]
        if allowed:
            collected = dict(zip(graphs.collected, outputs, strict=False))
            staying = np.nonzero(~_finished(graphs, collected, limits[active] - done))[0]
        if len(staying) == 0:
            names = enumerate(graphs.collected)
            return [_joined(segments, len(limits), place, name, graphs.end) for place, name in names]
        given = dict(zip(wanted, outputs[count:], strict=True))
        memory |= {name: value for name, value in given.items() if name.startswith("memory.")}
        memory = {
            name: value[steps:] if name == "memory.positions" else value[staying] for name, value in memory.items()
        }
        active = active[staying]
        inputs = {**memory, **_later(searching, active, done), "limits": limits[active] - done}
        for name in graphs.carried:
            inputs[f"carried.{name}"] = _kept(graphs, name, given[f"after.{name}"], staying)
        session = graphs.rest()


def _finished(graphs: Graphs, collected: Mapping[str, Array], left: Array) -> Array:
    """[n] whether each sentence needs no further step."""
    if "finished" in collected:
        found: Array = collected["finished"][-1]
        return found
    ended: Array = (collected["tokens"] == graphs.end).any(0) | (left <= 0)
    return ended


def _kept(graphs: Graphs, name: str, value: Array, staying: Array) -> Array:
    """The part of what is carried that belongs to the sentences that stay."""
    if name in graphs.by_sentence or name in BY_SENTENCE or graphs.width == 1:
        return value[staying]
    rows = (staying[:, None] * graphs.width + np.arange(graphs.width)).ravel()
    return value[rows]


def _later(searching: Mapping[str, Array], active: Array, done: int) -> dict[str, Array]:
    """The inputs of the search after so many steps, for the sentences that are still there."""
    found = {name: value for name, value in searching.items() if name != "done"}
    if "final" in found:
        found["final"], found["penalties"] = found["final"][active], found["penalties"][done:]
    return found


def _joined(segments: list[tuple[Array, list[Array]]], count: int, place: int, name: str, end: int) -> Array:
    """What the segments have collected under one name, as if all sentences had stayed."""
    if len(segments) == 1:
        return segments[0][1][place]
    parts = []
    for active, collected in segments:
        part = collected[place]
        whole = np.full((len(part), count, *part.shape[2:]), EMPTY.get(name, end), part.dtype)
        whole[:, active] = part
        parts.append(whole)
    return np.concatenate(parts)
