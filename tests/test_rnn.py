"""What is particular to the fixed context vector: it is the encoder's last state, and all that the decoder gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pairloom.models.protocol import BOS, EOS, PAD
from pairloom.models.rnn import RNNMemory, RNNModel, backwards
from pairloom.models.rnn_settings import RNNSettings


def build(**changes: Any) -> RNNModel:
    torch.manual_seed(0)
    settings = RNNSettings(**{"embedding": 6, "hidden": 10, "layers": 2, "dropout": 0.0, **changes})
    return RNNModel(settings, 20, 20).eval()


def batch(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(4, 20, mask.shape, generator=torch.Generator().manual_seed(1)).masked_fill(~mask, PAD)
    ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = EOS
    return ids, mask


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_context_is_the_state_after_the_last_real_token(cell: str) -> None:
    model = build(cell=cell, reverse_source=False)
    ids, mask = batch(2, 7, 4, 7)
    memory = model.encode(ids, mask)
    assert isinstance(memory, RNNMemory)
    for row, length in enumerate((2, 7, 4, 7)):
        embedded = model._embed(model.source_embedding, ids[row : row + 1, :length])  # type: ignore[arg-type]
        _, state = model.encoder(embedded)
        parts = state if cell == "lstm" else (state,)
        for number, part in enumerate(parts):
            torch.testing.assert_close(memory.last[row, number], part[:, 0], atol=1e-6, rtol=1e-5)


def test_a_reversed_source_is_that_source_read_from_the_back() -> None:
    ids, mask = batch(5, 3, 1)
    assert backwards(mask).tolist() == [[3, 2, 1, 0, 4], [1, 0, 2, 3, 4], [0, 1, 2, 3, 4]]
    plain, reverse = build(reverse_source=False), build()
    there = plain.encode(ids.gather(1, backwards(mask)), mask)
    torch.testing.assert_close(reverse.encode(ids, mask).last, there.last)


def test_the_decoder_gets_the_context_and_nothing_else() -> None:
    model = build()
    ids, mask = batch(6, 4)
    memory = model.encode(ids, mask)
    other = RNNMemory(mask=torch.ones(2, 1, dtype=torch.bool), last=memory.last)
    tokens = torch.tensor([[BOS, 5, 6], [BOS, 7, 8]])
    seen, blind = (model.decode(tokens, m, model.start(m), attention=True) for m in (memory, other))
    torch.testing.assert_close(seen.hidden, blind.hidden)
    assert seen.attention is None
    assert model.context(memory).shape == (2, 2 * 2 * 10)
