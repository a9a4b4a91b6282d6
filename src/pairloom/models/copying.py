"""Copying: the next token is made from the vocabulary, or pointed at in the source.

    See, Liu, Manning 2017    arXiv 1704.04368, section 2.2, equations 8 and 9: the pointer-generator network

Dimensions: B sentences, T target tokens, S source tokens, E combined vector, H hidden state, A annotation, V
vocabulary, and D = E + 1 + 2 S, what `logits` reads.

`logits` has to give the mixed distribution from `hidden` alone, so that the loss can go through rows of many sentences
in chunks. So `hidden` carries all of it, in float32: the combined vector, the logit of p_gen, the attention, and the
ids of the source as numbers (exact up to 2^24; 16-bit floats would round them, so they are packed as float32 even
where the rest of the model works with bfloat16). A hidden vector never lives across steps: D may change with S.

An id of the source must mean the same in the target: copying needs a joint vocabulary. There is no extended vocabulary
for unknown words (docs/decisions/0005-copying-with-a-joint-vocabulary.md).

The `</s>` that ends every source may be copied: a decoder that has followed the source to its end then points at the
end, and the weights need no second normalisation. `<pad>` cannot be: the attention there is exactly 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

LEAST = 1e-30
"""Probabilities are at least this before the logarithm (-69): never log(0), whose gradient is not a number."""


class Packed(NamedTuple):
    """The parts of `hidden`."""

    combined: Tensor  # [..., E]
    gate: Tensor  # [..., 1] the logit of p_gen
    weights: Tensor  # [..., S]
    ids: Tensor  # [..., S] int64


class CopyGate(nn.Module):
    """p_gen, the probability of making the token rather than copying it (See et al. 2017, equation 8)."""

    def __init__(self, annotation: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.gate = nn.Linear(annotation + hidden + embedding, 1)

    def forward(
        self,
        context: Tensor,  # [B, T, A]
        outputs: Tensor,  # [B, T, H]
        embedded: Tensor,  # [B, T, E] the decoder's input
    ) -> Tensor:  # [B, T, 1], before the sigmoid
        gate: Tensor = self.gate(torch.cat([context, outputs, embedded], dim=2))
        return gate


def pack(
    combined: Tensor,  # [B, T, E]
    gate: Tensor,  # [B, T, 1]
    weights: Tensor,  # [B, T, S]
    source: Tensor,  # [B, S] ids
) -> Tensor:
    """→ hidden [B, T, E + 1 + 2 S] in float32"""
    ids = source.float().unsqueeze(1).expand_as(weights)
    return torch.cat([combined.float(), gate.float(), weights.float(), ids], dim=2)


def unpack(hidden: Tensor, embedding: int) -> Packed:
    """hidden [..., E + 1 + 2 S] → its parts, for any leading dimensions."""
    length = (hidden.shape[-1] - embedding - 1) // 2
    combined, gate, weights, ids = torch.split(hidden, [embedding, 1, length, length], dim=-1)
    return Packed(combined, gate, weights, ids.long())


def mix(vocabulary: Tensor, packed: Packed) -> Tensor:
    """Logits [..., V] of the vocabulary → log P [..., V] (See et al. 2017, equation 9), in float32.

    P(w) = p_gen softmax(vocabulary)_w + (1 - p_gen) Σ_{i: source_i = w} weights_i
    """
    generate = packed.gate.float().sigmoid()
    made = vocabulary.float().softmax(dim=-1) * generate
    copied = packed.weights.float() * (1.0 - generate)
    return made.scatter_add(-1, packed.ids, copied).clamp_min(LEAST).log()
