"""The score of a model on the development set, under teacher forcing whatever the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch

from pairloom.errors import is_out_of_memory
from pairloom.learning.feeding import TensorBatch
from pairloom.learning.loss import loss_and_exact
from pairloom.learning.update import pieces, smaller
from pairloom.models.protocol import Model


@torch.no_grad()
def validate(
    model: Model, batches: Iterable[TensorBatch], autocast: Callable[[], AbstractContextManager[object]]
) -> tuple[float, float]:
    """Mean loss a token (not smoothed) and the share of targets wholly right.

    Where memory gives out, batches are taken in ever smaller pieces, as in training. Raises StorageError if it does not
    even suffice for a single pair.
    """
    loss, tokens, right, pairs = 0.0, 0, 0, 0
    largest: int | None = None
    for batch in batches:
        while True:
            try:
                parts = [_judge(model, piece, autocast) for piece in pieces(batch, largest)]
                break
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            largest = smaller(batch, largest)  # outside of the handler, which holds on to what fills the memory
        loss, right = loss + sum(part[0] for part in parts), right + sum(part[1] for part in parts)
        tokens, pairs = tokens + int(batch.target_mask.sum()), pairs + len(batch.target_mask)
    return loss / max(tokens, 1), right / max(pairs, 1)


def _judge(
    model: Model, batch: TensorBatch, autocast: Callable[[], AbstractContextManager[object]]
) -> tuple[float, int]:
    """Summed loss and the number of targets wholly right."""
    with autocast():
        memory = model.encode(batch.source, batch.source_mask)
        hidden = model.decode(batch.target_in, memory, model.start(memory)).hidden
        return loss_and_exact(hidden, batch.target_mask, batch.target_out, model.logits)
