"""The unigram language model of subwords (Kudo 2018, section 3.2), trained so that the same texts give the same pieces.

The library's own trainer sums in the order of a random hash, and never returns for some small vocabularies. This one
differs from the paper in two points: the seed is a larger BPE vocabulary instead of a suffix array, and the counts come
from the best segmentation instead of the expectation over all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import tokenizers

SHRINK = 0.75  # part of the pieces that a round of pruning leaves, as in the paper's implementation
ROUNDS = 2  # of counting and scoring between two prunings

Scores = dict[str, float]
"""Piece → natural logarithm of its probability."""


def train_unigram(words: Mapping[str, int], seed: Iterable[str], size: int) -> Scores:
    """At most `size` pieces with scores, the best first.

    `words` are the units that no piece crosses, with how often they occur; `seed` the candidates, of which the single
    characters are always kept (and those of `words` added), so `size` must be at least the number of characters.
    """
    letters = {character for word in words for character in word}
    candidates = letters | {piece for piece in seed if set(piece) <= letters}
    scores = _scored(_substring_counts(words, candidates))
    while True:
        for _ in range(ROUNDS):
            counts = _best_counts(words, scores)
            scores = _scored({piece: counts[piece] for piece in scores})
        if len(scores) <= size:
            break
        scores = _pruned(scores, counts, max(size, int(len(scores) * SHRINK)))
    used = {piece: score for piece, score in scores.items() if counts[piece] or len(piece) == 1}
    return {piece: round(used[piece], 6) for piece in sorted(used, key=lambda piece: (-used[piece], piece))}


def _substring_counts(words: Mapping[str, int], candidates: set[str]) -> Counter[str]:
    longest = max(map(len, candidates), default=0)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + longest) + 1):
                if (piece := word[start:end]) in candidates:
                    counts[piece] += count
    return counts


def _scored(counts: Mapping[str, int]) -> Scores:
    """Relative frequencies as logarithms, sorted by piece; what did not occur counts a half."""
    total = sum(counts.values())
    return {piece: math.log(max(0.5, counts[piece]) / max(1, total)) for piece in sorted(counts)}


def _best_counts(words: Mapping[str, int], scores: Scores) -> Counter[str]:
    """How often each piece occurs in the most probable segmentations of the words."""
    vocabulary = [("<unk>", 0.0), *scores.items()]
    model = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, 0, False))
    pieces = [piece for piece, _ in vocabulary]
    counts: Counter[str] = Counter()
    segmentations = model.encode_batch_fast(list(words), add_special_tokens=False)
    for segmentation, count in zip(segmentations, words.values(), strict=True):
        for i in segmentation.ids:
            counts[pieces[i]] += count
    return counts


def _pruned(scores: Scores, counts: Mapping[str, int], size: int) -> Scores:
    """The `size` pieces without which the likelihood of the words would fall most, and all single characters."""
    letters = [piece for piece in scores if len(piece) == 1]
    longer = [piece for piece in scores if len(piece) > 1]
    loss = {piece: counts[piece] * (scores[piece] - _without(piece, scores)) for piece in longer}
    longer.sort(key=lambda piece: (-loss[piece], piece))
    return {piece: scores[piece] for piece in sorted(letters + longer[: max(0, size - len(letters))])}


def _without(piece: str, scores: Scores) -> float:
    """The score of the best segmentation of a piece into other pieces."""
    best = [0.0] + [-math.inf] * len(piece)
    for end in range(1, len(piece) + 1):
        for start in range(end):
            if end - start < len(piece) and (score := scores.get(piece[start:end])) is not None:
                best[end] = max(best[end], best[start] + score)
    return best[-1]
