"""What the training loops of the peers share: the tokens, batches of like length, and a line for every few updates.

The files hold one sentence a line, its token ids apart by spaces, the `</s>` at the end left out. Ids 0, 2 and 3 are
`<pad>`, `<s>` and `</s>`, as in pairloom.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch

PAD, BOS, EOS = 0, 2, 3
EVERY = 5
"""Updates between two lines."""


def read(path: Path) -> list[list[int]]:
    """Sentences as ids, each ending with `</s>`."""
    return [[*map(int, line.split()), EOS] for line in path.read_text("utf-8").splitlines()]


def batches(folder: Path, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of padded batches [size, length] for ever: shuffled, sorted by length within a hundred batches."""
    source, target = read(folder / "train.source"), read(folder / "train.target")
    rows = list(range(len(source)))
    while True:
        random.shuffle(rows)
        pools = [
            sorted(rows[i : i + 100 * size], key=lambda row: len(target[row])) for i in range(0, len(rows), 100 * size)
        ]
        order = [row for pool in pools for row in pool]
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        random.shuffle(parts)
        for part in parts:
            yield padded([source[row] for row in part]), padded([target[row] for row in part])


def padded(sentences: list[list[int]]) -> torch.Tensor:
    """As one tensor."""
    longest = max(map(len, sentences))
    return torch.tensor([[*one, *[PAD] * (longest - len(one))] for one in sentences])


class Meter:
    """Prints `speed TOKENS_A_SECOND SENTENCES_A_SECOND` every few updates; padding does not count."""

    def __init__(self) -> None:
        self._updates = self._tokens = self._sentences = 0
        self._began = time.perf_counter()

    def count(self, tokens: int, sentences: int) -> None:
        """After an update."""
        self._updates, self._tokens, self._sentences = (
            self._updates + 1,
            self._tokens + tokens,
            self._sentences + sentences,
        )
        if self._updates % EVERY:
            return
        elapsed = time.perf_counter() - self._began
        print(f"speed {self._tokens / elapsed:.1f} {self._sentences / elapsed:.2f}", flush=True)
        self._tokens = self._sentences = 0
        self._began = time.perf_counter()
