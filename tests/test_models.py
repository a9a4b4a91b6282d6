"""Properties that every model keeps, whatever its settings: one code path for training, scoring and generation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pairloom.models import SETTINGS as TYPES
from pairloom.models.kinds import MODELS
from pairloom.models.protocol import BOS, EOS, PAD, Model, join, select, trim
from pairloom.models.recurrent import call_cells, has_bfloat16_lstm, make_cells, reorder, reversal
from pairloom.models.rnn import RNNModel
from pairloom.models.settings import Cell

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("attention", {}),
    ("attention", {"attention": "dot"}),
    ("attention", {"attention": "dot", "hidden": 8}),
    ("attention", {"bidirectional": False, "encoder_layers": 2, "decoder_layers": 2}),
    ("attention", {"encoder_layers": 3, "decoder_layers": 3, "tie": False}),
    *[("rnn", {"cell": cell, "layers": layers}) for cell in ("rnn", "gru", "lstm") for layers in (1, 2, 3, 4)],
    ("rnn", {"reverse_source": False, "tie": False}),
    ("transformer", {}),
    ("transformer", {"norm": "post", "encoder_layers": 1, "decoder_layers": 1, "tie": False}),
    ("transformer", {"heads": 4, "decoder_layers": 3}),
    ("hybrid", {}),
    ("hybrid", {"decoder_layers": 2, "heads": 4, "tie": False}),
    ("attention", {"attention": "general", "cell": "gru"}),
    ("attention", {"attention": "concat", "cell": "rnn", "decoder_layers": 2}),
    ("attention", {"attention": "additive"}),
    ("attention", {"attention": "additive", "cell": "gru", "readout": "maxout", "decoder_layers": 2}),
    ("attention", {"attention": "multi_head", "heads": 2}),
    ("attention", {"input_feeding": True, "decoder_layers": 2}),
    ("attention", {"input_feeding": True, "cell": "rnn", "attention": "concat", "readout": "maxout"}),
    ("attention", {"coverage": True, "attention": "dot"}),
    ("attention", {"coverage": True, "cell": "gru", "attention": "multi_head", "heads": 5, "tie": False}),
    ("attention", {"coverage": True, "attention": "concat", "input_feeding": True}),
    ("attention", {"copy": True}),
    ("attention", {"copy": True, "coverage": True, "attention": "additive", "cell": "rnn"}),
    ("attention", {"copy": True, "coverage": True, "input_feeding": True, "attention": "multi_head", "heads": 2}),
]
WITHOUT_ATTENTION = (RNNModel,)
SMALL: dict[str, dict[str, Any]] = {
    "attention": {"embedding": 6, "encoder_hidden": 4, "hidden": 10, "dropout": 0.3},
    "rnn": {"embedding": 6, "hidden": 10, "layers": 1, "dropout": 0.3},
    "transformer": {"size": 8, "feed_forward": 12, "heads": 2, "encoder_layers": 2, "decoder_layers": 2},
    "hybrid": {"size": 8, "feed_forward": 12, "heads": 2, "encoder_layers": 2, "hidden": 10},
}


def build(kind: str, changes: dict[str, Any], joint: bool = False, seed: int = 0, size: int = 20) -> Model:
    """A small model with weights that are not near zero."""
    torch.manual_seed(seed)
    settings = TYPES[kind](**{**SMALL[kind], **changes})
    model = MODELS[kind](settings, size, size, joint)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def batch(lengths: list[int], seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Random sources of these lengths, ending with `</s>`, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 20, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = EOS
    return ids.masked_fill(~mask, PAD), mask


@pytest.fixture(params=SETTINGS, ids=lambda s: f"{s[0]}-{s[1]}")
def model(request: pytest.FixtureRequest) -> Model:
    kind, settings = request.param
    return build(kind, settings, joint=settings.get("copy", False))


def test_decoding_all_at_once_is_decoding_step_by_step(model: Model) -> None:
    memory = model.encode(*batch([5, 3]))
    tokens = torch.cat([torch.full((2, 1), BOS), torch.randint(4, 20, (2, 6))], dim=1)
    whole = model.decode(tokens, memory, model.start(memory), attention=True)
    state, hidden, attention = model.start(memory), [], []
    for t in range(tokens.shape[1]):
        step = model.decode(tokens[:, t : t + 1], memory, state, attention=True)
        state = step.state
        hidden.append(step.hidden)
        attention += [] if step.attention is None else [step.attention]
    torch.testing.assert_close(torch.cat(hidden, 1), whole.hidden, atol=1e-5, rtol=1e-5)
    assert (whole.attention is None) == isinstance(model, WITHOUT_ATTENTION)
    if whole.attention is None:
        assert attention == []
    else:
        torch.testing.assert_close(torch.cat(attention, 1), whole.attention, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(vars(state).values(), vars(whole.state).values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_padding_and_company_change_nothing(model: Model) -> None:
    ids, mask = batch([7, 4, 1])
    tokens = torch.randint(4, 20, (3, 5))
    together = model.encode(ids, mask)
    all_logits = model.logits(model.decode(tokens, together, model.start(together)).hidden)
    for row, length in enumerate([7, 4, 1]):
        alone = model.encode(ids[row : row + 1, :length], mask[row : row + 1, :length])
        logits = model.logits(model.decode(tokens[row : row + 1], alone, model.start(alone)).hidden)
        torch.testing.assert_close(logits, all_logits[row : row + 1], atol=1e-5, rtol=1e-5)


def test_attention_is_a_distribution_over_the_real_tokens(model: Model) -> None:
    ids, mask = batch([6, 2])
    memory = model.encode(ids, mask)
    attention = model.decode(torch.full((2, 3), BOS), memory, model.start(memory), attention=True).attention
    if isinstance(model, WITHOUT_ATTENTION):
        assert attention is None
        return
    assert attention is not None
    assert attention.shape == (2, 3, 6)
    torch.testing.assert_close(attention.sum(2), torch.ones(2, 3))
    assert (attention[1, :, 2:] == 0).all()
    assert model.decode(torch.full((2, 1), BOS), memory, model.start(memory)).attention is None


def test_nothing_is_kept_on_the_module(model: Model) -> None:
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    memory = model.encode(*batch([3, 3]))
    model.logits(model.decode(torch.full((2, 1), BOS), memory, model.start(memory)).hidden)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def test_memories_are_selected_joined_and_trimmed(model: Model) -> None:
    long, short = model.encode(*batch([7, 6])), model.encode(*batch([3], seed=2))
    both = join([long, short])
    assert both.mask.shape == (3, 7)
    rows = select(both, torch.tensor([2, 0]))
    logits = model.logits(model.decode(torch.full((2, 1), BOS), rows, model.start(rows)).hidden)
    apart = model.logits(model.decode(torch.full((1, 1), BOS), short, model.start(short)).hidden)
    torch.testing.assert_close(logits[:1], apart, atol=1e-5, rtol=1e-5)
    assert trim(select(both, torch.tensor([2]))).mask.shape == (1, 3)


def test_every_parameter_learns(model: Model) -> None:
    model.train()
    memory = model.encode(*batch([4, 4]))
    hidden = model.decode(torch.randint(4, 20, (2, 3)), memory, model.start(memory)).hidden
    torch.autograd.backward(model.logits(hidden).square().sum())
    dead = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert dead == []


def test_a_joint_vocabulary_shares_its_embeddings() -> None:
    apart, joint = build("attention", {}), build("attention", {}, joint=True)
    assert sum(p.numel() for p in apart.parameters()) - sum(p.numel() for p in joint.parameters()) == 20 * 6


def test_tied_output_is_the_target_embedding() -> None:
    model = build("attention", {})
    hidden = torch.randn(2, 6)
    expected = hidden @ model.target_embedding.weight.T + model.output_bias  # type: ignore[union-attr,operator]
    torch.testing.assert_close(model.logits(hidden), expected)


def test_reversal_keeps_padding_in_its_place_and_undoes_itself() -> None:
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    assert reversal(mask).tolist() == [[2, 1, 0, 3], [3, 2, 1, 0]]
    values = torch.randn(2, 4, 3)
    torch.testing.assert_close(reorder(reorder(values, reversal(mask)), reversal(mask)), values)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hidden": 10**9}, "less than or equal to 8192"),
        ({"dropout": 1.0}, "less than 1"),
        ({"attention": "hard"}, "scaled_dot"),
        ({"attention": "multi_head", "heads": 3, "hidden": 10}, "heads=3 does not divide hidden=10: .* 1, 2, 5, 10"),
        ({"heads": 2}, "heads=2 belongs to attention=multi_head; here it is scaled_dot: leave it out"),
        ({"attention": "additive", "input_feeding": True}, "already feeds its context .*: leave input_feeding out"),
        ({"coverage_weight": 2.0}, "coverage_weight=2 needs coverage=true"),
        ({"depth": 3}, "Extra inputs are not permitted"),
    ],
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TYPES["attention"](**wrong)


def test_every_kind_of_model_has_its_settings() -> None:
    assert {kind: model.settings_type for kind, model in MODELS.items()} == TYPES


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_cells_that_a_processor_cannot_compute_in_bfloat16(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairloom.models.recurrent.has_bfloat16_lstm", lambda: False)
    torch.manual_seed(1)
    cells, inputs = make_cells(cell, 8, 8, layers=2), torch.randn(3, 5, 8)
    hidden = torch.randn(2, 3, 8)
    states = (hidden, torch.randn(2, 3, 8)) if cell == "lstm" else (hidden,)
    wanted = call_cells(cells, inputs, *states)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = call_cells(cells, inputs.bfloat16(), *(one.bfloat16() for one in states))[0]
        assert torch.is_autocast_enabled("cpu")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0.02)


def test_looking_at_the_processor_draws_no_numbers() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    has_bfloat16_lstm.__wrapped__()
    assert torch.equal(torch.rand(3), wanted)
