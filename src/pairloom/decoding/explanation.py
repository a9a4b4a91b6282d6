"""One pair as a model sees it: the tokens of both sides and the attention between them, by token or by word."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from pairloom.errors import UsageError

Array = np.ndarray[Any, np.dtype[np.float32]]
Span = tuple[int, int]


class Table(NamedTuple):
    """Attention from label to label, a label being a token or a word."""

    source: list[str]  # S' labels, the last is `</s>`
    target: list[str]  # T' labels, the last is `</s>`
    attention: Array  # [T', S'], each row sums to 1
    heads: Array | None  # [L, N, T', S'] of every layer and head, if the model has several


@dataclass(frozen=True, kw_only=True)
class Steps:
    """One pair under teacher forcing, step by step, whether the model has an attention or not."""

    source: str
    text: str  # the target
    source_tokens: list[str]  # S tokens, the last is `</s>`
    tokens: list[str]  # T tokens, the last is `</s>`
    source_spans: list[Span]  # where each source token stands in `source`; `</s>` at its end
    source_words: list[Span]  # where the word around each source token stands
    words: list[Span]  # where the word around each token stands in `text`
    scores: list[float]  # [T] log-probability of each token
    alternatives: list[list[tuple[str, float]]]  # [T] the most probable tokens at each step, with their probability
    ranks: list[int] = field(default_factory=list)  # [T] how many tokens were more probable at each step
    attention: Array | None = None  # [T, S]; None: this model has none
    heads: Array | None = None  # [L, N, T, S] the attention of each layer and head; None: there is one of each

    @property
    def score(self) -> float:
        """log P(target | source)."""
        return sum(self.scores)


@dataclass(frozen=True, kw_only=True)
class Explanation(Steps):
    """One pair under teacher forcing, and what the model looked at."""

    attention: Array  # [T, S]

    @property
    def counts(self) -> tuple[int, int]:
        """How many layers look at the source, and with how many heads each."""
        return (1, 1) if self.heads is None else (self.heads.shape[0], self.heads.shape[1])

    def looking(self, layer: int | None = None, head: int | None = None) -> Explanation:
        """The same with the attention of a layer (the mean of its heads) or of one head of it, both counted from 1.

        With neither, it stays what the model itself goes by. UsageError, saying how many there are, for what there is
        not.
        """
        if layer is None and head is None:
            return self
        layers, heads = self.counts
        there = f"this model's attention has {counted(layers, 'layer')} of {counted(heads, 'head')}, counted from 1"
        if layer is None and layers > 1:
            raise UsageError(f"head {head} of which layer? {there}")
        wrong = [
            f"{name} {asked}"
            for name, asked, most in (("layer", layer, layers), ("head", head, heads))
            if asked is not None and not 1 <= asked <= most
        ]
        if wrong:
            raise UsageError(f"there is no {' and no '.join(wrong)}: {there}")
        of_layer = self.attention[None] if self.heads is None else self.heads[(layer or 1) - 1]
        return replace(self, attention=of_layer.mean(0) if head is None else of_layer[head - 1])

    def by_tokens(self) -> Table:
        """Attention from token to token."""
        return Table(self.source_tokens, self.tokens, self.attention, self.heads)

    def by_words(self) -> Table:
        """Tokens of one word joined: what falls on its source tokens is added up, what its target tokens look at is
        averaged."""
        columns, rows = runs(self.source_words), runs(self.words)

        def joined(attention: Array) -> Array:
            summed = np.stack([attention[..., a:b].sum(-1) for a, b in columns], axis=-1)
            return np.stack([summed[..., a:b, :].mean(-2) for a, b in rows], axis=-2)

        sides = labels(self.source, self.source_words, columns), labels(self.text, self.words, rows)
        return Table(*sides, joined(self.attention), None if self.heads is None else joined(self.heads))


def runs(spans: list[Span]) -> list[Span]:
    """From where to where in the list the same span is repeated."""
    found, begin = [], 0
    for _, group in groupby(spans):
        end = begin + len(list(group))
        found.append((begin, end))
        begin = end
    return found


def counted(number: int, what: str) -> str:
    """`1 head`, `8 heads`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def labels(text: str, spans: list[Span], places: list[Span]) -> list[str]:
    """The text of each run; the end of the text is `</s>`."""
    return [text[slice(*spans[a])] if spans[a][0] < len(text) else "</s>" for a, _ in places]
