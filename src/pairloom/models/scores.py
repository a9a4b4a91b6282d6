"""How a state of the decoder asks the memory: queries and keys in, weights over the source and their context out.

    Bahdanau, Cho, Bengio 2015    arXiv 1409.0473, appendix A.1.2: v tanh(W s + U h)
    Luong, Pham, Manning 2015     arXiv 1508.04025, equation 8: dot, general, concat
    Vaswani et al. 2017           arXiv 1706.03762, equation 1: scaled dot product; section 3.2.2: several heads
    See, Liu, Manning 2017        arXiv 1704.04368, equations 10 and 11: the coverage of a position enters its score

Dimensions: B sentences, T target tokens, S source tokens, H hidden state (of queries and keys), A annotation, N heads.

The keys [B, S, H] do not depend on the decoder: the model computes them once a sentence, and with that the W_a of
`general`, the U_a of `additive` and the half of `concat` that reads the annotations. What is here is the rest.

Coverage: the key of position i is moved by w c_i, where c_i is the attention it has had so far and w [H] is learned. In
v tanh(...) that is equation 11 of See et al.; in a dot product it gives q·k_i + (q·w) c_i, so that the state decides
how much a covered position is to be avoided, or sought. w starts at zero: at first there is no coverage.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Look(NamedTuple):
    """What T queries saw."""

    weights: Tensor  # [B, N, T, S] float32, each row sums to 1
    context: Tensor  # [B, T, A]


def mean_of_heads(weights: Tensor) -> Tensor:
    """[B, N, T, S] → [B, T, S]"""
    return weights[:, 0] if weights.shape[1] == 1 else weights.mean(dim=1)


def distribution(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores [..., S] → weights [..., S] in float32; exactly 0 where the mask, broadcast to them, is False."""
    return scores.float().masked_fill(~mask, float("-inf")).softmax(dim=-1)


class Attend(nn.Module):
    """One head; its two kinds differ in `scores`."""

    def __init__(self, hidden: int, coverage: bool) -> None:
        super().__init__()
        self.covered = nn.Parameter(torch.zeros(hidden)) if coverage else None  # w of See et al., equation 11

    def values(self, annotations: Tensor) -> Tensor:
        """What is averaged, computed once a sentence: [B, S, A] → [B, S, A] (H with several heads)."""
        return annotations

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None) -> Tensor:
        """[B, T, H], [B, S, H] and perhaps [B, S] → [B, T, S]"""
        raise NotImplementedError

    def forward(
        self,
        queries: Tensor,  # [B, T, H]
        keys: Tensor,  # [B, S, H]
        values: Tensor,  # [B, S, A], as `values` gave them
        mask: Tensor,  # [B, S] True = a real token
        coverage: Tensor | None = None,  # [B, S]
    ) -> Look:
        weights = distribution(self.scores(queries, keys, coverage), mask.unsqueeze(1))
        return Look(weights.unsqueeze(1), weights.to(values.dtype) @ values)


class DotScores(Attend):
    """q·k (Luong et al. 2015, equation 8: `dot`, and `general` when the keys are projected), times `scale`: the square
    root of their length upside down for the scaled dot product (Vaswani et al. 2017, equation 1)."""

    def __init__(self, hidden: int, scale: float, coverage: bool) -> None:
        super().__init__(hidden, coverage)
        self.scale = scale

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None) -> Tensor:
        scores = queries @ keys.transpose(1, 2)
        if self.covered is not None and coverage is not None:
            scores = scores + (queries @ self.covered).unsqueeze(2) * coverage.unsqueeze(1)
        return scores if self.scale == 1.0 else scores * self.scale


class TanhScores(Attend):
    """v tanh(W q + k + b): `additive` (Bahdanau et al. 2015, appendix A.1.2) and `concat` (Luong et al. 2015, equation
    8, where W [q; h] is written as two products); b as in See et al. 2017, equation 1.

    B·T·S·H numbers are made, and kept for the gradient: by far the dearest of the scores in time and memory.
    """

    def __init__(self, hidden: int, coverage: bool) -> None:
        super().__init__(hidden, coverage)
        self.query = nn.Linear(hidden, hidden)
        self.weigh = nn.Linear(hidden, 1, bias=False)  # v

    def scores(self, queries: Tensor, keys: Tensor, coverage: Tensor | None) -> Tensor:
        if self.covered is not None and coverage is not None:
            keys = keys + coverage.to(keys.dtype).unsqueeze(2) * self.covered.to(keys.dtype)
        energy = (self.query(queries).unsqueeze(2) + keys.unsqueeze(1)).tanh_()  # [B, T, S, H]; in place: see above
        scores: Tensor = self.weigh(energy).squeeze(3)
        return scores


class MultiHead(Attend):
    """N heads of scaled dot products, each with its own projections (Vaswani et al. 2017, section 3.2.2), asked by a
    recurrent decoder (Chen et al. 2018, arXiv 1804.09849, section 4). All heads share one coverage, of their mean."""

    def __init__(self, hidden: int, annotation: int, heads: int, coverage: bool) -> None:
        super().__init__(hidden, coverage)
        self.heads = heads
        self.query = nn.Linear(hidden, hidden, bias=False)  # W^Q of all heads
        self.value = nn.Linear(annotation, hidden, bias=False)  # W^V of all heads
        self.out = nn.Linear(hidden, annotation, bias=False)  # W^O

    def values(self, annotations: Tensor) -> Tensor:
        values: Tensor = self.value(annotations)
        return values

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, coverage: Tensor | None = None
    ) -> Look:
        q, k, v = (self._split(part) for part in (self.query(queries), keys, values))
        scores = q @ k.transpose(2, 3)  # [B, N, T, S]
        if self.covered is not None and coverage is not None:
            scores = scores + (q @ self.covered.view(self.heads, -1, 1)) * coverage[:, None, None]
        weights = distribution(scores * q.shape[3] ** -0.5, mask[:, None, None])
        seen = weights.to(v.dtype) @ v  # [B, N, T, H/N]
        return Look(weights, self.out(seen.transpose(1, 2).flatten(2)))

    def _split(self, values: Tensor) -> Tensor:
        """[B, X, H] → [B, N, X, H/N]"""
        rows, length, _ = values.shape
        return values.view(rows, length, self.heads, -1).transpose(1, 2)
