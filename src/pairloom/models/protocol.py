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
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from pairloom.models.settings import ModelSettings

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""The ids of `<pad> <unk> <s> </s>`, the same in every vocabulary."""


@dataclass(frozen=True)
class Memory:
    """What the encoder hands over and no step changes. Models add fields; every field has the batch on axis 0.

    A field is a tensor, or a tuple of memories (an ensemble's). Fields named in `length_fields` have the source length
    on axis 1, so that memories of different length can be joined by padding.
    """

    mask: Tensor  # [B, S] True = a real source token
    length_fields: ClassVar[tuple[str, ...]] = ("mask",)


@dataclass(frozen=True)
class State:
    """What changes with every step: a value, handed in and returned, never kept. Batch on axis 0 of every field.

    A field is a tensor, or a tuple of states (an ensemble's). Fields named in `length_fields` have a length on axis 1
    (of what was decoded so far, or of the source), and are padded with 0 at the end when states are joined.
    """

    length_fields: ClassVar[tuple[str, ...]] = ()


class Step(NamedTuple):
    """The result of decoding T tokens."""

    hidden: Tensor  # [B, T, D], to be read by `logits`
    state: State  # after the last of the T tokens
    attention: Tensor | None  # [B, T, S] if asked for, each row sums to 1; None otherwise or if there is none
    heads: Tensor | None = None  # [B, L, N, T, S] if attention was asked for: that of each of L layers and N heads
    penalty: Tensor | None = None  # [B, T] what training adds to the loss of each token (coverage)


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

    settings_type: ClassVar[type[ModelSettings]]

    def __init__(self, settings: Any, source_size: int, target_size: int, joint: bool = False) -> None:
        """Settings of its type, sizes of the vocabularies; `joint`: both sides share one, and its embeddings."""
        super().__init__()

    def context(self, memory: Memory) -> Tensor:
        """The source as one vector [B, D]: the state from which the decoder starts, or the mean of the annotations."""
        raise NotImplementedError

    def annotations(self, memory: Memory) -> Tensor | None:
        """What the encoder says of each source token [B, S, A], which attention averages; None: no such thing."""
        return None


class Batched(Protocol):
    """A dataclass of tensors with the batch on axis 0: a memory, a state, or what a search knows of its sentences."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    length_fields: ClassVar[tuple[str, ...]]


Value = TypeVar("Value", bound=Batched)
AnyMemory = TypeVar("AnyMemory", bound=Memory)


def select(value: Value, rows: Tensor) -> Value:
    """The rows [R] of a memory or state, in that order (repeated or left out as `rows` says)."""

    def chosen(part: Any) -> Any:
        return tuple(select(one, rows) for one in part) if isinstance(part, tuple) else part.index_select(0, rows)

    return replace(value, **{field.name: chosen(getattr(value, field.name)) for field in fields(value)})


def join(values: Sequence[Value]) -> Value:
    """Several memories or states as one batch; the shorter ones are padded (False in the mask, 0 elsewhere)."""
    first = values[0]
    if len(values) == 1:
        return first
    joined: dict[str, Any] = {}
    for field in fields(first):
        parts = [getattr(value, field.name) for value in values]
        if isinstance(parts[0], tuple):
            joined[field.name] = tuple(join(members) for members in zip(*parts, strict=True))
            continue
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
    cut: dict[str, Any] = {name: getattr(memory, name)[:, :longest] for name in memory.length_fields}
    nested = {f.name: getattr(memory, f.name) for f in fields(memory) if isinstance(getattr(memory, f.name), tuple)}
    cut |= {name: tuple(trim(cast(Memory, member)) for member in members) for name, members in nested.items()}
    return replace(memory, **cut)
