"""What is particular to the Transformer: positions, causality, the cache, its heads; against torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from pairloom.models import layers
from pairloom.models.layers import EncoderLayer, attend, sinusoids
from pairloom.models.protocol import BOS, EOS, join, select
from pairloom.models.transformer import TransformerModel
from pairloom.models.transformer_settings import TransformerSettings

SETTINGS = TransformerSettings(size=8, feed_forward=12, heads=2, encoder_layers=2, decoder_layers=3)


def build(**changes: object) -> TransformerModel:
    torch.manual_seed(0)
    model = TransformerModel(SETTINGS.model_copy(update=changes), 20, 20)
    return model.eval()


def sources(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.full(mask.shape, EOS).masked_fill(~mask, 0), mask


def test_positions_are_the_formula_of_the_paper() -> None:
    given = sinusoids(torch.tensor([[0, 3, 70]]), 8)[0]
    for row, position in zip(given.tolist(), (0, 3, 70), strict=True):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            assert row[2 * i] == pytest.approx(math.sin(angle), abs=1e-5)
            assert row[2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("fused_from", [0, 10**6])
def test_attention_with_weights_is_attention_without(
    causal: bool, fused_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "FUSED_FROM", fused_from)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 5, 8) for _ in range(3))
    visible = None if causal else torch.tensor([[True] * 5, [True, True, False, False, True]])[:, None, None]
    fused, none = attend(q, k, v, 2, visible, causal)
    plain, weights = attend(q, k, v, 2, visible, causal, weights=True)
    assert none is None
    assert weights is not None
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(weights.sum(3), torch.ones(2, 2, 5))
    if causal:
        assert (weights.triu(1) == 0).all()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_encoder_layer_is_that_of_torch(norm: str) -> None:
    torch.manual_seed(0)
    ours = EncoderLayer(8, 12, 2, norm, 0.0).eval()
    theirs = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=norm == "pre").eval()
    theirs.self_attn.in_proj_weight.data = ours.project.weight.data
    theirs.self_attn.in_proj_bias.data = ours.project.bias.data
    theirs.self_attn.out_proj.load_state_dict(ours.mix.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
    values = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(values, None), theirs(values), atol=1e-5, rtol=1e-5)


def test_a_later_token_changes_nothing_before_it() -> None:
    model = build()
    memory = model.encode(*sources(4))
    tokens = torch.tensor([[BOS, 5, 6, 7]])
    before = model.decode(tokens, memory, model.start(memory)).hidden
    after = model.decode(tokens.index_fill(1, torch.tensor([3]), 9), memory, model.start(memory)).hidden
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_rows_at_different_positions_share_a_batch() -> None:
    model = build()
    memories = [model.encode(*sources(5)), model.encode(*sources(3))]
    long = model.decode(torch.tensor([[BOS, 5, 6, 7]]), memories[0], model.start(memories[0])).state
    fresh = model.start(memories[1])
    both, state = join(memories), join([long, fresh])
    tokens, next_tokens = torch.tensor([[8], [BOS]]), torch.tensor([[9], [10]])
    step = model.decode(tokens, both, state)
    step = model.decode(next_tokens, both, step.state)
    expected = [
        model.decode(torch.tensor([[8, 9]]), memories[0], long).hidden[:, 1],
        model.decode(torch.tensor([[BOS, 10]]), memories[1], fresh).hidden[:, 1],
    ]
    torch.testing.assert_close(step.hidden[:, 0], torch.cat(expected), atol=1e-5, rtol=1e-5)
    alone = select(step.state, torch.tensor([1]))  # the long one has left: its places are dropped
    memory = select(both, torch.tensor([1]))
    after = model.decode(torch.tensor([[11]]), memory, alone)
    assert after.state.cache.shape[1] == 3  # type: ignore[attr-defined]
    whole = model.decode(torch.tensor([[BOS, 10, 11]]), memories[1], fresh).hidden[:, 2:]
    torch.testing.assert_close(after.hidden, whole, atol=1e-5, rtol=1e-5)


def test_heads_of_every_layer_are_there_on_request() -> None:
    model = build()
    memory = model.encode(*sources(4, 2))
    step = model.decode(torch.full((2, 3), BOS), memory, model.start(memory), attention=True)
    assert step.heads is not None
    assert step.heads.shape == (2, 3, 2, 3, 4)
    torch.testing.assert_close(step.heads.sum(4), torch.ones(2, 3, 2, 3))
    torch.testing.assert_close(step.attention, step.heads[:, 1].mean(1))  # the penultimate layer
    plain = model.decode(torch.full((2, 3), BOS), memory, model.start(memory))
    assert plain.heads is None
    torch.testing.assert_close(plain.hidden, step.hidden, atol=1e-5, rtol=1e-5)


def test_gradients_flow_through_the_cache() -> None:
    model = build(dropout=0.0).train()
    memory = model.encode(*sources(3))
    tokens, state, hidden = torch.tensor([[BOS, 5, 6]]), model.start(memory), []
    for t in range(3):
        step = model.decode(tokens[:, t : t + 1], memory, state)
        state = step.state  # type: ignore[assignment]
        hidden.append(step.hidden)
    torch.autograd.backward(functional.mse_loss(torch.cat(hidden, 1), torch.ones(1, 3, 8)))
    stepwise = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    memory = model.encode(*sources(3))
    whole = model.decode(tokens, memory, model.start(memory)).hidden
    torch.autograd.backward(functional.mse_loss(whole, torch.ones(1, 3, 8)))
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(stepwise[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_size_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="size 10 cannot be cut into 4 heads: choose a divisor"):
        TransformerSettings(size=10, heads=4)
