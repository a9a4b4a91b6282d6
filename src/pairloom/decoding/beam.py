"""Beam search: the K best hypotheses of every sentence go on at each step (letters as in choosers.py, W = K).

Sutskever, Vinyals, Le 2014   arXiv 1409.3215   section 3.2, the search
Wu et al. 2016                arXiv 1609.08144  section 7, equation 14, length normalisation
Kasai et al. 2022             arXiv 2204.05424  patience: when to stop
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pairloom.decoding.choosers import Choice, Progress, record, restrict, start_progress
from pairloom.decoding.hypotheses import Hypothesis, Sentence, hypothesis
from pairloom.models.protocol import EOS, pad_to

BLOCK = 128
"""Tokens of the vocabulary whose maximum is looked at first by `best`."""


@dataclass(frozen=True)
class BeamProgress(Progress):
    """The K live hypotheses of each sentence, best first, and the K best finished ones so far, best first."""

    done_tokens: Tensor  # [N, T, K] with `</s>`
    done_scores: Tensor  # [N, K]
    done_normalised: Tensor  # [N, K]; -inf: none
    done_count: Tensor  # [N] finished so far, those that fell out again included
    length_fields: ClassVar[tuple[str, ...]] = ("tokens", "prefix", "done_tokens")


@dataclass(frozen=True)
class Beam:
    """At each step 2K candidates; those of the best K that end with `</s>` are finished, the best K others go on.

    A sentence ends with patience x K finished hypotheses, unless a live one is ahead of all of them (a model that is
    sure of what comes next would else be cut short: at every step the best K are the one that goes on and K - 1 that
    hardly could be, `</s>` among them); or when no live one can still enter the `nbest`; or at its limit. There the
    live ones are closed as they are, and returned only if fewer than `nbest` have finished.
    """

    width: int = 5
    nbest: int = 1
    alpha: float = 1.0  # of the length penalty
    patience: float = 1.0
    no_repeat_ngram: int = 0

    def start(self, sentences: Sequence[Sentence], device: torch.device) -> BeamProgress:
        fresh = start_progress(sentences, self.width, device)
        fresh.scores[:, 1:] = -torch.inf  # all rows begin alike: only the first one counts
        return BeamProgress(
            **vars(fresh),
            done_tokens=torch.zeros_like(fresh.tokens),
            done_scores=torch.zeros_like(fresh.scores),
            done_normalised=torch.full_like(fresh.scores, -torch.inf),
            done_count=torch.zeros_like(fresh.lengths),
        )

    def advance(self, progress: BeamProgress, log_probs: Tensor) -> tuple[Choice, BeamProgress]:
        width = self.width
        scores, parents, tokens = self.candidates(progress, log_probs)
        ends = tokens == EOS
        if bool(ends[:, :width].any()):
            ending = scores[:, :width].masked_fill(~ends[:, :width], -torch.inf)
            progress = self._finish(progress, ending, parents[:, :width])

        scores, places = scores.masked_fill(ends, -torch.inf).topk(width)  # at most K of 2K end
        parents, tokens = parents.gather(1, places), tokens.gather(1, places)
        before = progress.tokens.gather(2, parents[:, None].expand(-1, progress.tokens.shape[1], -1))
        lengths = progress.lengths + 1
        after = replace(progress, tokens=record(before, progress.lengths, tokens), scores=scores, lengths=lengths)
        first_rows = torch.arange(0, parents.numel(), width, device=parents.device)
        rows = (parents + first_rows[:, None]).flatten()
        return Choice(tokens.flatten(), rows, self._finished(after)), after

    def candidates(self, progress: BeamProgress, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The 2K best continuations of each sentence, best first: scores, rows 0..K-1, tokens, each [N, 2K]."""
        return best(progress.scores, restrict(progress, log_probs, self.no_repeat_ngram), 2 * self.width)

    def _finish(self, progress: BeamProgress, ending: Tensor, parents: Tensor) -> BeamProgress:
        """Puts the hypotheses that end now (scores [N, K], -inf: does not end) among the K best finished ones."""
        history = progress.tokens.gather(2, parents[:, None].expand(-1, progress.tokens.shape[1], -1))
        history = record(history, progress.lengths, torch.full_like(parents, EOS))
        penalty = self._penalty(progress.lengths + 1)
        normalised = torch.cat([progress.done_normalised, ending / penalty], dim=1)
        normalised, places = normalised.topk(self.width)
        tokens = torch.cat([pad_to(progress.done_tokens, history.shape[1]), history], dim=2)
        return replace(
            progress,
            done_tokens=tokens.gather(2, places[:, None].expand(-1, tokens.shape[1], -1)),
            done_scores=torch.cat([progress.done_scores, ending], dim=1).gather(1, places),
            done_normalised=normalised,
            done_count=progress.done_count + (ending > -torch.inf).sum(1),
        )

    def _finished(self, progress: BeamProgress) -> Tensor:
        """[N] A score only falls and the penalty only grows, so score / lp(limit) bounds what a live one can reach."""
        bound = progress.scores[:, :1] / self._penalty(progress.limits)
        lost = bound[:, 0] <= progress.done_normalised[:, self.nbest - 1]
        return lost | self.enough(progress) | (progress.lengths >= progress.limits)

    def enough(self, progress: BeamProgress) -> Tensor:
        """[N] whether patience x K have finished, and no live one is ahead of all of them."""
        live = progress.scores[:, :1] / self._penalty(progress.lengths)
        many = progress.done_count >= max(self.patience * self.width, self.nbest)
        return many & (live[:, 0] <= progress.done_normalised[:, 0])

    def _penalty(self, lengths: Tensor) -> Tensor:
        """`length_penalty` of lengths [N], as [N, 1]."""
        return ((5 + lengths[:, None]) / 6) ** self.alpha

    def harvest(self, progress: BeamProgress, sentence: int) -> list[Hypothesis]:
        length = int(progress.lengths[sentence])
        done = int((progress.done_normalised[sentence] > -torch.inf).sum())
        found = [
            hypothesis(
                progress.done_tokens[sentence, :length, k].tolist(),
                float(progress.done_scores[sentence, k]),
                self.alpha,
            )
            for k in range(min(done, self.nbest))
        ]
        at_limit = length >= int(progress.limits[sentence])
        live = int((progress.scores[sentence] > -torch.inf).sum()) if at_limit else 0
        live = live if found else max(live, 1)  # a model that computes NaN still gets an output for every sentence
        found += [
            hypothesis(progress.tokens[sentence, :length, k].tolist(), float(progress.scores[sentence, k]), self.alpha)
            for k in range(min(live, self.nbest - len(found)))
        ]
        return found


def best(
    scores: Tensor,  # [N, W] of the hypotheses so far
    log_probs: Tensor,  # [N W, V] of their next tokens
    count: int,  # C ≤ W V
) -> tuple[Tensor, Tensor, Tensor]:
    """The C best continuations of each sentence, best first: scores, rows 0..W-1, tokens, each [N, C].

    Exact, and with 8,192 tokens about four times as fast as `topk` over [N, W V]: the C best continuations lie in the
    C blocks of tokens with the highest maxima, so only those are sorted.
    """
    sentences, width = scores.shape
    size = log_probs.shape[1]
    if size < 8 * BLOCK:  # where plain `topk` is as fast
        values, places = (scores[:, :, None] + log_probs.view(sentences, width, size)).flatten(1).topk(count)
        rows = places // size
        return values, rows, places - rows * size
    whole = size - size % BLOCK
    maxima = log_probs[:, :whole].reshape(len(log_probs), whole // BLOCK, BLOCK).amax(2)
    if whole < size:
        maxima = torch.cat([maxima, log_probs[:, whole:].amax(1, keepdim=True)], dim=1)
    blocks = maxima.shape[1]
    maxima = (maxima.view(sentences, width, blocks) + scores[:, :, None]).flatten(1)
    chosen = maxima.topk(min(count, maxima.shape[1])).indices  # [N, C]
    rows = chosen // blocks
    tokens = (chosen - rows * blocks)[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores.device)  # [N, C, BLOCK]
    beyond = tokens >= size  # the last block may be shorter
    tokens = tokens.clamp(max=size - 1)
    places = (rows[:, :, None] * size + tokens).flatten(1)
    values = log_probs.view(sentences, -1).gather(1, places).view_as(tokens) + scores.gather(1, rows)[:, :, None]
    values, places = values.masked_fill(beyond, -torch.inf).flatten(1).topk(count)
    return values, rows.gather(1, places // BLOCK), tokens.flatten(1).gather(1, places)
