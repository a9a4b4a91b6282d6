"""One pair as a model sees it: the tokens of both sides and the attention between them, by token or by word."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
Span = tuple[int, int]


class Words(NamedTuple):
    """Attention from word to word."""

    source: list[str]  # S' words, the last is `</s>`
    target: list[str]  # T' words, the last is `</s>`
    attention: Array  # [T', S'], each row sums to 1


@dataclass(frozen=True)
class Explanation:
    """One pair under teacher forcing."""

    source: str
    text: str  # the target
    source_tokens: list[str]  # S tokens, the last is `</s>`
    tokens: list[str]  # T tokens, the last is `</s>`
    source_spans: list[Span]  # where each source token stands in `source`; `</s>` at its end
    source_words: list[Span]  # where the word around each source token stands
    words: list[Span]  # where the word around each token stands in `text`
    attention: Array  # [T, S]
    scores: list[float]  # [T] log-probability of each token
    alternatives: list[list[tuple[str, float]]]  # [T] the most probable tokens at each step, with their probability

    @property
    def score(self) -> float:
        """log P(target | source)."""
        return sum(self.scores)

    def by_words(self) -> Words:
        """Tokens of one word joined: what falls on its source tokens is added up, what its target tokens look at is
        averaged."""
        columns, rows = runs(self.source_words), runs(self.words)
        summed = np.stack([self.attention[:, a:b].sum(1) for a, b in columns], axis=1)
        averaged = np.stack([summed[a:b].mean(0) for a, b in rows])
        return Words(labels(self.source, self.source_words, columns), labels(self.text, self.words, rows), averaged)


def runs(spans: list[Span]) -> list[Span]:
    """From where to where in the list the same span is repeated."""
    found, begin = [], 0
    for _, group in groupby(spans):
        end = begin + len(list(group))
        found.append((begin, end))
        begin = end
    return found


def labels(text: str, spans: list[Span], places: list[Span]) -> list[str]:
    """The text of each run; the end of the text is `</s>`."""
    return [text[slice(*spans[a])] if spans[a][0] < len(text) else "</s>" for a, _ in places]
