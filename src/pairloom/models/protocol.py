"""What every model of pairloom offers, and the few operations on its values that are written once, here.

Glossary of dimensions, used in every model file:

    B  sentences in the batch          S  source tokens (padded)          V  size of the target vocabulary
    T  target tokens (padded)          E  size of an embedding            H  size of a hidden state
    L  layers                          D  size of what `logits` reads     K  beams

One mask rule everywhere: True = a real token. A model knows integers only; text lives one floor below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""The ids of `<pad> <unk> <s> </s>`, the same in every vocabulary."""


@dataclass(frozen=True)
class Memory:
    """What the encoder hands over and no step changes. Models add fields; every field has the batch on axis 0.

    Fields named in `length_fields` have the source length on axis 1, so that memories of different length can be
    joined by padding.
    """

    mask: Tensor  # [B, S] True = a real source token
    length_fields: ClassVar[tuple[str, ...]] = ("mask",)


@dataclass(frozen=True)
class State:
    """What changes with every step: a value, handed in and returned, never kept. Batch on axis 0 of every field."""

    length_fields: ClassVar[tuple[str, ...]] = ()


class Step(NamedTuple):
    """The result of decoding T tokens."""

    hidden: Tensor  # [B, T, D], to be read by `logits`
    state: State  # after the last of the T tokens
    attention: Tensor | None  # [B, T, S] if asked for, each row sums to 1; None otherwise or if there is none


class EncoderDecoder(Protocol):
    """The one interface: training is `decode` on all T (teacher forcing), generation is `decode` with T = 1."""

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        """[B, S] ids and mask → what the decoder may look at."""
        ...

    def start(self, memory: Memory) -> State:
        """The state before the first target token."""
        ...

    def decode(self, tokens: Tensor, memory: Memory, state: State, *, attention: bool = False) -> Step:
        """[B, T] ids of the previous tokens (the first is `<s>`) → hidden [B, T, D], the next state."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] → [..., V]; apart from `decode`, so that the loss can work in chunks."""
        ...


class Model(nn.Module, EncoderDecoder):
    """An `EncoderDecoder` that is a torch module and so has parameters: what the trainer and the folder hold."""


class Batched(Protocol):
    """A dataclass of tensors with the batch on axis 0: a memory, a state, or what a search knows of its sentences."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    length_fields: ClassVar[tuple[str, ...]]


Value = TypeVar("Value", bound=Batched)
AnyMemory = TypeVar("AnyMemory", bound=Memory)


def select(value: Value, rows: Tensor) -> Value:
    """The rows [R] of a memory or state, in that order (repeated or left out as `rows` says)."""
    chosen = {f.name: getattr(value, f.name).index_select(0, rows) for f in fields(value)}
    return replace(value, **chosen)


def join(values: Sequence[Value]) -> Value:
    """Several memories or states as one batch; the shorter ones are padded (False in the mask, 0 elsewhere)."""
    first = values[0]
    if len(values) == 1:
        return first
    joined = {}
    for field in fields(first):
        parts = [getattr(value, field.name) for value in values]
        if field.name in first.length_fields:
            longest = max(part.shape[1] for part in parts)
            parts = [pad_to(part, longest) for part in parts]
        joined[field.name] = torch.cat(parts)
    return replace(first, **joined)


def pad_to(tensor: Tensor, length: int) -> Tensor:
    """[B, S, ...] → [B, length, ...], filled with zeros (False)."""
    missing = length - tensor.shape[1]
    if missing <= 0:
        return tensor
    filler = tensor.new_zeros((tensor.shape[0], missing, *tensor.shape[2:]))
    return torch.cat([tensor, filler], dim=1)


def trim(memory: AnyMemory) -> AnyMemory:
    """A memory without the columns that are padding in every row (after long sentences have left the batch)."""
    longest = int(memory.mask.sum(1).max())
    if longest >= memory.mask.shape[1]:
        return memory
    cut = {name: getattr(memory, name)[:, :longest] for name in memory.length_fields}
    return replace(memory, **cut)
