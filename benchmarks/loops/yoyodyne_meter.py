"""A callback for yoyodyne's trainer: yoyodyne itself is run by its own command, as its documentation has it."""

from __future__ import annotations

from typing import Any

from common import Meter
from lightning.pytorch.callbacks import Callback


class Speed(Callback):
    """Counts the words and target tokens of every update."""

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """The clock starts."""
        print("parameters", sum(p.numel() for p in module.parameters()), flush=True)
        self.meter = Meter()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """One update more."""
        self.meter.count(int((~batch.target.mask).sum()), len(batch.target))
