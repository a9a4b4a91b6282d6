"""From what the steps of a search have collected to its outputs.

Dimensions: N sentences, W rows of each, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pairloom.decoding.hypotheses import Hypothesis, length_penalty
from pairloom.engine.layout import Layout

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Steps(NamedTuple):
    """What a beam has collected."""

    tokens: Ints  # [T, N, W] by position
    parents: Ints  # [T, N, W] rows 0..W-1
    scores: Floats  # [T, N, W]
    endings: Floats  # [T, N, W]; -inf: the row does not end
    lengths: Ints  # [N] the steps of each sentence

    @staticmethod
    def of(codes: Ints, scores: Floats, endings: Floats, finished: Bools, layout: Layout) -> Steps:
        """From the outputs of the graph."""
        rows, tokens = np.divmod(codes, layout.length)
        finished = finished[:, :, 0]
        lengths = np.where(finished.any(0), finished.argmax(0), len(finished) - 1) + 1
        return Steps(tokens, rows % codes.shape[2], scores, endings, lengths)


def trace_greedy(
    tokens: Ints,  # [T, N] by position
    gains: Floats,  # [T, N]
    limits: Ints,  # [N]
    layout: Layout,
    alpha: float,
) -> list[list[Hypothesis]]:
    """The one output of each sentence."""
    ends = tokens == layout.end
    lengths = np.minimum(np.where(ends.any(0), ends.argmax(0) + 1, len(tokens)), limits)
    totals = np.cumsum(gains, axis=0)
    ids = layout.ids[tokens].T.tolist()
    found = []
    for sentence, length in enumerate(lengths.tolist()):
        ended = bool(ends[length - 1, sentence])
        score = float(totals[length - 1, sentence])
        said = ids[sentence][: length - ended]
        found.append([Hypothesis(said, score, score / length_penalty(length, alpha), ended)])
    return found


def trace_beam(steps: Steps, limits: Ints, layout: Layout, nbest: int, alpha: float) -> list[list[Hypothesis]]:
    """The `nbest` best outputs of each sentence; where too few have ended at its limit, the live ones behind them."""
    picked = [_pick(steps, sentence, int(limits[sentence]), nbest, alpha) for sentence in range(len(limits))]
    ends = [(sentence, *one) for sentence, each in enumerate(picked) for one in each]
    texts = _texts(steps, [one[:3] for one in ends])
    ids = layout.ids
    found: list[list[Hypothesis]] = [[] for _ in picked]
    for (sentence, length, _, score, ended), text in zip(ends, texts, strict=True):
        said = ids[text].tolist()
        normalised = score / length_penalty(length + ended, alpha)
        found[sentence].append(Hypothesis(said, score, normalised, ended))
    return found


def _pick(steps: Steps, sentence: int, limit: int, nbest: int, alpha: float) -> list[tuple[int, int, float, bool]]:
    """(tokens before `</s>`, the row that they end in, score, whether it ended), best first."""
    length = int(steps.lengths[sentence])
    scores = steps.endings[:length, sentence]  # [length, W]
    times, rows = np.nonzero(scores > -np.inf)
    values = scores[times, rows]
    penalties = ((5 + 1 + np.arange(length)) / 6) ** alpha
    best = np.argsort(-values / penalties[times], kind="stable")[:nbest]
    found = [(int(times[i]), int(rows[i]), float(values[i]), True) for i in best]
    live = int((steps.scores[length - 1, sentence] > -np.inf).sum()) if length >= limit else 0
    live = live if found else max(live, 1)  # a model that computes NaN still gets an output for every sentence
    missing = min(live, nbest - len(found))
    return found + [(length, row, float(steps.scores[length - 1, sentence, row]), False) for row in range(missing)]


def _texts(steps: Steps, ends: Sequence[tuple[int, ...]]) -> list[Any]:
    """The positions of hypotheses (sentence, tokens, last row), all traced back together."""
    if not ends:
        return []
    sentences, lengths, rows = (np.array(part) for part in zip(*ends, strict=True))
    found = np.zeros((len(ends), int(lengths.max())), np.int64)
    order = np.argsort(-lengths, kind="stable")  # the longest first: at each step those that reach it are the first
    sentences, rows, sorted_lengths = sentences[order], rows[order], lengths[order]
    for step in range(found.shape[1] - 1, -1, -1):
        count = int(np.searchsorted(-sorted_lengths, -step))  # longer than `step`
        here = sentences[:count], rows[:count]
        found[order[:count], step] = steps.tokens[step][here]
        rows[:count] = steps.parents[step][here]
    return [text[:length] for text, length in zip(found, lengths.tolist(), strict=True)]
