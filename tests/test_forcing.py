"""How the decoder is fed while it learns: shares of true tokens, own tokens, penalties, pieces of a batch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from copying import CopyFeed, trainer
from pairloom.learning.feeding import TensorBatch
from pairloom.learning.forcing import feed, share_of_truth
from pairloom.learning.settings import TrainingSettings
from pairloom.learning.trainer import Trainer
from pairloom.learning.update import Feeding, add_gradients, pieces
from pairloom.models.attention import AttentionModel, AttentionSettings
from pairloom.models.protocol import BOS, EOS, PAD, Memory, Model, State, Step
from pairloom.models.settings import ModelSettings

DECAYS = ["linear", "exponential", "inverse_sigmoid"]


def settings(**changed: Any) -> TrainingSettings:
    return TrainingSettings(steps=100, **changed)


def tiny(dropout: float = 0.0) -> AttentionModel:
    torch.manual_seed(3)
    return AttentionModel(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16, dropout=dropout), 12, 12)


@dataclass(frozen=True)
class Reads(State):
    """A state that remembers what was read."""

    tokens: Tensor  # [B, t]


class Counting(Model):
    """Says that the next number comes next, whatever the source, with as much certainty as `sure`; penalty on request.

    A perfect model of sequences that count upwards from `first`, once `sure` is large.
    """

    settings_type = ModelSettings

    def __init__(self, sure: float, first: int = 4, penalised: bool = False) -> None:
        nn.Module.__init__(self)
        table = torch.zeros(12, 12)
        table[torch.arange(11), torch.arange(1, 12)] = sure
        table[BOS] = sure * nn.functional.one_hot(torch.tensor(first), 12)
        self.table, self.scale = nn.Parameter(table), nn.Parameter(torch.tensor(0.5))
        self.penalised, self.calls = penalised, 0
        self.read: Tensor | None = None

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        return Memory(source_mask)

    def start(self, memory: Memory) -> Reads:
        return Reads(torch.empty(len(memory.mask), 0, dtype=torch.long))

    def decode(self, tokens: Tensor, memory: Memory, state: State, *, attention: bool = False) -> Step:
        assert isinstance(state, Reads)
        self.calls += 1
        self.read = torch.cat([state.tokens, tokens], dim=1)
        penalty = self.scale * tokens.float() if self.penalised else None
        return Step(self.table[tokens], Reads(self.read), None, penalty=penalty)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def counting_batch(rows: int = 5, length: int = 6) -> TensorBatch:
    """`<s>` 4 5 6 … as input, 4 5 6 7 … as target."""
    out = torch.arange(4, 4 + length).expand(rows, length)
    begin = torch.cat([torch.full((rows, 1), BOS), out[:, :-1]], dim=1)
    everywhere = torch.ones(rows, length, dtype=torch.bool)
    return TensorBatch(out, everywhere, begin, out, everywhere)


def gradients(model: Model, batch: TensorBatch, share: float, largest: int | None = None) -> list[Tensor]:
    add_gradients(model, batch, Feeding(share, False, 0.1), largest, nullcontext)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


# -- the share of true tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("forcing", DECAYS)
@pytest.mark.parametrize("floor", [None, 0.3])
def test_decays_fall_from_truth_to_their_floor_and_never_rise(forcing: str, floor: float | None) -> None:
    chosen = settings(forcing=forcing, forcing_ratio=floor)
    shares = [share_of_truth(chosen, step / 1000) for step in range(1001)]
    assert shares[0] > 0.99
    assert all(later <= earlier for earlier, later in pairwise(shares))
    assert shares[-1] == pytest.approx(floor or 0.0, abs=0.0101)
    assert min(shares) >= (floor or 0.0)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.8, 1.0])
def test_decays_are_those_of_the_paper_with_the_constants_that_are_documented(p: float) -> None:
    k = 0.01 ** (1 / 100)
    assert share_of_truth(settings(forcing="linear"), p) == pytest.approx(1 - p)
    assert share_of_truth(settings(forcing="exponential"), p) == pytest.approx(k ** (100 * p))
    k = 100.0
    i = 2 * k * torch.log(torch.tensor(k, dtype=torch.float64)) * p
    expected = float(k / (k + torch.exp(i / k)))
    assert share_of_truth(settings(forcing="inverse_sigmoid"), p) == pytest.approx(expected)


def test_constant_shares() -> None:
    for p in (0.0, 0.5, 1.0):
        assert share_of_truth(settings(), p) == 1.0
        assert share_of_truth(settings(forcing="free"), p) == 0.0
        assert share_of_truth(settings(forcing="ratio", forcing_ratio=0.75), p) == 0.75


def test_contradictions_say_what_to_do() -> None:
    with pytest.raises(ValidationError, match=r"forcing=ratio needs a share of true tokens: set forcing_ratio"):
        settings(forcing="ratio")
    for forcing in ("teacher", "free"):
        with pytest.raises(ValidationError, match=f"forcing={forcing} has no forcing_ratio: leave it out"):
            settings(forcing=forcing, forcing_ratio=0.5)


# -- what the decoder reads ----------------------------------------------------------------------------------------


def test_free_running_reads_its_own_best_tokens_and_learns_the_true_ones() -> None:
    model, batch = Counting(9.0, first=6), counting_batch()
    fed = feed(model, model.encode(batch.source, batch.source_mask), batch.target_in, 0.0)
    assert model.read is not None
    assert model.read[0].tolist() == [BOS, 6, 7, 8, 9, 10]  # its own, though the true ones begin with 4
    assert model.calls == 6
    assert fed.hidden.shape == (5, 6, 12)
    table = gradients(model, batch, 0.0)[0]
    assert float(table[6, 5]) < 0  # having read its 6, the model is pulled to the 5 that stands there in truth


def test_no_search_says_pad_unk_or_bos_and_so_nobody_reads_them() -> None:
    model, batch = Counting(9.0, first=PAD), counting_batch()
    feed(model, model.encode(batch.source, batch.source_mask), batch.target_in, 0.0)
    assert model.read is not None
    assert (model.read[:, 1:] > BOS).all()


def test_teacher_forcing_is_one_call_and_draws_nothing() -> None:
    model, batch = Counting(1.0), counting_batch()
    before = torch.get_rng_state()
    fed = feed(model, model.encode(batch.source, batch.source_mask), batch.target_in, 1.0)
    assert model.calls == 1
    assert model.read is not None
    assert torch.equal(model.read, batch.target_in)
    assert torch.equal(torch.get_rng_state(), before)
    assert fed.penalty is None


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_about_that_share_of_tokens_is_true(share: float) -> None:
    torch.manual_seed(5)
    model, batch = Counting(0.0), counting_batch(rows=400, length=7)  # a model that always says `</s>`
    feed(model, model.encode(batch.source, batch.source_mask), batch.target_in, share)
    assert model.read is not None
    true = model.read == batch.target_in
    assert true[:, 0].all()
    assert float(true[:, 1:].float().mean()) == pytest.approx(share, abs=0.04)
    assert (model.read[~true] == EOS).all()


def test_a_sampled_token_follows_the_distribution() -> None:
    torch.manual_seed(5)
    model, batch = Counting(0.0), counting_batch(rows=4000, length=2)  # all nine tokens are equally probable
    feed(model, model.encode(batch.source, batch.source_mask), batch.target_in, 0.0, sample=True)
    assert model.read is not None
    counts = torch.bincount(model.read[:, 1], minlength=12)
    assert counts[:EOS].tolist() == [0, 0, 0]
    assert counts[EOS:].min() > 4000 / 9 * 0.8


def test_for_a_perfect_model_free_running_is_teacher_forcing() -> None:
    batch = counting_batch()
    forced, free = (gradients(Counting(9.0), batch, share) for share in (1.0, 0.0))
    for one, other in zip(forced, free, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_parameter_learns_whatever_is_fed(share: float, precision: str) -> None:
    model, batch = tiny(), CopyFeed().batch(0, 0)
    expected = gradients(model, batch, 1.0)
    add_gradients(
        model, batch, Feeding(share, False, 0.1), None, lambda: torch.autocast("cpu", enabled=precision == "bfloat16")
    )
    for (name, parameter), other in zip(model.named_parameters(), expected, strict=True):
        assert parameter.grad is not None, name
        assert float(parameter.grad.norm()) > 0.1 * float(other.norm()), name


def test_gradients_run_through_the_state_from_step_to_step() -> None:
    model, batch = tiny(), CopyFeed().batch(0, 0)
    fed = feed(model, model.encode(batch.source, batch.source_mask), batch.target_in, 0.0)
    torch.autograd.backward(fed.hidden[:, -1].sum())
    assert model.bridge.weight.grad is not None
    assert float(model.bridge.weight.grad.abs().sum()) > 0  # the state before the first token


def test_a_ratio_of_one_is_teacher_forcing_to_the_bit(tmp_path: Path) -> None:
    runs: list[Trainer] = []
    changes: list[dict[str, Any]] = [{}, {"forcing": "ratio", "forcing_ratio": 1.0}]
    for changed in changes:
        one = trainer(tmp_path / str(len(runs)), steps=15, **changed)
        list(one.events())
        runs.append(one)
    for name, tensor in runs[0].model.state_dict().items():
        assert torch.equal(tensor, runs[1].model.state_dict()[name]), name


# -- the penalty ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_the_penalty_of_real_tokens_enters_the_gradient_and_not_the_loss(share: float) -> None:
    batch = counting_batch(rows=2, length=4)
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    batch = TensorBatch(batch.source, batch.source_mask, batch.target_in, batch.target_out, mask)
    found = []
    for penalised in (False, True):
        model = Counting(9.0, penalised=penalised)
        gradient = add_gradients(model, batch, Feeding(share, False, 0.0), None, nullcontext)
        found.append((gradient.loss, model.table.grad, model.scale.grad))
    assert found[0][0] == found[1][0]
    torch.testing.assert_close(found[0][1], found[1][1])
    assert found[0][2] is None
    read = float(BOS + 4 + 5 + 6 + BOS + 4)  # d(scale * token) / d(scale), over the real tokens
    torch.testing.assert_close(found[1][2], torch.tensor(read / 6))


class Coverage(AttentionModel):
    """The attention model with a penalty that shares its graph: the sum of the squares of its hidden state."""

    def decode(self, tokens: Tensor, memory: Memory, state: State, *, attention: bool = False) -> Step:
        step = super().decode(tokens, memory, state, attention=attention)
        return step._replace(penalty=step.hidden.square().sum(2))


def test_a_penalty_that_shares_the_graph_gives_the_gradient_of_the_sum() -> None:
    torch.manual_seed(1)
    model, batch = Coverage(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16, dropout=0), 12, 12), None
    batch = CopyFeed().batch(0, 3)
    found = gradients(model, batch, 1.0)
    model.zero_grad()
    memory = model.encode(batch.source, batch.source_mask)
    step = model.decode(batch.target_in, memory, model.start(memory))
    assert step.penalty is not None
    mask = batch.target_mask
    loss = nn.functional.cross_entropy(model.logits(step.hidden[mask]), batch.target_out[mask], label_smoothing=0.1)
    torch.autograd.backward(loss + step.penalty[mask].mean())
    for parameter, other in zip(model.parameters(), found, strict=True):
        torch.testing.assert_close(parameter.grad, other)


# -- pieces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.0])
@pytest.mark.parametrize("largest", [5, 8, 15, 29])
def test_pieces_of_a_batch_add_up_to_its_gradient(share: float, largest: int) -> None:
    model, batch = tiny(), CopyFeed().batch(0, 0)
    parts = list(pieces(batch, largest))
    assert len(parts) > 1
    assert all(part.source.numel() <= largest for part in parts if len(part.source) > 1)
    assert sum(int(part.target_mask.sum()) for part in parts) == int(batch.target_mask.sum())
    whole, summed = gradients(model, batch, share), gradients(model, batch, share, largest)
    for one, other in zip(whole, summed, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
