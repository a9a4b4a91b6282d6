"""Batches by length with a budget of tokens, in an order that is a pure function of (seed, epoch).

Glossary: N sentences in the corpus, B in the batch, S source and T target tokens (padded). Lengths handed in are those
of the corpus; wherever a batch is measured, the `</s>` at the end of each side counts as a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pairloom.text.components import BOS, EOS, PAD
from pairloom.text.corpus import Corpus, Lengths, Side

Rows = npt.NDArray[np.int64]
Grid = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class BatchSettings(BaseModel):
    """How sentences are put together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(1500, ge=1)
    """Budget of a batch: sentences × the longest side in it, in tokens with `</s>`; a longer sentence goes alone."""
    max_sentences: int = Field(256, ge=1)
    """Most sentences in a batch, however short they are."""
    pool: int = Field(8192, ge=1)
    """Sentences that are shuffled together and then sorted by length; fewer vary the batches more and pad more."""


class Batch(NamedTuple):
    """One batch, as a model is trained on it. Masks: True = a real token (`<s>` and `</s>` are real)."""

    source: Grid  # [B, S] source and `</s>`
    source_mask: Mask  # [B, S]
    target_in: Grid  # [B, T] `<s>` and target
    target_out: Grid  # [B, T] target and `</s>`
    target_mask: Mask  # [B, T] of both


def epoch_batches(
    source_lengths: Lengths, target_lengths: Lengths, settings: BatchSettings, seed: int, epoch: int
) -> list[Rows]:
    """The rows [B] of each batch of one epoch, in the order of training; every row of 0 ... N-1 exactly once.

    `source_lengths` and `target_lengths` [N] are tokens without `<s>` and `</s>`, as a Corpus has them. `seed` and
    `epoch` must not be negative.
    """
    source, target = source_lengths + 1, target_lengths + 1
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(source))
    # By pool, then by target, then by source, up and down in turn, so that neighbours are alike on both sides where
    # the target length changes. Equal lengths stay in shuffled order because the sort is stable.
    pools = np.arange(len(order)) // settings.pool
    up_and_down = np.where(target % 2 == 0, source, -source)
    order = order[np.lexsort((up_and_down[order], target[order], pools))]
    longest = np.maximum(source, target)[order]
    batches: list[Rows] = []
    for start in range(0, len(order), settings.pool):
        part = slice(start, start + settings.pool)
        batches += _cut(order[part], longest[part], settings)
    return [batches[i] for i in generator.permutation(len(batches))]


def _cut(order: Rows, longest: Lengths, settings: BatchSettings) -> list[Rows]:
    """Cut sorted rows into batches, each as large as the budget allows."""
    counts = np.arange(1, settings.max_sentences + 1)
    batches: list[Rows] = []
    start = 0
    while start < len(order):
        window = longest[start : start + settings.max_sentences]
        cost = np.maximum.accumulate(window) * counts[: len(window)]  # never falls, so it can be searched
        size = max(1, int(np.searchsorted(cost, settings.tokens, side="right")))
        batches.append(order[start : start + size])
        start += size
    return batches


def padding(batches: Sequence[Rows], source_lengths: Lengths, target_lengths: Lengths) -> float:
    """Tokens of both sides with padding, divided by the tokens without: 1.0 is none. Lengths as in `epoch_batches`."""
    padded = real = 0
    for rows in batches:
        for lengths in (source_lengths[rows] + 1, target_lengths[rows] + 1):
            padded += len(rows) * int(lengths.max())
            real += int(lengths.sum())
    return padded / real if real else 1.0


def make_batch(corpus: Corpus, rows: Rows) -> Batch:
    """The sentences `rows` [B] of the corpus as padded arrays, in that order."""
    source, source_mask = _ending(corpus.source_side, rows)
    target_out, target_mask = _ending(corpus.target_side, rows)
    target_in = np.full_like(target_out, PAD)
    target_in[:, 0] = BOS
    # Shifted by one, `</s>` falls off the longest row; from the others it is masked away.
    target_in[:, 1:] = np.where(target_mask[:, 1:], target_out[:, :-1], PAD)
    return Batch(source, source_mask, target_in, target_out, target_mask)


def _ending(side: Side, rows: Rows) -> tuple[Grid, Mask]:
    """Sentences padded to the longest with `</s>` after each [B, length], and where they are real."""
    rows = np.asarray(rows, dtype=np.int64)
    starts = side.offsets[rows]
    lengths = side.offsets[rows + 1] - starts
    columns = np.arange(int(lengths.max(initial=0)) + 1)
    words = columns < lengths[:, None]
    grid = np.full(words.shape, PAD, dtype=np.int64)
    # Boolean assignment fills row after row, which is the order in which the positions are listed here.
    before = np.cumsum(lengths) - lengths
    positions = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    grid[words] = side.tokens[positions]
    grid[np.arange(len(rows)), lengths] = EOS
    return grid, columns <= lengths[:, None]
