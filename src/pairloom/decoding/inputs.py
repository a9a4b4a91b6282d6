"""What searching and scoring share: how a model is called, and how sources become a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pairloom.models.protocol import EOS, PAD, EncoderDecoder


@contextmanager
def evaluating(model: EncoderDecoder) -> Iterator[None]:
    """No gradients, no dropout; every module is then put back into the mode that it was in."""
    modules = [module for module in model.modules() if module.training] if isinstance(model, nn.Module) else []
    for module in modules:
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in modules:
            module.training = True


def device_of(model: EncoderDecoder) -> torch.device:
    """Where the model's parameters are; the processor if it has none."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device


def pad_rows(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of different length → [B, longest], PAD at the end."""
    longest = max(map(len, rows))
    padded = [[*row, *[PAD] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long, device=device).view(len(rows), longest)


def source_batch(sources: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sources without `</s>` → ids [B, S] with it, and the mask [B, S], as in training."""
    ids = pad_rows([[*source, EOS] for source in sources], device)
    lengths = torch.tensor([len(source) + 1 for source in sources], device=device)
    return ids, torch.arange(ids.shape[1], device=device) < lengths[:, None]
