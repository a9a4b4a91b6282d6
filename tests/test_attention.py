"""What is particular to the attention model: each score against its formula, feeding, coverage, copying."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.decoding.loop import generate
from pairloom.decoding.scoring import score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import FolderError, UsageError
from pairloom.folder import FolderSettings
from pairloom.models.attention import AttentionMemory, AttentionModel, AttentionSettings, CopyMemory
from pairloom.models.copying import unpack
from pairloom.models.looking import FedLSTMState
from pairloom.models.protocol import BOS, EOS, PAD, join, select, trim
from pairloom.models.recurrent import LSTMState, RecurrentState, make_cells, run_cells
from pairloom.models.settings import Cell
from pairloom.models.stepping import CellSteps
from pairloom.weights import build_model_checked
from test_models import batch, build

TOKENS = torch.tensor([[BOS, 5, 9, 4, 11], [BOS, 7, 7, 19, 6]])


def attention_model(joint: bool = True, **changes: Any) -> AttentionModel:
    return cast(AttentionModel, build("attention", changes, joint))


def encoded(model: AttentionModel, lengths: list[int]) -> AttentionMemory:
    return model.encode(*batch(lengths))


def outputs_of(model: AttentionModel, memory: AttentionMemory) -> Tensor:
    """The hidden states [B, T, H] of a decoder that is not fed."""
    return run_cells(model.decoder, model._embed(model.target_embedding, TOKENS), model.start(memory))[0]


# -- scores ------------------------------------------------------------------------------------------------------------


def parameter(module: nn.Module, name: str) -> Tensor:
    return module.get_parameter(name)


def by_formula(model: AttentionModel, h: Tensor, s: Tensor) -> Tensor:
    """score(h_t, s_i) as the papers write it, for one annotation s [A] and one state h [H]."""
    if model.settings.attention == "dot":
        return h @ s
    key = parameter(model, "key.weight")
    if model.settings.attention == "general":
        return h @ key @ s
    if model.settings.attention == "scaled_dot":
        return h @ key @ s / math.sqrt(len(h))
    both = torch.cat([parameter(model, "attend.query.weight"), key], dim=1)  # Luong's W_a [h; s]
    energy = torch.tanh(both @ torch.cat([h, s]) + parameter(model, "attend.query.bias"))
    score: Tensor = parameter(model, "attend.weigh.weight")[0] @ energy
    return score


@pytest.mark.parametrize("kind", ["dot", "scaled_dot", "general", "concat"])
def test_scores_are_those_of_the_papers(kind: str) -> None:
    model = attention_model(attention=kind, hidden=8)
    memory = encoded(model, [6, 4])
    attention = model.decode(TOKENS, memory, model.start(memory), attention=True).attention
    assert attention is not None
    hidden = outputs_of(model, memory)
    for row, length in enumerate([6, 4]):
        for t in range(TOKENS.shape[1]):
            scores = [by_formula(model, hidden[row, t], memory.values[row, i]) for i in range(length)]
            torch.testing.assert_close(attention[row, t, :length], torch.stack(scores).softmax(0))


@pytest.mark.parametrize("readout", ["luong", "maxout"])
def test_additive_attention_is_the_loop_of_bahdanau(readout: str) -> None:
    """e_ij = v tanh(W s_{i-1} + U h_j + b), c_i = Σ a_ij h_j, s_i = f(s_{i-1}, y_{i-1}, c_i), then the output."""
    model = attention_model(attention="additive", cell="gru", readout=readout)
    memory = encoded(model, [5])
    step = model.decode(TOKENS[:1], memory, model.start(memory), attention=True)
    cell = nn.GRUCell(model.decoder.input_size, 10)
    cell.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in model.decoder.state_dict().items()})
    s, annotations = model.start(memory).hidden[0], memory.values[0]
    for t, token in enumerate(TOKENS[0]):
        asked = parameter(model, "attend.query.weight") @ s[0] + parameter(model, "attend.query.bias")
        keys = annotations @ parameter(model, "key.weight").T
        a = (torch.tanh(asked + keys) @ parameter(model, "attend.weigh.weight")[0]).softmax(0)
        assert step.attention is not None
        torch.testing.assert_close(step.attention[0, t], a)
        context = a @ annotations
        y = model._embed(model.target_embedding, token)
        s = cell(torch.cat([y, context])[None], s)
        if readout == "luong":
            expected = torch.tanh(model.combine(torch.cat([context, s[0]])))
        else:
            units = model.combine(torch.cat([context, s[0], y]))
            expected = torch.maximum(units[0::2], units[1::2])
        torch.testing.assert_close(step.hidden[0, t], expected)


def test_several_heads_are_those_of_torch() -> None:
    model = attention_model(attention="multi_head", heads=5)
    memory = encoded(model, [6, 3])
    step = model.decode(TOKENS, memory, model.start(memory), attention=True)
    annotations, _ = model.encoder(model._embed(model.target_embedding, batch([6, 3])[0]), memory.mask)
    hidden = outputs_of(model, memory)
    context, weights = functional.multi_head_attention_forward(
        hidden.transpose(0, 1), annotations.transpose(0, 1), annotations.transpose(0, 1), 10, 5,
        in_proj_weight=None, in_proj_bias=None, bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
        out_proj_weight=parameter(model, "attend.out.weight"), out_proj_bias=None, training=False,
        key_padding_mask=~memory.mask, need_weights=True, average_attn_weights=False, use_separate_proj_weight=True,
        q_proj_weight=parameter(model, "attend.query.weight"), k_proj_weight=parameter(model, "key.weight"),
        v_proj_weight=parameter(model, "attend.value.weight"),
    )  # fmt: skip
    assert step.heads is not None
    assert weights is not None
    torch.testing.assert_close(step.heads, weights.unsqueeze(1))  # [B, L=1, N, T, S]
    torch.testing.assert_close(step.attention, weights.mean(1))
    combined = torch.tanh(model.combine(torch.cat([context.transpose(0, 1), hidden], dim=2)))
    torch.testing.assert_close(step.hidden, combined)
    assert model.decode(TOKENS, memory, model.start(memory)).heads is None


# -- cells and feeding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_cells_step_by_step_are_the_fused_cells(kind: Cell) -> None:
    torch.manual_seed(0)
    cells = make_cells(kind, 7, 5, layers=2)
    known, fed = torch.randn(3, 4, 4), torch.randn(3, 4, 3)
    hidden, cell = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    state = LSTMState(hidden, cell) if kind == "lstm" else RecurrentState(hidden)
    outputs, after = run_cells(cells, torch.cat([known, fed], dim=2), state)
    steps = CellSteps(cells, known)
    layers = steps.layers(state)
    for t in range(4):
        layers = steps.step(t, fed[:, t], layers)
        torch.testing.assert_close(steps.top(layers), outputs[:, t])
    assert type(steps.state(layers)) is type(after)
    for ours, theirs in zip(vars(steps.state(layers)).values(), vars(after).values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_attentional_vector_is_fed() -> None:
    """The second step of a model with input feeding is a cell that reads the first step's `hidden` (Luong, 3.3)."""
    model = attention_model(input_feeding=True)
    memory = encoded(model, [4, 2])
    start = model.start(memory)
    first = model.decode(TOKENS[:, :1], memory, start)
    assert isinstance(start, FedLSTMState)
    assert isinstance(first.state, FedLSTMState)
    assert not start.fed.any()
    torch.testing.assert_close(first.state.fed, first.hidden[:, 0])
    second = model.decode(TOKENS[:, 1:2], memory, first.state)
    inputs = torch.cat([model._embed(model.target_embedding, TOKENS[:, 1:2]), first.hidden], dim=2)
    _, expected = run_cells(model.decoder, inputs, LSTMState(first.state.hidden, first.state.cell))
    torch.testing.assert_close(cast(LSTMState, second.state).hidden, expected.hidden)


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_only_an_lstm_has_a_cell(kind: str) -> None:
    model = attention_model(cell=kind, decoder_layers=2)
    memory = encoded(model, [3])
    assert list(vars(model.start(memory))) == ["hidden"]
    assert torch.equal(model.context(memory), model.start(memory).hidden.flatten(1))


# -- coverage ----------------------------------------------------------------------------------------------------------

COVERED = [
    {"attention": "dot"},
    {"attention": "concat"},
    {"attention": "additive"},
    {"attention": "multi_head", "heads": 2},
    {"input_feeding": True},
]


@pytest.mark.parametrize("changes", COVERED, ids=str)
def test_coverage_is_the_attention_so_far_and_what_is_seen_again_costs(changes: dict[str, Any]) -> None:
    model = attention_model(coverage=True, coverage_weight=0.7, **changes)
    memory = encoded(model, [6, 3])
    step = model.decode(TOKENS, memory, model.start(memory), attention=True)
    assert step.attention is not None
    assert step.penalty is not None
    torch.testing.assert_close(cast(FedLSTMState, step.state).coverage, step.attention.sum(1))
    for t in range(TOKENS.shape[1]):
        again = torch.minimum(step.attention[:, t], step.attention[:, :t].sum(1))
        torch.testing.assert_close(step.penalty[:, t], 0.7 * again.sum(1))
    assert model.decode(TOKENS[:, :1], memory, model.start(memory)).penalty is not None


def test_coverage_enters_the_score_as_in_see() -> None:
    """e_i = v tanh(W_h h_i + W_s s_t + w_c c_i + b) (equation 11), at the second step."""
    model = attention_model(attention="concat", coverage=True, hidden=8)
    memory = encoded(model, [5, 5])
    attention = model.decode(TOKENS, memory, model.start(memory), attention=True).attention
    assert attention is not None
    asked = model.attend.get_submodule("query")(outputs_of(model, memory)[0, 1])
    moved = memory.keys[0] + attention[0, 0][:, None] * parameter(model, "attend.covered")
    scores = torch.tanh(asked + moved) @ parameter(model, "attend.weigh.weight")[0]
    torch.testing.assert_close(attention[0, 1], scores.softmax(0))


def test_a_state_with_coverage_is_trimmed_joined_and_selected_with_its_memory() -> None:
    """A long sentence leaves, another joins: the one that stays goes on as if it had been alone."""
    model = attention_model(coverage=True, input_feeding=True)

    def after_two(ids: Tensor, mask: Tensor) -> tuple[AttentionMemory, Any]:
        memory = model.encode(ids, mask)
        return memory, model.decode(TOKENS[:1, :2].expand(len(ids), 2), memory, model.start(memory)).state

    ids, mask = batch([9, 3])
    memory, state = after_two(ids, mask)
    alone_memory, alone = after_two(ids[1:, :3], mask[1:, :3])
    stays = torch.tensor([1])
    for length in (2, 5, 12):  # of who joins: shorter than all, between, longer than all
        newcomer = encoded(model, [length])
        cut = trim(select(memory, stays))
        assert cut.mask.shape[1] == 3
        both = join([cut, newcomer])
        states = join([select(state, stays), model.start(newcomer)])
        assert states.coverage.shape[1] >= both.mask.shape[1]
        step = model.decode(torch.full((2, 1), 8), both, states)
        expected = model.decode(torch.full((1, 1), 8), alone_memory, alone)
        torch.testing.assert_close(model.logits(step.hidden[:1]), model.logits(expected.hidden), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(cast(Any, step.state).coverage[:1, :3], cast(Any, expected.state).coverage)
        assert cast(Any, step.state).coverage.shape == both.mask.shape


# -- copying -----------------------------------------------------------------------------------------------------------


def test_copying_mixes_the_vocabulary_with_the_source() -> None:
    """Equation 9, and probabilities that sum to 1, for whole batches and for rows of several sentences in chunks."""
    model = attention_model(copy=True)
    memory = encoded(model, [6, 3])
    assert isinstance(memory, CopyMemory)
    step = model.decode(TOKENS, memory, model.start(memory), attention=True)
    log_probs = model.logits(step.hidden)
    torch.testing.assert_close(log_probs.exp().sum(2), torch.ones(2, 5))
    parts = unpack(step.hidden, 6)
    assert step.attention is not None
    vocabulary = functional.linear(parts.combined, model.target_embedding.weight, model.output_bias).softmax(2)
    generate = parts.gate.sigmoid()
    for row in range(2):
        for token in range(20):
            copied = (step.attention[row] * (memory.source[row] == token)).sum(1)
            expected = generate[row, :, 0] * vocabulary[row, :, token] + (1 - generate[row, :, 0]) * copied
            torch.testing.assert_close(log_probs[row, :, token].exp(), expected)
    for token in memory.source[0].tolist():  # pointed at: more probable than the vocabulary makes it
        assert (log_probs[0, :, token].exp() > (generate * vocabulary)[0, :, token]).all()
    torch.testing.assert_close(log_probs[1, :, PAD].exp(), (generate * vocabulary)[1, :, PAD])  # never copied
    assert (log_probs[1, :, EOS].exp() > (generate * vocabulary)[1, :, EOS]).all()  # may be copied
    flat = step.hidden.flatten(0, 1)
    chunks = torch.cat([model.logits(piece) for piece in torch.split(flat, 3)])
    torch.testing.assert_close(chunks, log_probs.flatten(0, 1))


def test_ids_are_exact_where_the_rest_is_rounded() -> None:
    """Under bfloat16, 257 and more are not all numbers; the ids of the source must still be themselves."""
    torch.manual_seed(0)
    model = AttentionModel(
        AttentionSettings.model_validate({"embedding": 4, "hidden": 4, "copy": True}), 5000, 5000, True
    )
    source = torch.tensor([[4099, 4101, 259, EOS]])
    with torch.autocast("cpu", torch.bfloat16):
        memory = model.eval().encode(source, torch.ones(1, 4, dtype=torch.bool))
        hidden = model.decode(torch.tensor([[BOS, 4101]]), memory, model.start(memory)).hidden
        log_probs = model.logits(hidden)
    assert hidden.dtype == log_probs.dtype == torch.float32
    assert log_probs[0, 0].topk(4).indices.sort().values.tolist() == [EOS, 259, 4099, 4101]
    torch.testing.assert_close(log_probs.exp().sum(2), torch.ones(1, 2))


def test_nothing_is_minus_infinity_however_sure_the_model_is() -> None:
    model = attention_model(copy=True)
    memory = encoded(model, [3])
    hidden = model.decode(TOKENS[:1], memory, model.start(memory)).hidden.detach()
    sure = torch.cat(
        [hidden[..., :7] * 1e4, hidden[..., 7:]], dim=2
    ).requires_grad_()  # of what it makes, and of making
    log_probs = model.logits(sure)
    log_probs.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(log_probs).all()
    assert sure.grad is not None
    assert torch.isfinite(sure.grad).all()


def test_copying_needs_a_joint_vocabulary() -> None:
    with pytest.raises(UsageError, match=r"copy=true needs a vocabulary that both sides share, .*: add --joint"):
        build("attention", {"copy": True}, joint=False)
    side = {"unit": "character", "size": 20, "max_tokens": 9}
    settings = FolderSettings.model_validate(
        {"schema": 1, "pairloom": "0", "kind": "attention", "model": {"copy": True}, "source": side, "target": side,
         "joint": False}
    )  # fmt: skip
    with pytest.raises(FolderError, match="not valid: copy=true needs a vocabulary"):
        build_model_checked(cast(Any, None), settings)


def test_settings_go_through_a_folder_and_back() -> None:
    settings = AttentionSettings.model_validate({"attention": "multi_head", "copy": True, "coverage": True})
    assert settings.heads == 4
    assert AttentionSettings.model_validate(settings.model_dump()) == settings
    assert "multi head attention, 4 heads, coverage, copying" in settings.summary()
    assert AttentionSettings().summary() == "embeddings 256, hidden 512, dropout 0.3"


def test_default_parameters_keep_their_names() -> None:
    """Folders of version 0.1 are loaded by these names."""
    first = {name.split(".")[0] for name, _ in build("attention", {}).named_parameters()}
    known = "target_embedding source_embedding encoder bridge decoder key combine output_bias"
    assert first == set(known.split())


def copied_right(changes: dict[str, Any], updates: int = 60) -> float:
    """The share of unseen symbols that a model gets right, after learning to copy strings of others."""
    torch.manual_seed(0)
    settings = {"embedding": 24, "encoder_hidden": 24, "hidden": 32, "dropout": 0.0, **changes}
    model = AttentionModel(AttentionSettings.model_validate(settings), 60, 60, joint=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def run(symbols: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = len(symbols)
        source = torch.cat([symbols, torch.full((rows, 1), EOS)], dim=1)
        memory = model.encode(source, torch.ones_like(source, dtype=torch.bool))
        step = model.decode(torch.cat([torch.full((rows, 1), BOS), symbols[:, :-1]], 1), memory, model.start(memory))
        return model.logits(step.hidden), step.penalty

    for _ in range(updates):
        symbols = torch.randint(4, 40, (32, 5))
        logits, penalty = run(symbols)
        loss = functional.cross_entropy(logits.flatten(0, 1), symbols.flatten())
        loss = loss if penalty is None else loss + penalty.mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        symbols = torch.randint(40, 60, (100, 5))
        return float((run(symbols)[0].argmax(2) == symbols).float().mean())


def test_what_was_never_seen_is_copied_by_a_model_that_copies() -> None:
    """20 symbols occur in no training string: a vocabulary cannot learn them (chance is 1 in 20), a pointer can."""
    assert copied_right({"copy": True, "coverage": True}) > 0.4
    assert copied_right({}) < 0.1


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"copy": True, "coverage": True},
        {"copy": True, "coverage": True, "input_feeding": True, "cell": "gru"},
        {"coverage": True, "attention": "additive"},
        {"copy": True, "attention": "multi_head", "heads": 2},
    ],
    ids=str,
)
def test_a_search_in_a_changing_batch_finds_what_it_finds_alone(changes: dict[str, Any], beam: int) -> None:
    """Sentences leave and join, memories are trimmed and joined, rows are chosen: each keeps what is its own."""
    model = attention_model(**changes)
    random = torch.Generator().manual_seed(3)
    sources = [torch.randint(4, 20, (length,), generator=random).tolist() for length in (9, 1, 5, 7, 3, 12, 2)]
    together, alone = (
        generate(model, sources, settings=DecodingSettings(beam=beam, batch=size, max_length=8)) for size in (3, 1)
    )
    assert [best[0].tokens for best in together] == [best[0].tokens for best in alone]
    scored = score_targets(model, sources, [best[0].tokens for best in together])
    for best, score in zip(together, scored, strict=True):
        kept = sum(score.tokens) if best[0].finished else sum(score.tokens[:-1])
        assert best[0].score == pytest.approx(kept, abs=1e-4)
