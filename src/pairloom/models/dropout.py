"""Dropout (Srivastava et al. 2014) with cheap random bits.

torch draws one random number for each unit, and on a processor that costs more than the attention does. A generator
gives 64 bits at a time: four units can share a draw, each with 16 bits of its own. The share of dropped units is so
exact to 1/65,536.

What is kept is all ones and what is dropped all zeros, so dropping is a bitwise "and" with the numbers themselves: no
mask has to be brought to their precision, and a mask takes two bytes a unit until the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 2**16

BITS: dict[torch.dtype, torch.dtype] = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
"""Numbers → integers of their width."""


class Dropout(nn.Dropout):
    """As `torch.nn.Dropout`, several times as fast on a processor; the draws are those of torch's own generator."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or self.p == 0 or values.device.type != "cpu":
            return super().forward(values)
        dropped: Tensor = _Drop.apply(values, draw_kept(values.shape, self.p), 1 / (1 - self.p))  # type: ignore[no-untyped-call]
        return dropped


def draw_kept(shape: tuple[int, ...], p: float) -> Tensor:
    """int16 of that shape, -1 (all bits are ones) for a unit that is kept and 0 for one that is dropped; the share `p`
    is dropped."""
    count = torch.Size(shape).numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return bits[:count].view(shape).ge_(round(p * LEVELS) - LEVELS // 2).neg_()


def drop(values: Tensor, kept: Tensor, scale: float) -> Tensor:
    """values · scale where `kept` says so, else 0."""
    bits = BITS[values.dtype]
    return (values * scale).view(bits).bitwise_and_(kept.to(bits)).view(values.dtype)


class _Drop(torch.autograd.Function):
    """`drop`, and the same for the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return drop(values, kept, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return drop(gradients[0], kept, ctx.scale), None, None
