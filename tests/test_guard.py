"""What goes wrong in a run does not end it: no NaN and no leap of the loss is learned, and memory may give out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from copying import CopyFeed, trainer
from pairloom.checkpoint import newest_checkpoint
from pairloom.errors import PairloomError, StorageError
from pairloom.learning.events import Note, Saved, Validation
from pairloom.learning.feeding import TensorBatch
from pairloom.learning.guard import IN_A_ROW, KNOWN_AFTER, accepted, objection
from pairloom.learning.progress import Progress
from pairloom.learning.settings import TrainingSettings
from pairloom.learning.trainer import Trainer
from pairloom.models.attention import AttentionModel, AttentionSettings
from pairloom.models.protocol import Memory

ALLOCATOR = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 "


class Spoiled(AttentionModel):
    """Its loss is not a number, or leaps, whenever `spoil` says so of the number of the update (counted here)."""

    def __init__(self, spoiled: set[int], by: float = float("nan")) -> None:
        super().__init__(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16, dropout=0.1), 12, 12)
        self.spoiled, self.by, self.updates = spoiled, by, 0

    def encode(self, source: Tensor, source_mask: Tensor) -> Any:
        self.updates += self.training
        return super().encode(source, source_mask)

    def logits(self, hidden: Tensor) -> Tensor:
        scores = super().logits(hidden)
        return scores * self.by if self.training and self.updates in self.spoiled else scores


class Narrow(AttentionModel):
    """Memory suffices for so many rows at once, and each attempt at more fails late, in the decoder."""

    def __init__(self, rows: int, error: BaseException) -> None:
        super().__init__(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16, dropout=0.0), 12, 12)
        self.rows, self.error = rows, error

    def start(self, memory: Memory) -> Any:
        if self.training and len(memory.mask) > self.rows:
            raise self.error
        return super().start(memory)


def seeded(kind: type[AttentionModel], *given: Any) -> Any:
    torch.manual_seed(1)
    return kind(*given)


def notes(events: list[Any]) -> list[tuple[int, str]]:
    return [(event.step, event.message) for event in events if isinstance(event, Note)]


@pytest.mark.parametrize("by", [float("nan"), float("inf")])
def test_an_update_that_is_not_a_number_is_skipped_and_said(tmp_path: Path, by: float) -> None:
    one = trainer(tmp_path, model=seeded(Spoiled, {3, 4, 9}, by), steps=12)
    events = list(one.events())
    assert notes(events) == [(at, "an update was skipped: its loss was not a finite number") for at in (3, 4, 9)]
    assert one.progress.step == 12
    assert one.progress.accepted == 9
    assert all(tensor.isfinite().all() for tensor in (*one.model.state_dict().values(), *one.best.values()))


def test_a_gradient_that_is_not_finite_is_skipped(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=3)
    one.model.get_parameter("output_bias").register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: gradient * float("inf")
    )
    before = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    assert notes(list(one.events()))[0] == (1, "an update was skipped: its gradient was not a finite number")
    assert all(torch.equal(before[name], tensor) for name, tensor in one.model.state_dict().items())


def test_a_leap_is_skipped_and_what_is_merely_hard_is_not() -> None:
    settings = TrainingSettings(steps=1000, warmup=10)
    progress = Progress()
    for _ in range(KNOWN_AFTER + 10):
        assert not objection(progress, settings, 6.0, 1.0)  # nothing is usual yet
        progress = accepted(progress, 0.5)
    assert progress.usual_loss == pytest.approx(0.5)
    assert not objection(progress, settings, 3.4, 1.0)
    assert objection(progress, settings, 3.6, 1.0) == "its loss of 3.60 leaps out of the usual 0.50"
    for _ in range(300):
        progress = accepted(progress, 2.0)  # it follows a loss that rises
    assert not objection(progress, settings, 7.5, 1.0)


def test_no_leap_is_seen_in_normal_training(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=240, warmup=5, learning_rate=0.02, forcing="linear")
    assert notes(list(one.events())) == []
    assert one.progress.accepted == 240


def test_after_eight_in_a_row_it_goes_back_to_the_checkpoint_with_half_the_rate(tmp_path: Path) -> None:
    bad = set(range(35, 35 + IN_A_ROW))
    one = trainer(tmp_path, model=seeded(Spoiled, bad), steps=60, validations=6)
    events = list(one.events())
    back = notes(events)[-1]
    assert back == (
        30, "8 updates in a row were skipped: back from update 42 to 30, with 0.5 of the learning rate"
    )  # fmt: skip
    assert one.progress.rate_factor == 0.5
    assert one.progress.step == 60
    assert one.progress.skipped == 0
    after = events[events.index(next(e for e in events if isinstance(e, Note) and "back" in e.message)) :]
    assert [event.step for event in after if isinstance(event, Validation)] == [40, 50, 60]
    saved = newest_checkpoint(tmp_path, lambda text: None)
    assert saved is not None
    assert saved.state["rate_factor"] == 0.5


def test_without_a_checkpoint_it_goes_back_to_the_start(tmp_path: Path) -> None:
    one = trainer(tmp_path, model=seeded(Spoiled, set(range(5, 5 + IN_A_ROW))), steps=20, save_seconds=1000)
    events = list(one.events())
    assert notes(events)[-1][1].startswith("8 updates in a row were skipped: back from update 12 to 0")
    assert one.progress.step == 20
    straight = trainer(tmp_path, model=seeded(Spoiled, set()), steps=20, save_seconds=1000)
    straight.progress = replace(straight.progress, rate_factor=0.5)
    list(straight.events())
    for name, tensor in straight.model.state_dict().items():
        assert torch.equal(tensor, one.model.state_dict()[name])  # weights, optimiser and dice are those of the start


def test_it_gives_up_with_advice_when_nothing_helps(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.model.get_parameter("output_bias").data[5] = float("nan")
    with pytest.raises(PairloomError, match=r"halved 6 times: lower it \(--set training.learning_rate=1.6e-05\)"):
        list(one.events())
    assert not list(tmp_path.iterdir())  # a NaN is never saved


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=4, save_seconds=1000)
    list(one.events())
    assert isinstance(one.save(), Saved)
    one.progress = replace(one.progress, step=5)
    one.model.get_parameter("output_bias").data[5] = float("nan")
    refused = one.save()
    assert isinstance(refused, Note)
    assert refused.message == "not saved: weights are not finite numbers; what was saved before is kept"
    assert [path.name for path in tmp_path.iterdir()] == ["step-4"]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError(ALLOCATOR), torch.OutOfMemoryError("CUDA out of memory.")]
)
def test_memory_that_gives_out_cuts_batches_and_changes_nothing_that_is_learned(
    tmp_path: Path, error: BaseException
) -> None:
    narrow = trainer(tmp_path / "narrow", model=seeded(Narrow, 2, error), steps=9)
    wide = trainer(tmp_path / "wide", model=seeded(Narrow, 99, error), steps=9)
    said, _ = notes(list(narrow.events())), list(wide.events())
    assert said[0][1].startswith("memory gave out: batches are taken in pieces of at most 10 padded tokens")
    assert len(said) == 1  # from then on they are cut before memory gives out
    assert narrow.progress.largest == 10
    assert narrow.progress.accepted == 9
    for name, tensor in narrow.model.state_dict().items():
        torch.testing.assert_close(tensor, wide.model.state_dict()[name], atol=2e-4, rtol=1e-3)


def test_one_pair_that_is_too_much_is_a_clear_error(tmp_path: Path) -> None:
    one = trainer(tmp_path, model=seeded(Narrow, 0, MemoryError()))
    with pytest.raises(StorageError, match="not even suffice for one pair of 5 source and 5 target tokens: lower"):
        list(one.events())


def test_another_error_is_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    one = trainer(tmp_path, model=seeded(Narrow, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(one.events())


def test_the_rate_and_the_pieces_outlive_a_stop(tmp_path: Path) -> None:
    first: Trainer = trainer(tmp_path, model=seeded(Narrow, 2, MemoryError()), steps=12,
                             stop=lambda: first.progress.step >= 5)  # fmt: skip
    list(first.events())
    again = trainer(tmp_path, model=seeded(Narrow, 2, MemoryError()), steps=12)
    checkpoint = newest_checkpoint(tmp_path, lambda text: None)
    assert checkpoint is not None
    again.restore(checkpoint)
    assert notes(list(again.events())) == []
    assert again.progress.largest == 10


def test_a_feed_of_batches_is_left_as_it_is() -> None:
    batch: TensorBatch = CopyFeed().batch(0, 0)
    assert batch.source.numel() == 30  # what the numbers above rest on
