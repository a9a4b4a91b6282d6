"""What chooses the next tokens, apart from the loop that runs the model: the protocol, greedy search and sampling.

    N  sentences in the batch        W  rows of each sentence (1; K in a beam)        R = N W rows, row-major
    T  columns for tokens chosen     P  columns for forced prefixes                   V  size of the target vocabulary

A chooser itself holds only settings. What it knows of the sentences under way is a value, `Progress`, with the
sentences on axis 0: `select` and `join` of the model's protocol drop and add sentences as they do with model states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from pairloom.decoding.hypotheses import NEVER, Hypothesis, Sentence, hypothesis
from pairloom.models.protocol import EOS, PAD, pad_to


@dataclass(frozen=True)
class Progress:
    """What every chooser keeps of its sentences."""

    tokens: Tensor  # [N, T, W] chosen so far, PAD beyond `lengths`
    scores: Tensor  # [N, W] float32, sum of log-probabilities; -inf: the row is not in use
    lengths: Tensor  # [N] tokens chosen so far
    limits: Tensor  # [N] the last length, prefix included
    prefix: Tensor  # [N, P] forced tokens, then PAD
    length_fields: ClassVar[tuple[str, ...]] = ("tokens", "prefix")


AnyProgress = TypeVar("AnyProgress", bound=Progress)


class Choice(NamedTuple):
    """What the loop does next."""

    tokens: Tensor  # [R] to be fed to the decoder
    rows: Tensor | None  # [R] the row that each one continues; None: every row continues itself
    finished: Tensor  # [N] True: the sentence needs no further step


class Chooser(Protocol[AnyProgress]):
    """Greedy search, sampling and the beam are interchangeable; the loop knows nothing of which."""

    @property
    def width(self) -> int:
        """W, rows per sentence."""
        ...

    def start(self, sentences: Sequence[Sentence], device: torch.device) -> AnyProgress:
        """The progress of sentences before their first step."""
        ...

    def advance(self, progress: AnyProgress, log_probs: Tensor) -> tuple[Choice, AnyProgress]:
        """One step: log_probs [R, V] in float32 (may be overwritten) → the choice and the progress after it."""
        ...

    def harvest(self, progress: AnyProgress, sentence: int) -> list[Hypothesis]:
        """The outputs of a finished sentence (its row in `progress`), best first."""
        ...


def start_progress(sentences: Sequence[Sentence], width: int, device: torch.device) -> Progress:
    """No token yet; the score of every row is 0."""
    longest = max(len(sentence.prefix) for sentence in sentences)
    prefix = [[*sentence.prefix, *[PAD] * (longest - len(sentence.prefix))] for sentence in sentences]
    limits = [len(sentence.prefix) + sentence.limit for sentence in sentences]
    count = len(sentences)
    return Progress(
        tokens=torch.zeros(count, 16, width, dtype=torch.long, device=device),
        scores=torch.zeros(count, width, device=device),
        lengths=torch.zeros(count, dtype=torch.long, device=device),
        limits=torch.tensor(limits, device=device),
        prefix=torch.tensor(prefix, dtype=torch.long, device=device).view(count, longest),
    )


def restrict(progress: Progress, log_probs: Tensor, no_repeat_ngram: int) -> Tensor:
    """log_probs [R, V], overwritten with -inf where a token is not allowed. What stays is the model's own value."""
    forced = _forced(progress, log_probs)
    log_probs[:, NEVER] = -torch.inf
    if no_repeat_ngram:
        _ban_repeats(progress, log_probs, no_repeat_ngram)
    if forced is not None:
        rows, tokens, values = forced
        log_probs[rows] = -torch.inf
        log_probs[rows, tokens] = values
    return log_probs


def _forced(progress: Progress, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """The rows that are still inside their prefix, the token that each must take, and its log-probability."""
    columns = progress.prefix.shape[1]
    if columns == 0:
        return None
    token = progress.prefix.gather(1, progress.lengths.clamp(max=columns - 1)[:, None])[:, 0]
    token = token.masked_fill(progress.lengths >= columns, PAD).repeat_interleave(progress.scores.shape[1])
    rows = (token != PAD).nonzero()[:, 0]
    return (rows, token[rows], log_probs[rows, token[rows]]) if len(rows) else None


def _ban_repeats(progress: Progress, log_probs: Tensor, size: int) -> None:
    """Overwrites with -inf whatever would complete an n-gram of `size` tokens that the row already holds."""
    count, columns, width = progress.tokens.shape
    if columns < size:
        return
    history = progress.tokens.transpose(1, 2).reshape(count * width, columns)
    lengths = progress.lengths.repeat_interleave(width)
    back = torch.arange(1 - size, 0, device=lengths.device)
    last = history.gather(1, (lengths[:, None] + back).clamp(min=0))  # [R, size - 1]
    same = (history[:, :-1].unfold(1, size - 1, 1) == last[:, None]).all(2)  # [R, T - size + 1]
    ends = torch.arange(size - 1, columns, device=lengths.device)  # where the n-gram of each window ends
    rows, windows = (same & (ends < lengths[:, None])).nonzero(as_tuple=True)
    log_probs[rows, history[rows, windows + size - 1]] = -torch.inf


def record(tokens: Tensor, lengths: Tensor, chosen: Tensor) -> Tensor:
    """tokens [N, T, W] with chosen [N, W] written at column `lengths` [N] of each sentence; T doubles when full."""
    if int(lengths.max()) >= tokens.shape[1]:
        tokens = pad_to(tokens, 2 * tokens.shape[1])
    return tokens.scatter(1, lengths[:, None, None].expand(-1, 1, chosen.shape[1]), chosen[:, None])


@dataclass(frozen=True)
class RowsProgress(Progress):
    """Rows that go on without a look at each other."""

    ended: Tensor  # [N, W] the row has its `</s>`
    uniforms: Tensor  # [N, U, W] float32 in [0, 1), one for each step; U = 0 when nothing is drawn
    length_fields: ClassVar[tuple[str, ...]] = ("tokens", "prefix", "uniforms")


@dataclass(frozen=True)
class Greedy:
    """The most probable token at every step."""

    alpha: float = 1.0  # length penalty, only reported: there is nothing to compare
    no_repeat_ngram: int = 0
    width: ClassVar[int] = 1

    def start(self, sentences: Sequence[Sentence], device: torch.device) -> RowsProgress:
        return start_rows(sentences, self.width, np.empty((len(sentences), 0, self.width), np.float32), device)

    def advance(self, progress: RowsProgress, log_probs: Tensor) -> tuple[Choice, RowsProgress]:
        allowed = restrict(progress, log_probs, self.no_repeat_ngram)
        return follow(progress, allowed, allowed.argmax(1))

    def harvest(self, progress: RowsProgress, sentence: int) -> list[Hypothesis]:
        return harvest_rows(progress, sentence, self.alpha)


COLDEST = 1e-30
"""Temperature that float32 still divides by; whatever is colder is greedy anyway."""


@dataclass(frozen=True)
class Sampling:
    """A token drawn from the model's distribution; temperature first, then top-k, then top-p (Holtzman et al. 2020).

    A draw is a pure function of (seed, place in the input, number of the draw, step), so that neither batch nor company
    changes it. Scores are those of the unchanged model.
    """

    width: int = 1  # independent draws per sentence
    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0  # 1: all
    seed: int = 0
    alpha: float = 1.0  # length penalty, orders several draws
    no_repeat_ngram: int = 0

    def start(self, sentences: Sequence[Sentence], device: torch.device) -> RowsProgress:
        steps = max(len(sentence.prefix) + sentence.limit for sentence in sentences)
        uniforms = np.zeros((len(sentences), steps, self.width), np.float32)
        for n, sentence in enumerate(sentences):
            own = len(sentence.prefix) + sentence.limit
            for w in range(self.width):
                stream = np.random.default_rng((self.seed, sentence.number, w))
                uniforms[n, :own, w] = stream.random(own, dtype=np.float32)
        return start_rows(sentences, self.width, uniforms, device)

    def advance(self, progress: RowsProgress, log_probs: Tensor) -> tuple[Choice, RowsProgress]:
        allowed = restrict(progress, log_probs, self.no_repeat_ngram)
        columns = progress.uniforms.shape[1]
        step = progress.lengths.clamp(max=columns - 1)[:, None, None].expand(-1, 1, self.width)
        uniform = progress.uniforms.gather(1, step).view(-1, 1)
        cumulative = self.distribution(allowed).cumsum(1)
        drawn = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)[:, 0]
        return follow(progress, allowed, drawn.clamp(max=allowed.shape[1] - 1))

    def distribution(self, log_probs: Tensor) -> Tensor:
        """log_probs [R, V] → the probabilities [R, V] to draw from. Tokens that tie with the last one are kept."""
        below = log_probs - log_probs.amax(1, keepdim=True)  # the best stays 0, however cold it is
        log_probs = below / max(self.temperature, COLDEST)
        if self.top_k == 0 and self.top_p == 1:
            return log_probs.softmax(1)
        count = min(self.top_k or log_probs.shape[1], log_probs.shape[1])
        kept = log_probs.topk(count).values  # [R, count], best first
        if self.top_p < 1:
            probs = kept.softmax(1)
            kept = kept.masked_fill(probs.cumsum(1) - probs >= self.top_p, torch.inf)
        return log_probs.masked_fill(log_probs < kept.amin(1, keepdim=True), -torch.inf).softmax(1)

    def harvest(self, progress: RowsProgress, sentence: int) -> list[Hypothesis]:
        return harvest_rows(progress, sentence, self.alpha)


def start_rows(
    sentences: Sequence[Sentence],
    width: int,
    uniforms: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    device: torch.device,
) -> RowsProgress:
    """Rows before their first step."""
    fresh = start_progress(sentences, width, device)
    ended = torch.zeros(len(sentences), width, dtype=torch.bool, device=device)
    return RowsProgress(**vars(fresh), ended=ended, uniforms=torch.from_numpy(uniforms).to(device))


def follow(progress: RowsProgress, log_probs: Tensor, chosen: Tensor) -> tuple[Choice, RowsProgress]:
    """Every row takes the token [R] chosen for it; those that have ended repeat `</s>` at no cost."""
    gained = log_probs.gather(1, chosen[:, None]).view_as(progress.scores)
    tokens = chosen.view_as(progress.scores).masked_fill(progress.ended, EOS)
    lengths = progress.lengths + 1
    ended = progress.ended | (tokens == EOS)
    after = replace(
        progress,
        tokens=record(progress.tokens, progress.lengths, tokens),
        scores=progress.scores + gained.masked_fill(progress.ended, 0),
        lengths=lengths,
        ended=ended,
    )
    return Choice(tokens.flatten(), None, ended.all(1) | (lengths >= progress.limits)), after


def harvest_rows(progress: RowsProgress, sentence: int, alpha: float) -> list[Hypothesis]:
    """All rows of a sentence: the finished first, then by normalised score."""
    tokens = progress.tokens[sentence, : progress.lengths[sentence]].T.tolist()
    found = [hypothesis(*row, alpha) for row in zip(tokens, progress.scores[sentence].tolist(), strict=True)]
    return sorted(found, key=lambda one: (one.finished, one.normalised), reverse=True)
