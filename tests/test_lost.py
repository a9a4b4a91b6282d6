"""A run cannot be lost: whatever stops it, harms its files or fills the disk, the same call ends in the same bits.

That it does for every kind of model and of feeding is in `test_resumed.py`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pairloom
from calls import QUICK
from copying import trainer
from pairloom.checkpoint import newest_checkpoint, save_checkpoint
from pairloom.cli.progress import Plain
from pairloom.errors import FolderError, StorageError
from pairloom.learning.events import Note, Step
from pairloom.models.attention import AttentionModel, AttentionSettings
from pairloom.models.protocol import Memory
from pairloom.storage import replace_files, write_manifest
from pairloom.weights import load_folder
from pairloom.workflow import events as ev
from pairloom.workflow.signals import Stop, stopping
from runs import facts, killed, saves, settings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def straight(tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stops."""
    out = tmp_path_factory.mktemp("straight") / "m"
    pairloom.train(tiny_pairs, out=out, **settings())
    return out


@pytest.fixture(scope="module")
def stopped(tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed when it had two checkpoints and had gone on a bit; only to be copied."""
    out = tmp_path_factory.mktemp("stopped") / "m"
    killed(tiny_pairs, out, settings(), saves(3))
    assert len(list((out / "checkpoints").iterdir())) == 2
    return out


@pytest.mark.parametrize(
    "name",
    [
        "training.json", "config.json", "tokenizer.source.json", "tokenizer.target.json", "metrics.jsonl",
        "corpus/train/source.tokens", "corpus/train/target.offsets", "corpus/dev/corpus.json",
        "corpus/tokenizers/tokenizer.source.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_whatever_is_harmed_in_a_run_under_way_is_put_right(
    name: str, harm: str, straight: Path, stopped: Path, tiny_pairs: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "m"))
    content = bytearray((out / name).read_bytes())
    if harm == "flipped":
        content[len(content) // 2] ^= 2
        (out / name).write_bytes(content)
    elif harm == "cut":
        (out / name).write_bytes(content[: len(content) // 2])
    else:
        (out / name).unlink()
    pairloom.train(tiny_pairs, out=out, **settings())
    assert facts(out) == facts(straight)


def test_a_damaged_checkpoint_is_said_and_the_run_ends_the_same(
    straight: Path, stopped: Path, tiny_pairs: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "m"))
    newest = max((out / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    (newest / "optimizer.safetensors").write_bytes(b"")
    first, *_ = pairloom.training(tiny_pairs, out=out, **settings())
    assert isinstance(first, ev.Prepared)
    assert [line for line in first.lines if "is damaged and is passed over: optimizer.safetensors is damaged" in line]
    assert facts(out) == facts(straight)


def test_a_crash_while_the_data_was_prepared_costs_only_that(tiny_pairs: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    next(iter(pairloom.training(tiny_pairs, out=out, **settings())))
    (out / "tokenizer.target.json").write_text("{", "utf-8")
    (out / "corpus" / "tokenizers" / "tokenizer.source.json").write_text("{", "utf-8")
    (out / "training.json").write_text("{", "utf-8")
    pairloom.train(tiny_pairs, out=out, **settings())
    assert facts(out) == facts(straight)


def test_nothing_is_left_behind(tiny_pairs: Path, straight: Path, stopped: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "m"))
    (out / "checkpoints" / ".step-7.writing").mkdir()
    (out / ".model.safetensors.writing").write_bytes(b"half")
    pairloom.train(tiny_pairs, out=out, **settings())
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in straight.iterdir())


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_new_checkpoint_outlives_damaged_ones_that_claim_to_be_newer(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    for step in (40, 50):
        one.progress = replace(one.progress, step=step)
        one.save()
    for path in tmp_path.iterdir():
        (path / "state.json").write_text("", "utf-8")
    assert newest_checkpoint(tmp_path, lambda finding: None) is None
    one.progress = replace(one.progress, step=10)
    one.save()
    assert [path.name for path in tmp_path.iterdir()] == ["step-10"]


def test_a_second_save_at_one_update_replaces_nothing(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.progress = replace(one.progress, step=5)
    for _ in range(3):
        one.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-5.1", "step-5.2"]
    found = newest_checkpoint(tmp_path, lambda finding: None)
    assert found is not None
    assert found.step == 5


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.save()
    checkpoint = newest_checkpoint(tmp_path, lambda finding: None)
    assert checkpoint is not None
    other = trainer(tmp_path, model=AttentionModel(AttentionSettings(embedding=8, encoder_hidden=8, hidden=24), 12, 12))
    with pytest.raises(FolderError, match="does not fit this run"):
        other.restore(checkpoint)
    with pytest.raises(FolderError, match="does not fit this run"):
        trainer(tmp_path).restore(replace(checkpoint, state={**checkpoint.state, "step": "many"}))


# -- a disk that fails -------------------------------------------------------------------------------------------------


class Disk:
    """Lets the Nth write, flush or rename fail, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nth: int, error: int = errno.ENOSPC) -> None:
        self.calls, self.nth, self.error = 0, nth, error
        write = Path.write_bytes

        def half(path: Path, content: bytes) -> int:
            try:
                self.count()
            except OSError:
                write(path, content[: len(content) // 2])
                raise
            return write(path, content)

        for name in ("fsync", "rename", "replace"):
            monkeypatch.setattr(os, name, self.failing(getattr(os, name)))
        monkeypatch.setattr(Path, "write_bytes", half)

    def failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            self.count()
            return real(*given)

        return call

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.nth:
            raise OSError(self.error, os.strerror(self.error))


def failure_of(call: Callable[..., object], *given: Any) -> str:
    """What a StorageError said; empty if there was none."""
    try:
        call(*given)
    except StorageError as failure:
        return str(failure)
    return ""


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_save_that_fails_anywhere_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    one = trainer(tmp_path, steps=4)
    list(one.events())
    one.save()
    nth, failures = 0, 0
    while True:
        nth += 1
        one.progress = replace(one.progress, step=one.progress.step + 1)
        with monkeypatch.context() as patch:
            disk = Disk(patch, nth, error)
            said = failure_of(one.save)
            failures += bool(said)
        assert not said or os.strerror(error) in said
        found = newest_checkpoint(tmp_path, pytest.fail)
        assert found is not None
        assert found.step >= one.progress.step - failures - 1
        for name, tensor in found.tensors["weights"].items():
            assert torch.equal(tensor, one.model.state_dict()[name])
        if disk.calls < nth:
            break
        one.save()
        failures = 0
    assert nth > 15


def test_a_full_disk_amid_a_run_is_said_and_does_not_end_it(
    tiny_pairs: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = save_checkpoint, [0]

    def sometimes(*given: Any) -> Path:
        calls[0] += 1
        if calls[0] in (1, 2, 4):
            raise StorageError("cannot write checkpoints: No space left on device; what was there before is kept")
        return real(*given)

    monkeypatch.setattr("pairloom.learning.trainer.save_checkpoint", sometimes)
    events = list(pairloom.training(tiny_pairs, out=tmp_path / "m", **settings()))
    said = [event.message for event in events if isinstance(event, Note)]
    assert len(said) == 3
    assert said[0].startswith("not saved: cannot write checkpoints: No space left on device")
    assert said[0].endswith("training goes on, and saving is tried again")
    assert facts(tmp_path / "m") == facts(straight)


def test_a_finished_model_loads_wherever_adding_its_score_fails(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nth = 0
    while True:
        nth += 1
        out = tmp_path / str(nth)
        shutil.copytree(straight, out)
        with monkeypatch.context() as patch:
            disk = Disk(patch, nth)
            failure_of(replace_files, out, {"training.json": b'{"result": null}', "README.md": b"x"})
        load_folder(out)
        if disk.calls < nth:
            break
    assert nth > 8
    assert (out / "README.md").read_bytes() == b"x"


def test_an_end_that_cannot_be_written_leaves_with_5_and_is_made_up_for(
    ask: Any, tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise StorageError("cannot write model.safetensors: No space left on device; what was there before is kept")

    words = ("train", tiny_pairs, "--out", tmp_path / "m", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("pairloom.workflow.run.write_weights", full)
        answer = ask(*words)
    assert answer.code == 5
    assert "No space left on device" in answer.err
    assert ask(*words).code == 0


# -- memory ------------------------------------------------------------------------------------------------------------


class Narrow(AttentionModel):
    """Memory suffices for so many rows at once when the development set is scored."""

    rows = 99

    def start(self, memory: Memory) -> Any:
        if not self.training and len(memory.mask) > self.rows:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return super().start(memory)


def test_memory_that_gives_out_at_a_validation_cuts_it_and_changes_no_score(tmp_path: Path) -> None:
    def run(rows: int) -> tuple[list[float], dict[str, Tensor]]:
        torch.manual_seed(1)
        model = Narrow(AttentionSettings(embedding=8, encoder_hidden=8, hidden=16, dropout=0.1), 12, 12)
        model.rows = rows
        one = trainer(tmp_path / str(rows), model=model, steps=20)
        one.average.rows = rows  # type: ignore[assignment]
        losses = [event.loss for event in one.events() if isinstance(event, ev.Validation)]
        return losses, one.model.state_dict()

    (whole, weights), (cut, same) = run(99), run(2)
    assert cut == pytest.approx(whole, rel=1e-5)
    assert all(torch.equal(weights[name], same[name]) for name in weights)


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_each_signal_asks_to_stop_and_has_its_exit_code(number: signal.Signals, code: int) -> None:
    with stopping() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        assert stop.exit_code == code
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(number)
        assert caught.value.args == (code,)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with stopping() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert Stop().exit_code == 130


def test_a_second_sigterm_leaves_at_once_with_143_and_nothing_is_lost(
    ask: Any, tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = Plain.__call__

    def take(self: Plain, event: ev.Event) -> None:
        received(self, event)
        if isinstance(event, Step) and event.step >= 20:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    words = ("train", tiny_pairs, "--out", tmp_path / "m", *QUICK, "--set", "training.save_seconds=0")
    with monkeypatch.context() as patch:
        patch.setattr(Plain, "__call__", take)
        assert ask(*words).code == 143
    assert ask(*words).code == 0


@pytest.fixture
def resealed(straight: Path, tmp_path: Path) -> Iterator[Path]:
    out = Path(shutil.copytree(straight, tmp_path / "sealed"))
    yield out
    write_manifest(out)


def test_a_finished_run_that_was_killed_before_it_tidied_up_is_tidied(resealed: Path, tiny_pairs: Path) -> None:
    (resealed / "checkpoints").mkdir()
    (resealed / "corpus").mkdir()
    assert list(pairloom.training(tiny_pairs, out=resealed, **settings())) == []
    assert not (resealed / "checkpoints").exists()
    assert not (resealed / "corpus").exists()


def test_another_machine_is_said(stopped: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "m"))
    for path in (out, *(out / "checkpoints").iterdir()):
        record = json.loads((path / "training.json").read_text("utf-8"))
        record["machine"]["threads"] = 64
        (path / "training.json").write_text(json.dumps(record), "utf-8")
        if path != out:
            write_manifest(path)
    first = next(iter(pairloom.training(tiny_pairs, out=out, **settings())))
    assert isinstance(first, ev.Prepared)
    assert [line for line in first.lines if line.startswith("not as when the run began: threads 64 → 1; the weights")]
