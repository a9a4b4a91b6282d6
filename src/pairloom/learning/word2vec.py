"""Word vectors by skip-gram with negative sampling: words that stand among the same words come to lie close together.

    Mikolov, Sutskever, Chen, Corrado, Dean 2013   arXiv 1310.4546   the objective (eq. 4), subsampling (eq. 5), noise
    Ji, Satish, Li, Dubey 2016                     arXiv 1604.04661  noise words shared: matrix products

Dimensions: V words, D size of a vector, N blocks in a batch, P centre words in a block, W window, K noise words a pair,
M noise words that a block shares, C = P + 2W + M columns of a block.

The kept words of the text stand in one row, cut into blocks of P. The contexts of a block's words are the P + 2W words
around it, so one product [P, D] x [D, C] has the scores of all its pairs and of its noise; a mask leaves what lies in
each word's own window and text:

    centres [N, P] ── input table ──► v [N, P, D] ──┐
                                                    ├──► scores [N, P, C] ──► σ − label, weighted ──► both gradients
    columns [N, C] ── output table ─► v' [N, C, D] ─┘

It differs from the paper's program in two things. M noise words are drawn for a block and not K for each pair; a word
with n pairs meets each of them with the weight n K / M, so the expected gradient is that of eq. 4. And the words of a
batch (about a thousand) are computed from the same tables, their gradients summed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from pairloom.errors import PairloomError

END = -1
"""Stands in the ids where a text ends: no window reaches over it."""
LEFT_OUT = -2
"""Stands in the ids for a word without a vector: it is removed before windows are laid, as in the paper's program."""

BLOCK = 32  # P
SHARED = 32  # M
LARGEST_BATCH = 32  # blocks
MOST_REPEATS = 32.0
"""A batch is made so small that its most frequent word is expected in it this often at most: gradients from one table
add up, and too many of them overshoot."""
CHUNK = 1 << 19  # ids worked on at once; a window does not reach over its end either
NOISE_PLACES = 1 << 20
REPORTS = 50


class Word2VecSettings(BaseModel):
    """What is learned, and how fast."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(100, ge=1, le=4096, description="D, numbers in a vector")
    window: int = Field(5, ge=1, le=100, description="words to each side, at most; drawn from 1 to this for each word")
    negative: int = Field(5, ge=1, le=100, description="K, noise words for each pair")
    sample: float = Field(
        1e-3, ge=0, le=1, description="t of eq. 5: words more frequent than this are thinned; 0 = none"
    )
    epochs: int = Field(5, ge=1, le=10_000, description="passes over the text")
    rate: float = Field(0.025, gt=0, le=1, description="learning rate at the start; it falls linearly to nearly 0")
    seed: int = Field(1, ge=0, lt=2**31, description="of everything random")


@dataclass(frozen=True)
class Learned:
    """How far the vectors are."""

    progress: float  # share of the work that is done, 0 to 1
    loss: float  # of the latest batch, nats a pair: minus eq. 4
    rate: float  # learning rate
    words_per_second: float  # of the text, those that were thinned out included
    seconds: float


@dataclass(frozen=True)
class Batch:
    """N blocks of centre words with their contexts and noise."""

    centres: NDArray[np.int64]  # [N, P] rows of the input table
    columns: NDArray[np.int64]  # [N, C] rows of the output table: P + 2W words of the text, then M of noise
    pairs: Tensor  # [N, P, P + 2W] 1.0 where the column is a context of the centre


@dataclass(frozen=True)
class Gradients:
    """Of the sum of the loss over all pairs of a batch."""

    centres: Tensor  # [N, P, D]
    columns: Tensor  # [N, C, D]
    weighted: Tensor  # [N, P, C] σ(score) − label, times how often that pair counts


def gradients(inputs: Tensor, outputs: Tensor, pairs: Tensor, negative: int) -> Gradients:
    """Minus eq. 4 for vectors [N, P, D] and [N, C, D], by hand: d(−log σ(s))/ds = σ(s) − 1, d(−log σ(−s))/ds = σ(s)."""
    shared = outputs.shape[1] - pairs.shape[2]
    noise = pairs.sum(2, keepdim=True) * (negative / shared)
    weighted = torch.bmm(inputs, outputs.transpose(1, 2)).sigmoid_()
    weighted.mul_(torch.cat([pairs, noise.expand(-1, -1, shared)], dim=2))
    weighted[:, :, : pairs.shape[2]].sub_(pairs)
    return Gradients(torch.bmm(weighted, outputs), torch.bmm(weighted.transpose(1, 2), inputs), weighted)


def loss(inputs: Tensor, outputs: Tensor, pairs: Tensor, negative: int) -> float:
    """Minus eq. 4, nats a pair, in the mean over the pairs of a batch."""
    near = pairs.shape[2]
    scores = torch.bmm(inputs, outputs.transpose(1, 2))
    noise = pairs.sum(2, keepdim=True) * (negative / (outputs.shape[1] - near))
    total = (functional.softplus(-scores[:, :, :near]) * pairs).sum()
    total = total + (functional.softplus(scores[:, :, near:]) * noise).sum()
    return float(total / pairs.sum().clamp_min(1))


def learn(
    ids: NDArray[np.int32],  # the text as rows of the tables, with END and LEFT_OUT; may be memory-mapped
    counts: NDArray[np.int64],  # [V] how often each row occurs in it
    settings: Word2VecSettings,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Learned, None, NDArray[np.float32]]:
    """Yields how far it is, returns the vectors [V, D]. Once `stop` says True it returns those that there are.

    The same text, settings and seed give the same vectors.
    """
    random = np.random.default_rng(settings.seed)
    shape = (len(counts), settings.size)
    inputs = torch.from_numpy((random.random(shape, dtype=np.float32) - 0.5) / settings.size)
    outputs = torch.zeros(shape)
    began, reported = time.monotonic(), 0
    with torch.no_grad():
        for share, batch in batches(ids, counts, settings, random):
            if stop():
                break
            rate = settings.rate * max(1e-4, 1 - share)
            before = inputs[torch.from_numpy(batch.centres)], outputs[torch.from_numpy(batch.columns)]
            found = gradients(*before, batch.pairs, settings.negative)
            _subtract(inputs, batch.centres, found.centres, rate)
            _subtract(outputs, batch.columns, found.columns, rate)
            if int(share * REPORTS) > reported:
                reported = int(share * REPORTS)
                seconds = time.monotonic() - began
                speed = share * settings.epochs * int(counts.sum()) / max(seconds, 1e-9)
                yield Learned(share, loss(*before, batch.pairs, settings.negative), rate, speed, seconds)
    if not bool(torch.isfinite(inputs).all()):
        raise PairloomError(
            f"the vectors have run away (numbers that are not finite): lower --rate, which is {settings.rate:g}; with "
            "very few different words the gradients of a batch add up to too much"
        )
    return inputs.numpy()


def batches(
    ids: NDArray[np.int32], counts: NDArray[np.int64], settings: Word2VecSettings, random: np.random.Generator
) -> Iterator[tuple[float, Batch]]:
    """Batches of all epochs, each with the share of the work that comes before it."""
    kept = kept_shares(counts, settings.sample)
    noise = noise_places(counts)
    expected = counts * kept
    blocks = int(np.clip(MOST_REPEATS / (expected.max() / expected.sum() * BLOCK), 1, LARGEST_BATCH))
    for epoch in range(settings.epochs):
        for start in range(0, len(ids), CHUNK):
            part = np.asarray(ids[start : start + CHUNK])
            texts = np.cumsum(part == END, dtype=np.int32)
            chosen = np.flatnonzero((part >= 0) & (random.random(len(part), dtype=np.float32) < kept[part]))
            total = -(-len(chosen) // BLOCK)
            for first, batch in _blocks(part[chosen], texts[chosen], settings, noise, blocks, random):
                done = start + len(part) * first / total
                yield (epoch + done / len(ids)) / settings.epochs, batch


def _blocks(
    words: NDArray[np.int32],  # the kept words of a chunk
    texts: NDArray[np.int32],  # the text that each belongs to
    settings: Word2VecSettings,
    noise: NDArray[np.int64],
    blocks: int,
    random: np.random.Generator,
) -> Iterator[tuple[int, Batch]]:
    """The batches of one chunk, with the number of their first block."""
    window = settings.window
    near = BLOCK + 2 * window
    total = -(-len(words) // BLOCK)
    after = total * BLOCK - len(words) + window
    row = np.pad(words, (window, after)).astype(np.int64)
    texts = np.pad(texts, (window, after), constant_values=-1)
    reach = torch.from_numpy(random.integers(1, window + 1, size=total * BLOCK, dtype=np.int8))
    reach = reach.view(total, BLOCK, 1)
    distance = _distances(window)
    every = BLOCK  # views: block b sees the words from b P on, W before its first centre
    columns = np.lib.stride_tricks.sliding_window_view(row, near)[::every] if total else row[:0, None]
    belongs = np.lib.stride_tricks.sliding_window_view(texts, near)[::every] if total else texts[:0, None]
    for first in range(0, total, blocks):
        part = slice(first, first + blocks)
        of_text = torch.from_numpy(belongs[part].copy())  # a view of a view is not writable
        centre_text = of_text[:, window : window + BLOCK, None]
        inside = (distance <= reach[part]) & (of_text[:, None, :] == centre_text) & (centre_text >= 0)
        drawn = noise[random.integers(0, NOISE_PLACES, size=(len(of_text), SHARED))]
        centres = columns[part, window : window + BLOCK].copy()
        yield first, Batch(centres, np.concatenate([columns[part], drawn], axis=1), inside.float())


def _distances(window: int) -> Tensor:
    """[P, P + 2W] how far each column is from each centre of a block; no window reaches from a word to itself."""
    distance = np.abs(np.arange(BLOCK)[:, None] + window - np.arange(BLOCK + 2 * window))
    distance[distance == 0] = 10_000
    return torch.from_numpy(distance.astype(np.int16))


def kept_shares(counts: NDArray[np.int64], sample: float) -> NDArray[np.float32]:
    """The share of each word's occurrences that is kept, [V].

    Eq. 5 keeps sqrt(t / f). The paper's program keeps (sqrt(f / t) + 1) t / f, a little more, and so does this.
    """
    if not sample:
        return np.ones(len(counts), dtype=np.float32)
    ratio = sample * counts.sum() / np.maximum(counts, 1)
    kept: NDArray[np.float32] = np.minimum(1.0, np.sqrt(ratio) + ratio).astype(np.float32)
    return kept


def noise_places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """About a million rows, of which each word has a share of unigram^(3/4) (section 2.2): one at random is noise."""
    shares = np.cumsum(counts.astype(np.float64) ** 0.75)
    places = (np.arange(NOISE_PLACES) + 0.5) / NOISE_PLACES * shares[-1]
    rows: NDArray[np.int64] = np.searchsorted(shares, places).astype(np.int64)
    return rows


def _subtract(table: Tensor, rows: NDArray[np.int64], gradient: Tensor, rate: float) -> None:
    """table[rows] −= rate · gradient, summed where a row occurs several times; in an order that is always the same."""
    flat = rows.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    # embedding_bag adds up the gradient's rows for one word after the other; index_add_ alone takes twice the time.
    sums = functional.embedding_bag(
        torch.from_numpy(order), gradient.view(len(flat), -1), torch.from_numpy(starts), mode="sum"
    )
    table.index_add_(0, torch.from_numpy(ordered[starts]), sums, alpha=-rate)
