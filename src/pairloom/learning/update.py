"""The gradient of one batch, whole or, where memory does not suffice, added up from its pieces.

The loss of each piece is divided by the target tokens of the whole batch, so the sum of the gradients is the one that
the whole would have given: a cut batch teaches the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil

import torch

from pairloom.errors import StorageError, is_out_of_memory
from pairloom.learning.feeding import TensorBatch
from pairloom.learning.forcing import feed
from pairloom.learning.loss import backward_in_chunks
from pairloom.models.protocol import Model


@dataclass(frozen=True)
class Feeding:
    """How the decoder is fed in this update, and what its loss is."""

    share: float  # of true tokens, 0 to 1
    sample: bool  # its own tokens are drawn rather than the best
    label_smoothing: float


@dataclass(frozen=True)
class Gradients:
    """What `add_gradients` has done."""

    loss: float  # summed cross-entropy over the target tokens, in nats
    tokens: int
    largest: int | None  # see `Progress`; smaller than it was if memory gave out
    cut: bool  # memory gave out


def add_gradients(
    model: Model,
    batch: TensorBatch,
    feeding: Feeding,
    largest: int | None,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Gradients:
    """Sets the gradient of the mean loss a token on every parameter.

    A batch of more than `largest` padded cells is taken in pieces, and in ever smaller ones until memory suffices.
    Raises StorageError if it does not even for a single pair.
    """
    tokens = int(batch.target_mask.sum())
    allowed = largest
    while True:
        model.zero_grad(set_to_none=True)
        try:
            loss = 0.0
            for piece in pieces(batch, allowed):
                with autocast():
                    loss += _add(model, piece, feeding, tokens)
            return Gradients(loss, tokens, allowed, cut=allowed != largest)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler: until here the error holds on to the frames, and with them to what fills the memory.
        allowed = smaller(batch, allowed)


def _add(model: Model, batch: TensorBatch, feeding: Feeding, tokens: int) -> float:
    memory = model.encode(batch.source, batch.source_mask)
    fed = feed(model, memory, batch.target_in, feeding.share, feeding.sample)
    mask = batch.target_mask
    penalty = None if fed.penalty is None else fed.penalty[mask]
    targets = batch.target_out[mask]
    smoothing = feeding.label_smoothing
    return float(
        backward_in_chunks(fed.hidden[mask], targets, model.logits, smoothing, divisor=tokens, penalty=penalty)
    )


def pieces(batch: TensorBatch, largest: int | None) -> Iterator[TensorBatch]:
    """The batch in as few parts of nearly the same number of pairs as keep each within `largest` padded cells."""
    rows, most = len(batch.source), _pairs_at_once(batch, largest)
    if most == rows:
        yield batch
        return
    count = ceil(rows / most)
    for part in torch.tensor_split(torch.arange(rows, device=batch.source.device), count):
        source, target = (int(mask[part].sum(1).max()) for mask in (batch.source_mask, batch.target_mask))
        yield TensorBatch(
            batch.source[part, :source],
            batch.source_mask[part, :source],
            batch.target_in[part, :target],
            batch.target_out[part, :target],
            batch.target_mask[part, :target],
        )


def _width(batch: TensorBatch) -> int:
    """Padded cells of one pair, of its longer side."""
    return max(batch.source.shape[1], batch.target_in.shape[1])


def _pairs_at_once(batch: TensorBatch, largest: int | None) -> int:
    rows = len(batch.source)
    return rows if largest is None else min(rows, max(1, largest // _width(batch)))


def smaller(batch: TensorBatch, largest: int | None) -> int:
    """Half of what was too much. Raises StorageError where that was a single pair."""
    most = _pairs_at_once(batch, largest)
    if most == 1:
        source, target = batch.source.shape[1], batch.target_in.shape[1]
        raise StorageError(
            f"memory does not even suffice for one pair of {source} source and {target} target tokens: "
            "lower --max-source and --max-target, or choose a smaller model (--set model.hidden=...)"
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return _width(batch) * ceil(most / 2)
