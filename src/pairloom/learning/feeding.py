"""Batches as tensors, for the trainer: from the memory-mapped corpus, in an order that (seed, epoch) alone decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pairloom.learning.settings import TrainingSettings
from pairloom.text.batches import BatchSettings, epoch_batches, make_batch
from pairloom.text.corpus import Corpus


@dataclass(frozen=True)
class TensorBatch:
    """B pairs, padded. The decoder reads `target_in` and is to say `target_out`: the same tokens, one step later."""

    source: Tensor  # [B, S] ids, each sentence ending with `</s>`
    source_mask: Tensor  # [B, S] True = a real token
    target_in: Tensor  # [B, T] `<s>` and the target
    target_out: Tensor  # [B, T] the target and `</s>`
    target_mask: Tensor  # [B, T]


class Feed:
    """The training and the development pairs as batches on a device."""

    def __init__(self, train: Corpus, development: Corpus, settings: TrainingSettings, device: torch.device) -> None:
        self._train, self._development, self._device = train, development, device
        self._seed, self._most = settings.seed, settings.validation_pairs
        self._settings = BatchSettings(tokens=settings.batch_tokens)
        self._epoch = -1
        self._order: list[np.ndarray] = []

    def batches(self, epoch: int) -> int:
        """How many batches the epoch has."""
        return len(self._epoch_order(epoch))

    def batch(self, epoch: int, number: int) -> TensorBatch:
        """Batch `number` of the epoch, both from 0."""
        return self._tensors(self._train, self._epoch_order(epoch)[number])

    def development(self) -> Iterator[TensorBatch]:
        """The development pairs (the first of them, if there are many), longest first."""
        rows = np.arange(min(len(self._development), self._most))
        rows = rows[np.argsort(-self._development.target_lengths[rows], kind="stable")]
        for start in range(0, len(rows), 100):
            yield self._tensors(self._development, rows[start : start + 100])

    def _epoch_order(self, epoch: int) -> list[np.ndarray]:
        if epoch != self._epoch:
            lengths = (self._train.source_lengths, self._train.target_lengths)
            self._order, self._epoch = epoch_batches(*lengths, self._settings, self._seed, epoch), epoch
        return self._order

    def _tensors(self, corpus: Corpus, rows: np.ndarray) -> TensorBatch:
        batch = make_batch(corpus, rows)
        arrays = (batch.source, batch.source_mask, batch.target_in, batch.target_out, batch.target_mask)
        return TensorBatch(*(torch.from_numpy(array).to(self._device) for array in arrays))
