"""A tiny model after the protocol, with random weights: a recurrent net with attention in plain torch, quick to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pairloom.models.protocol import EOS, Memory, State, Step

WIDTH = 12


@dataclass(frozen=True)
class ToyMemory(Memory):
    values: Tensor  # [B, S, WIDTH]
    length_fields: ClassVar[tuple[str, ...]] = ("mask", "values")


@dataclass(frozen=True)
class ToyState(State):
    hidden: Tensor  # [B, WIDTH]


class ToyModel(nn.Module):
    """h_t = tanh(W [h_{t-1}; embedding; attention]), with weights so large that outputs vary in length and content."""

    def __init__(self, size: int = 14, seed: int = 0, end_bias: float = 0.0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)

        def weights(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*shape, generator=random))

        self.source = weights(size, WIDTH, scale=1.0)
        self.target = weights(size, WIDTH, scale=1.0)
        self.mix = weights(3 * WIDTH, WIDTH, scale=0.5)
        self.out = weights(WIDTH, size, scale=0.9)
        bias = torch.zeros(size)
        bias[EOS] = end_bias
        self.bias = nn.Parameter(bias)
        self.dropout = nn.Dropout(0.5)
        self.calls: list[tuple[str, int, int]] = []  # what was called, with how many rows and source columns

    def encode(self, source: Tensor, source_mask: Tensor) -> ToyMemory:
        self.calls.append(("encode", *source.shape))
        place = torch.arange(source.shape[1], device=source.device)[None, :, None]
        return ToyMemory(mask=source_mask, values=self.dropout(self.source[source] + torch.cos(place * 1.7)))

    def start(self, memory: Any) -> ToyState:
        return ToyState(hidden=torch.tanh((memory.values * memory.mask[:, :, None]).sum(1)))

    def decode(self, tokens: Tensor, memory: Any, state: Any, *, attention: bool = False) -> Step:
        self.calls.append(("decode", *memory.mask.shape))
        hidden, outputs, looks = state.hidden, [], []
        for token in tokens.T:
            scores = (memory.values @ hidden[:, :, None])[:, :, 0].masked_fill(~memory.mask, -torch.inf)
            look = scores.softmax(1)
            context = (look[:, None] @ memory.values)[:, 0]
            hidden = torch.tanh(torch.cat([hidden, self.target[token], context], dim=1) @ self.mix)
            outputs.append(self.dropout(hidden))
            looks.append(look)
        return Step(torch.stack(outputs, 1), ToyState(hidden=hidden), torch.stack(looks, 1) if attention else None)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.out + self.bias


def toy_sources(count: int, size: int = 14, seed: int = 0, longest: int = 12) -> list[list[int]]:
    """Sources of 0 to `longest` ordinary tokens."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (count,), generator=random).tolist()
    return [torch.randint(4, size, (length,), generator=random).tolist() for length in lengths]
