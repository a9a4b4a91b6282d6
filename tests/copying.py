"""What the tests of training share: a feed of sequences to be copied, and a trainer on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from pairloom.learning.feeding import TensorBatch
from pairloom.learning.settings import TrainingSettings
from pairloom.learning.trainer import Trainer
from pairloom.models.attention import AttentionModel, AttentionSettings
from pairloom.models.protocol import BOS, EOS, PAD, Model


class CopyFeed:
    """Batches of random sequences to be copied; a pure function of (epoch, number), as the real feed is."""

    def batches(self, epoch: int) -> int:
        return 7

    def batch(self, epoch: int, number: int) -> TensorBatch:
        return self._make(1000 * epoch + number)

    def development(self) -> Iterator[TensorBatch]:
        yield self._make(999_999)

    @staticmethod
    def _make(seed: int) -> TensorBatch:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, 5, (6,), generator=generator)
        ids = torch.randint(4, 12, (6, 5), generator=generator)
        mask = torch.arange(5) <= lengths[:, None]
        ids = ids.masked_fill(~mask, PAD)
        ids[torch.arange(6), lengths] = EOS
        begin = torch.cat([torch.full((6, 1), BOS), ids[:, :-1]], dim=1)
        return TensorBatch(ids, mask, begin, ids, mask)


def trainer(
    tmp_path: Path, stop: Callable[[], bool] = lambda: False, model: Model | None = None, **settings: Any
) -> Trainer:
    """A short run of a tiny model (or of `model`), its checkpoints in `tmp_path`."""
    chosen = TrainingSettings(**{"steps": 60, "warmup": 5, "validations": 6, "save_seconds": 0, **settings})
    torch.manual_seed(chosen.seed)
    if model is None:
        model = AttentionModel(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16, dropout=0.1), 12, 12)
    return Trainer(model, CopyFeed(), chosen, checkpoints=tmp_path, stop=stop)  # type: ignore[arg-type]
