"""Training: the loss in chunks is the loss, a run that stopped goes on to the bit, and what is best is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from copying import CopyFeed, trainer
from pairloom.checkpoint import newest_checkpoint
from pairloom.errors import PairloomError
from pairloom.learning.events import Event, Finished, Saved, Step, Validation
from pairloom.learning.loss import CHUNK, backward_in_chunks, loss_and_exact
from pairloom.learning.schedule import inverse_square_root, learning_rate, update_average
from pairloom.learning.settings import TrainingSettings
from pairloom.learning.trainer import REPORT_EVERY, Trainer
from pairloom.models.attention import AttentionMemory, AttentionModel, AttentionSettings
from pairloom.models.protocol import EOS, PAD


def timeless(events: Iterable[Event]) -> list[Event]:
    """What must be the same in two runs: the log without the clock."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event, Step):
            kept.append(replace(event, seconds=0.0, tokens_per_second=0.0))
        elif isinstance(event, Validation):
            kept.append(replace(event, seconds=0.0))
    return kept


def weights(one: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in one.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("count", [3, CHUNK, 2 * CHUNK + 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunks_give_the_loss_and_the_gradients_of_the_whole(count: int, smoothing: float) -> None:
    torch.manual_seed(0)
    inputs, layer, targets = torch.randn(count, 8), torch.nn.Linear(8, 11), torch.randint(0, 11, (count,))
    body = torch.nn.Linear(8, 8)
    expected = functional.cross_entropy(layer(body(inputs)), targets, reduction="sum", label_smoothing=smoothing)
    torch.autograd.backward(expected / 7)
    truth = [p.grad.clone() for p in (*body.parameters(), *layer.parameters()) if p.grad is not None]
    for module in (body, layer):
        module.zero_grad()
    found = backward_in_chunks(body(inputs), targets, layer, smoothing, divisor=7)
    torch.testing.assert_close(found, expected.detach())
    for ours, theirs in zip((*body.parameters(), *layer.parameters()), truth, strict=True):
        torch.testing.assert_close(ours.grad, theirs)


def test_exact_counts_targets_that_are_right_at_every_step() -> None:
    targets = torch.tensor([[4, 5, EOS], [6, EOS, PAD], [7, 8, EOS]])
    mask = targets != PAD
    said = torch.tensor([[4, 5, EOS], [6, EOS, 9], [7, 4, EOS]])  # what follows `</s>` does not count
    logits = 5.0 * functional.one_hot(said, 12).float()
    loss, exact = loss_and_exact(logits, mask, targets, lambda hidden: hidden)
    assert exact == 2
    assert loss == pytest.approx(float(functional.cross_entropy(logits[mask], targets[mask], reduction="sum")))


def test_it_learns_to_copy(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=900, learning_rate=0.02)
    events = list(one.events())
    validations = [event for event in events if isinstance(event, Validation)]
    assert validations[-1].loss < 0.5 * validations[0].loss
    assert validations[-1].exact >= 0.5
    assert [event.step for event in validations] == sorted({event.step for event in validations})
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "budget"
    assert finished.best_loss == min(event.loss for event in validations)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 1, 2):
        one = trainer(tmp_path, seed=seed)
        list(one.events())
        runs.append(weights(one))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("changed", "last_step"),
    [
        ({}, 20),
        ({"steps": None, "epochs": 5}, 23),
        ({"forcing": "linear", "forcing_ratio": 0.2}, 23),
        ({"forcing": "ratio", "forcing_ratio": 0.5, "own": "sample"}, 38),
        ({"forcing": "free"}, 23),
        ({"forcing": "exponential"}, 23),
        ({"forcing": "inverse_sigmoid", "own": "sample"}, 38),
    ],
    ids=["steps", "epochs", "scheduled", "sampled", "free", "exponential", "inverse sigmoid"],
)
def test_a_run_that_stopped_goes_on_to_the_bit(
    tmp_path: Path, precision: str, changed: dict[str, Any], last_step: int
) -> None:
    settings: dict[str, Any] = {"steps": 40, **changed, "precision": precision}
    whole = trainer(tmp_path / "whole", **settings)
    log = timeless(whole.events())

    first = trainer(tmp_path / "parts", stop=lambda: first.progress.step >= last_step, **settings)
    before = list(first.events())
    last = before[-1]
    assert isinstance(last, Finished)
    assert last.reason == "asked"
    assert last.step == last_step < whole.progress.step

    again = trainer(tmp_path / "parts", **settings)
    torch.manual_seed(12345)  # what a new process would have is not what counts
    checkpoint = newest_checkpoint(tmp_path / "parts", lambda text: None)
    assert checkpoint is not None
    again.restore(checkpoint)
    after = list(again.events())

    assert same(weights(whole), weights(again))
    assert same(whole.best, again.best)
    assert same(dict(whole.average.state_dict()), dict(again.average.state_dict()))
    assert timeless([*before, *after]) == log


def test_a_killed_run_writes_the_same_log_from_its_last_checkpoint_on(tmp_path: Path) -> None:
    log = timeless(trainer(tmp_path / "whole").events())
    killed = trainer(tmp_path / "parts")
    before: list[Event] = []
    for event in killed.events():
        before.append(event)
        if killed.progress.step > 50:
            break  # nothing is saved, and nobody is told
    again = trainer(tmp_path / "parts")
    checkpoint = newest_checkpoint(tmp_path / "parts", lambda text: None)
    assert checkpoint is not None
    assert checkpoint.step % REPORT_EVERY
    again.restore(checkpoint)
    kept = [event for event in before if event.step <= checkpoint.step]  # as `workflow.run` cuts metrics.jsonl
    assert timeless([*kept, *again.events()]) == log


def test_windows_of_the_log_end_at_multiples_and_with_the_budget(tmp_path: Path) -> None:
    steps = [event.step for event in trainer(tmp_path, steps=47, validations=9).events() if isinstance(event, Step)]
    assert steps == [20, 40, 47]


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path: Path) -> None:
    list(trainer(tmp_path).events())
    newest, older = sorted(tmp_path.iterdir(), key=lambda path: -int(path.name.split("-")[1]))
    damaged = newest / "weights.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)
    said: list[str] = []
    found = newest_checkpoint(tmp_path, said.append)
    assert found is not None
    assert f"step-{found.step}" == older.name
    assert len(said) == 1
    assert newest.name in said[0]
    assert "weights.safetensors is damaged" in said[0]


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(tmp_path)
    saved = one.save()
    assert isinstance(saved, Saved)
    monkeypatch.setattr(json, "dumps", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    one.progress = replace(one.progress, step=5)
    with pytest.raises(PairloomError, match="No space left on device"):
        one.save()
    assert [path.name for path in tmp_path.iterdir()] == [saved.path.name]


def test_patience_stops_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=1000, learning_rate=1e-9, validations=100, patience=3)
    *_, last = one.events()
    assert isinstance(last, Finished)
    assert last.reason == "patience"
    assert last.step < 1000


def test_minutes_are_kept_and_earlier_sittings_count(tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.02
        return now[0]

    settings = TrainingSettings(minutes=1, warmup=2, validations=4)
    model = AttentionModel(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16), 12, 12)
    one = Trainer(model, CopyFeed(), settings, checkpoints=tmp_path, clock=clock, spent=30)  # type: ignore[arg-type]
    *_, last = one.events()
    assert isinstance(last, Finished)
    assert 30 < last.seconds <= 60
    assert now[0] < 40


def test_a_budget_in_minutes_ends_after_so_many_passes_if_told_so(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=None, minutes=60, most_epochs=3)
    steps = [event for event in one.events() if isinstance(event, Step | Finished)]
    assert one.progress.step == 3 * 7
    assert steps[-1].step == 21
    rates = [event.learning_rate for event in steps if isinstance(event, Step)]
    assert rates[-1] < 0.2 * one.settings.learning_rate


def test_checkpoints_come_as_events_and_two_are_kept(tmp_path: Path) -> None:
    events = list(trainer(tmp_path).events())
    assert len([event for event in events if isinstance(event, Saved)]) == 5  # at each validation but the last
    assert len(list(tmp_path.iterdir())) == 2
    steps = [event for event in events if isinstance(event, Step)]
    assert all(0 <= event.progress <= 1 and event.tokens_per_second > 0 for event in steps)


def test_the_schedule_rises_and_ends_at_zero() -> None:
    rates = [learning_rate(0.1, step, 10, step / 1000) for step in range(1, 1001)]
    assert rates[0] == pytest.approx(0.1 * 0.1 * 0.999)
    assert max(rates) == rates[9]
    assert rates[-1] == 0.0
    assert learning_rate(0.1, 1, 0, 0.0) == 0.1
    assert learning_rate(0.1, 10, 300, 0.25) == pytest.approx(0.075)  # a short budget has a short warm-up
    assert learning_rate(0.1, 10, 300, 0.1) == pytest.approx(0.036)  # but not so short that it does harm


def test_the_inverse_square_root_is_the_paper_s_equation_3() -> None:
    size, warmup = 512, 4000
    peak = (size * warmup) ** -0.5
    for step in (1, 2, 100, 3999, 4000, 4001, 100_000):
        paper = size**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert inverse_square_root(peak, step, warmup) == pytest.approx(paper, rel=1e-12)
    assert peak == pytest.approx(6.99e-4, rel=1e-3)
    assert inverse_square_root(1.0, 1, 0) == 1.0


def test_the_schedule_that_is_set_is_the_one_that_runs(tmp_path: Path) -> None:
    one = trainer(tmp_path, schedule="inverse_sqrt", warmup=5, learning_rate=0.01)
    rates = {event.step: event.learning_rate for event in one.events() if isinstance(event, Step)}
    assert rates == {step: pytest.approx(0.01 * (5 / (step + 1)) ** 0.5) for step in (20, 40, 60)}


def test_the_average_of_a_constant_is_that_constant_and_of_a_ramp_lags_a_tenth() -> None:
    mean, value = [torch.zeros(1)], [torch.zeros(1)]
    for step in range(1, 1001):
        value[0].fill_(step)
        update_average(mean, value, step)
    assert float(mean[0]) == pytest.approx(1000 * 10 / 11, rel=0.01)


def test_one_budget_and_no_more() -> None:
    for wrong in ({}, {"minutes": 1, "steps": 1}):
        with pytest.raises(ValidationError, match="exactly one of minutes, epochs and steps"):
            TrainingSettings(**wrong)


def keeps_denormals() -> bool:
    """Whether 1e-40 times a half, which normal numbers of 32 bits cannot hold, is more than zero here and now."""
    return bool((torch.full((64,), 1e-40) * 0.5).any())


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot flush denormals to zero")
def test_while_it_trains_numbers_near_zero_are_zero(tmp_path: Path) -> None:
    class Watching(AttentionModel):
        """Notes, in each forward pass, whether denormals were kept."""

        def encode(self, source: Tensor, source_mask: Tensor) -> AttentionMemory:
            kept.append(keeps_denormals())
            return super().encode(source, source_mask)

    kept: list[bool] = []
    torch.set_flush_denormal(False)
    assert keeps_denormals()
    model = Watching(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16), 12, 12)
    list(trainer(tmp_path, steps=2, validations=1, model=model).events())
    assert len(kept) >= 2
    assert not any(kept)
