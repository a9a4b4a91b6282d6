"""The layers that Transformers are stacked from (Vaswani et al. 2017, arXiv 1706.03762, section 3).

Dimensions: B sentences, Q queries, M keys, d the size of every vector, N heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.models.dropout import Dropout

FUSED_FROM = 128 * 128
"""Scores [Q, M] of one head from which torch's fused attention is used, which never holds them whole. On a processor
its backward pass takes four times as long for sentences (docs/LOG.md)."""


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """positions [B, T] → [B, T, d]: sines on the even, cosines on the odd places (section 3.5).

    Computed anew at each call: a table would have a greatest length.
    """
    even = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32)
    angles = positions[:, :, None] * torch.pow(10000.0, -even / size)  # [B, T, d / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=3).flatten(2)


def attend(
    queries: Tensor,  # [B, Q, d]
    keys: Tensor,  # [B, M, d]
    values: Tensor,  # [B, M, d]
    heads: int,
    visible: Tensor | None,  # [B, 1, Q or 1, M] True = may be looked at; None: everything
    causal: bool = False,  # query q sees keys 0 to q; instead of `visible`
    weights: bool = False,
) -> tuple[Tensor, Tensor | None]:  # [B, Q, d], and if asked for [B, N, Q, M]
    """Multi-head attention before its last projection (section 3.2): softmax(q k / sqrt(d / N)) v for each head."""
    q, k, v = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in (queries, keys, values))
    if not weights and queries.shape[1] * keys.shape[1] > FUSED_FROM:
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=causal)
        return mixed.transpose(1, 2).flatten(2), None
    scores: Tensor = (q @ k.transpose(2, 3)).float() * q.shape[3] ** -0.5  # [B, N, Q, M]
    if causal:
        visible = torch.ones_like(scores[0, 0], dtype=torch.bool).tril()
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    looks = scores.softmax(dim=3)
    return (looks.to(v.dtype) @ v).transpose(1, 2).flatten(2), looks if weights else None


class Residual(nn.Module):
    """x + f(x) around a sub-layer, with its norm before (Xiong et al. 2020) or after (section 3.1), and its dropout."""

    def __init__(self, size: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.before = norm == "pre"
        self.norm = nn.LayerNorm(size)
        self.dropout = Dropout(dropout)

    def forward(self, values: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        added: Tensor = values + self.dropout(sublayer(self.norm(values) if self.before else values))
        return added if self.before else self.norm(added)


class FeedForward(nn.Sequential):
    """max(0, x W_1 + b_1) W_2 + b_2 (equation 2)."""

    def __init__(self, size: int, inner: int) -> None:
        super().__init__(nn.Linear(size, inner), nn.ReLU(), nn.Linear(inner, size))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, size: int, feed_forward: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(size, 3 * size)  # queries, keys and values in one product
        self.mix = nn.Linear(size, size)
        self.feed_forward = FeedForward(size, feed_forward)
        self.residuals = nn.ModuleList(Residual(size, norm, dropout) for _ in range(2))

    def forward(self, values: Tensor, visible: Tensor | None) -> Tensor:
        def look(normed: Tensor) -> Tensor:
            queries, keys, contents = self.project(normed).chunk(3, dim=2)
            mixed: Tensor = self.mix(attend(queries, keys, contents, self.heads, visible)[0])
            return mixed

        attended: Tensor = self.residuals[0](values, look)
        after: Tensor = self.residuals[1](attended, self.feed_forward)
        return after


class DecoderLayer(nn.Module):
    """Self-attention over what was said, attention over the source, feed-forward."""

    def __init__(self, size: int, feed_forward: int, heads: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(size, 3 * size)
        self.mix = nn.Linear(size, size)
        self.query = nn.Linear(size, size)
        self.cross_mix = nn.Linear(size, size)
        self.feed_forward = FeedForward(size, feed_forward)
        self.residuals = nn.ModuleList(Residual(size, norm, dropout) for _ in range(3))

    def forward(
        self,
        values: Tensor,  # [B, T, d]
        past: Tensor | None,  # [B, P + T, 2 d] keys and values so far, with room for the new ones
        positions: Tensor,  # [B, T] where the new ones belong
        visible: Tensor | None,  # [B, 1, T, P + T]
        cross: Tensor,  # [B, S, 2 d] keys and values of the source
        source_visible: Tensor | None,  # [B, 1, 1, S]
        weights: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:  # [B, T, d], the cache [B, P + T, 2 d], [B, N, T, S] if asked for
        caches: list[Tensor] = []
        looks: list[Tensor | None] = []

        def look_back(normed: Tensor) -> Tensor:
            projected: Tensor = self.project(normed)
            query, new = projected[:, :, : normed.shape[2]], projected[:, :, normed.shape[2] :]
            cache = new if past is None else past.scatter(1, positions[:, :, None].expand_as(new), new.to(past.dtype))
            caches.append(cache)
            keys, contents = cache.to(query.dtype).chunk(2, dim=2)
            mixed: Tensor = self.mix(attend(query, keys, contents, self.heads, visible, causal=past is None)[0])
            return mixed

        def look_at_source(normed: Tensor) -> Tensor:
            keys, contents = cross.chunk(2, dim=2)
            mixed, seen = attend(self.query(normed), keys, contents, self.heads, source_visible, weights=weights)
            looks.append(seen)
            result: Tensor = self.cross_mix(mixed)
            return result

        values = self.residuals[0](values, look_back)
        values = self.residuals[1](values, look_at_source)
        values = self.residuals[2](values, self.feed_forward)
        return values, caches[0], looks[0]


def initialise_blocks(module: nn.Module) -> None:
    """Glorot & Bengio 2010 for every matrix, one by one where several products are made as one; no bias."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            fused = name.endswith(("project", "cross"))
            for block in torch.split(part.weight.data, part.in_features if fused else part.out_features):
                nn.init.xavier_uniform_(block)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
