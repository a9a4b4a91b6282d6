"""Which target tokens are likely for which source token, learned from encoded pairs alone.

IBM model 1 (Brown et al. 1993, section 4.1): a target token was caused by one token of its source, and which one is
learned by a few passes of expectation and maximisation. The frequent target tokens are likely for every source; they
take no part in this, so that each source token's list holds what is special to it.

Dimensions: P places of target tokens, C combinations of a place with a token of its source, U different (source token,
target token) among them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pairloom.text.components import EOS
from pairloom.text.corpus import Side

Ids = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

EACH = 64
"""Target tokens kept for a source token."""
ALWAYS = 256
"""Frequent target tokens kept for every source."""
PASSES = 4
LEAST = 0.003
"""The probability that a token must at least have of its source token to be in the list."""
MOST = 2**25
"""Combinations of tokens, at most (about half a gigabyte): of more pairs not all are looked at."""


class Likely(NamedTuple):
    """What may be said to a source: the union of the lists of its tokens, and what is always likely. 0 fills up."""

    by_source: Ids  # [source size, each] best first
    always: Ids  # [always] most frequent first


def find_likely(
    source: Side, target: Side, sizes: tuple[int, int], *, joint: bool, each: int = EACH, always: int = ALWAYS
) -> Likely:
    """The lists for vocabularies of so many tokens; `joint`: they are one, and every token may be said as it is."""
    source, target = _some(source, target)
    counts = np.bincount(target.tokens, minlength=sizes[1])
    counts[: EOS + 1] = 0
    frequent = np.argsort(-counts, kind="stable")[: min(always, int((counts > 0).sum()))]
    rare = counts > 0
    rare[frequent] = False
    kept = rare[target.tokens]
    before = np.concatenate([[0], np.cumsum(kept)])  # kept tokens before each place
    pairs, places, which = _combinations(source, Side(target.tokens[kept], before[target.offsets]), sizes[1])
    probabilities = _learned(pairs // sizes[1], places, which)
    lists = np.zeros((sizes[0], each + joint), np.uint32)
    if joint:
        lists[:, 0] = np.arange(sizes[0])
    _fill(lists[:, joint:], *np.divmod(pairs, sizes[1]), probabilities)
    return Likely(lists, frequent.astype(np.uint32))


def _some(source: Side, target: Side) -> tuple[Side, Side]:
    """All pairs, or of too many every second, third, ... one."""
    lengths = source.lengths(), target.lengths()
    step = max(1, -(-int((lengths[0] * lengths[1]).sum()) // MOST))
    if step == 1:
        return source, target
    first, second = (
        Side(side.tokens[_ranges(side.offsets[:-1][::step], each[::step])], np.cumsum([0, *each[::step]]))
        for side, each in zip((source, target), lengths, strict=True)
    )
    return first, second


def _combinations(source: Side, target: Side, size: int) -> tuple[Numbers, Numbers, Numbers]:
    """The different pairs [U], as source · size + target, ascending; and of each combination its place and its pair,
    [C] each."""
    lengths = target.lengths()
    width = np.repeat(source.lengths(), lengths)  # [P] tokens of the source of each
    causes = source.tokens[_ranges(np.repeat(source.offsets[:-1], lengths), width)].astype(np.int64)  # [C]
    pairs, which = np.unique(causes * size + np.repeat(target.tokens, width), return_inverse=True)
    return pairs, np.repeat(np.arange(len(width)), width), which.reshape(-1)


def _ranges(begins: Numbers, lengths: Numbers) -> Numbers:
    """begin, begin + 1, ... of each, one behind the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begins - ends + lengths, lengths)


def _learned(sources: Numbers, places: Numbers, which: Numbers) -> npt.NDArray[Any]:
    """P(target | source) of each pair [U], from even ones."""
    probabilities: npt.NDArray[Any] = np.ones(len(sources))
    if not len(places):
        return probabilities  # of nothing
    for _ in range(PASSES):
        shares = probabilities[which]
        shares /= np.bincount(places, shares)[places]
        counts = np.bincount(which, shares, minlength=len(sources))
        probabilities = counts / np.bincount(sources, counts)[sources]
    return probabilities


def _fill(lists: Ids, sources: Numbers, targets: Numbers, probabilities: npt.NDArray[Any]) -> None:
    """The most probable targets of each source, best first, but for those below `LEAST`."""
    order = np.lexsort((-probabilities, sources))
    order = order[probabilities[order] > LEAST]
    sources, targets = sources[order], targets[order]
    rank = np.arange(len(sources)) - np.searchsorted(sources, sources)
    best = rank < lists.shape[1]
    lists[sources[best], rank[best]] = targets[best]
