"""The order of the target vocabulary inside the engine.

    [ tokens that can be said, in blocks | </s>, a block of its own | <pad> <unk> <s>, which are never said ]

The tokens that a search may choose are one stretch of whole blocks, with or without the one of `</s>`. So the best of
them are found through the maxima of blocks, and nothing has to be masked. What fills up a block has a bias of minus
infinity: it takes no part of the probability and is never chosen. A place in this order is called a position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pairloom.engine.wire import Array
from pairloom.text.components import BOS, EOS, PAD, UNK

FIRST = 4  # the first id that is no special token
BLOCK = 64
BLOCKS_FROM = 1024
"""Tokens of a vocabulary from which looking at maxima of blocks first is faster than looking at all of them."""


@dataclass(frozen=True)
class Layout:
    """The order for a vocabulary of `size` tokens."""

    size: int

    @property
    def block(self) -> int:
        """Positions in a block; 1: there are no blocks."""
        return BLOCK if self.size >= BLOCKS_FROM else 1

    @property
    def end(self) -> int:
        """The position of `</s>`: everything before it can be said, or fills up a block."""
        return -(-(self.size - FIRST) // self.block) * self.block

    @property
    def never(self) -> int:
        """The position from which on nothing is ever said."""
        return self.end + self.block

    @property
    def length(self) -> int:
        """V', all positions."""
        return self.never + -(-3 // self.block) * self.block

    def opening(self, width: int) -> int:
        """Rows of each sentence in the first step of a beam: one, if it has enough blocks to go on with W others."""
        return 1 if self.end // self.block >= width else width

    @cached_property
    def ids(self) -> npt.NDArray[np.int64]:
        """[V'] position → id; -1: nothing is there."""
        ids = np.full(self.length, -1, np.int64)
        ids[: self.size - FIRST] = np.arange(FIRST, self.size)
        ids[self.end] = EOS
        ids[self.never : self.never + 3] = PAD, UNK, BOS
        return ids

    @cached_property
    def names(self) -> list[int]:
        """`ids` as a list; `<unk>` where nothing is, which only a model that computes NaN ever says."""
        found: list[int] = np.where(self.ids < 0, UNK, self.ids).tolist()
        return found

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """[V] id → position"""
        positions = np.zeros(self.size, np.int64)
        real = self.ids >= 0
        positions[self.ids[real]] = np.nonzero(real)[0]
        return positions

    def ordered(self, rows: Array, filler: float = 0.0) -> Array:
        """[V, ...] by id → [V', ...] by position."""
        found = rows[self.ids]  # -1 takes the last row, which is then overwritten
        found[self.ids < 0] = filler
        return found


@dataclass(frozen=True)
class Listed(Layout):
    """The order of a few words of a vocabulary: as if they were one of their own, of `size` tokens."""

    words: tuple[int, ...] = ()  # their ids, `size` - 4 at most

    @cached_property
    def ids(self) -> npt.NDArray[np.int64]:
        """[V'] position → id in the whole vocabulary; -1: nothing is there."""
        known = np.full(self.size, -1, np.int64)
        known[:FIRST] = np.arange(FIRST)
        known[FIRST : FIRST + len(self.words)] = self.words
        own = Layout(self.size).ids
        return np.where(own < 0, -1, known[own])
