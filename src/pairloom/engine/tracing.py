"""From what the steps of a search have collected to its outputs.

In plain Python: for one sentence, arrays of a few dozen numbers are slower than lists. Dimensions: N sentences, W rows
of each, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pairloom.decoding.hypotheses import Hypothesis, length_penalty
from pairloom.engine.layout import Layout

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class End(NamedTuple):
    """Where a hypothesis ends."""

    normalised: float
    score: float
    length: int  # its tokens, without `</s>`
    row: int  # the row that holds them
    ended: bool  # with `</s>`


def trace_greedy(
    tokens: Ints,  # [T, N] by position
    gains: Floats,  # [T, N]
    limits: Sequence[int],  # [N]
    layout: Layout,
    alpha: float,
) -> list[list[Hypothesis]]:
    """The one output of each sentence."""
    found, ids, end = [], layout.names, layout.end
    for said, each, limit in zip(tokens.T.tolist(), np.cumsum(gains, axis=0).T.tolist(), limits, strict=True):
        ended = end in said[:limit]
        length = said.index(end) if ended else min(limit, len(said))
        score = each[length] if ended else each[length - 1]
        normalised = score / length_penalty(length + ended, alpha)
        found.append([Hypothesis([ids[position] for position in said[:length]], score, normalised, ended)])
    return found


class Steps(NamedTuple):
    """What the steps of a beam have collected; see `search.beam`."""

    codes: Ints  # [T, N, W] row times V' plus position
    scores: Floats  # [T, N, W]
    endings: Floats  # [T, N, W]; -inf: nothing ends
    enders: Ints  # [T, N, W] W plus the row that ends
    finished: Bools  # [T, N]


def trace_beam(
    collected: Steps,
    limits: Sequence[int],  # [N]
    layout: Layout,
    nbest: int,
    alpha: float,
) -> list[list[Hypothesis]]:
    """The `nbest` best outputs of each sentence; where too few have ended at its limit, the live ones behind them."""
    codes, scores, endings, enders, finished = collected
    steps, count, width = codes.shape
    lengths = [row.index(True) + 1 if True in row else steps for row in finished.T.tolist()]
    ends: list[list[End]] = [[] for _ in range(count)]
    places = np.nonzero(endings > -np.inf)
    ended = endings[places].tolist(), enders[places].tolist()
    for step, sentence, _, score, row in zip(*(part.tolist() for part in places), *ended, strict=True):
        if step < lengths[sentence]:
            ends[sentence].append(End(score / length_penalty(step + 1, alpha), score, step, row - width, True))
    past, ids = codes.tolist(), layout.names
    found = []
    for sentence, length in enumerate(lengths):
        best = sorted(ends[sentence], key=lambda end: -end.normalised)[:nbest]
        if len(best) < nbest:
            best += _live(scores[length - 1, sentence].tolist(), length, length >= limits[sentence], best, nbest, alpha)
        each = []
        for end in best:
            said, row = [], end.row
            for step in range(end.length - 1, -1, -1):
                parent, position = divmod(past[step][sentence][row], layout.length)
                said.append(ids[position])
                row = parent % width
            each.append(Hypothesis(said[::-1], end.score, end.normalised, end.ended))
        found.append(each)
    return found


def _live(
    scores: Sequence[float], length: int, at_limit: bool, best: Sequence[End], nbest: int, alpha: float
) -> list[End]:
    """The hypotheses that a sentence is closed with as they are."""
    live = sum(score > -np.inf for score in scores) if at_limit else 0
    live = live if best else max(live, 1)  # a model that computes NaN still gets an output for every sentence
    penalty = length_penalty(length, alpha)
    rows = range(min(live, nbest - len(best)))
    return [End(scores[row] / penalty, scores[row], length, row, False) for row in rows]
