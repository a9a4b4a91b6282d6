"""The log-probability of given targets, by the same `decode` that trains and generates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pairloom.decoding.inputs import device_of, evaluating, pad_rows, source_batch
from pairloom.errors import UsageError
from pairloom.models.protocol import BOS, EncoderDecoder

CHUNK = 2048
"""Target tokens whose probabilities over the whole vocabulary are held at a time."""


class TargetScore(NamedTuple):
    """How probable one target is."""

    score: float  # the sum of `tokens`
    tokens: list[float]  # log-probability (natural logarithm) of each token, that of `</s>` last


def score_targets(
    model: EncoderDecoder,
    sources: Sequence[Sequence[int]],  # ids without `</s>`
    targets: Sequence[Sequence[int]],  # ids without `<s>` and `</s>`, one for each source
    *,
    batch: int = 64,
) -> list[TargetScore]:
    """log P(target, `</s>` | source) under teacher forcing, in the order of the input, `batch` pairs at a time."""
    if len(sources) != len(targets):
        raise UsageError(f"{len(sources)} sources but {len(targets)} targets: give one target for each source.")
    if batch < 1:
        raise UsageError(f"batch={batch}: it must be at least 1.")
    order = sorted(range(len(sources)), key=lambda place: (len(targets[place]), len(sources[place])), reverse=True)
    results = [TargetScore(0.0, [])] * len(sources)
    with evaluating(model):
        for begin in range(0, len(order), batch):
            places = order[begin : begin + batch]
            scored = _score_batch(model, [sources[place] for place in places], [targets[place] for place in places])
            for place, tokens in zip(places, scored, strict=True):
                results[place] = TargetScore(sum(tokens), tokens)
    return results


def _score_batch(
    model: EncoderDecoder, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The log-probabilities of every target's tokens."""
    device = device_of(model)
    memory = model.encode(*source_batch(sources, device))
    inputs = pad_rows([[BOS, *target] for target in targets], device)
    wanted, mask = source_batch(targets, device)  # a target is padded, and ends, as a source does
    hidden = model.decode(inputs, memory, model.start(memory)).hidden[mask]  # [tokens of the batch, D]
    values = log_probs_of(model, hidden, wanted[mask])
    return [value.tolist() for value in torch.split(values, [len(target) + 1 for target in targets])]


def log_probs_of(model: EncoderDecoder, hidden: Tensor, tokens: Tensor) -> Tensor:
    """hidden [P, D] and tokens [P] → log P of each token [P] in float32; a chunk at a time, as [P, V] may be large."""
    chunks = zip(torch.split(hidden, CHUNK), torch.split(tokens, CHUNK), strict=True)
    return torch.cat([model.logits(h).float().log_softmax(1).gather(1, t[:, None])[:, 0] for h, t in chunks])
