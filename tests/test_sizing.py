"""The size of a model and the number of threads, from the speed that was measured; and that it is measured once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pairloom
from pairloom.errors import UsageError
from pairloom.workflow import events as ev
from pairloom.workflow import sizing
from pairloom.workflow.plan import LADDER, SIZES, Plan, make_plan
from pairloom.workflow.prepare import Prepared, open_data, prepare
from pairloom.workflow.settings import RunSettings


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Running text: its usual size is the large one."""
    generator = random.Random(0)
    words = ["the", "old", "house", "by", "river", "was", "sold", "again", "today", "and", "nobody", "knew", "why"]
    lines = {" ".join(generator.choices(words, k=generator.randint(5, 9))) for _ in range(120)}
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    path.write_text("".join(f"{line}\t{line.upper()}\n" for line in sorted(lines)), "utf-8")
    return path


def speeds(monkeypatch: pytest.MonkeyPatch, of: Callable[[Plan, int], float]) -> list[str]:
    """Puts made-up speeds, of a plan and a number of threads, in the place of measured ones; lists the sizes asked."""
    asked: list[str] = []

    def measure(plan: Plan, *rest: Any) -> float:
        asked.append(plan.size)
        return of(plan, torch.get_num_threads())

    monkeypatch.setattr(sizing, "measure", measure)
    return asked


def prepared(pairs: Path, out: Path, **settings: Any) -> Prepared:
    """What a run would train."""
    given = {"minutes": 2.0, "threads": 1, **settings}
    chosen = RunSettings(pairs=(str(pairs),), **given)
    return prepare(chosen, open_data(chosen), out)


def test_a_trial_leaves_nothing_behind(sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works in a folder of that name keeps it, however often a run is to be saved."""
    (tmp_path / "work" / "step-1").mkdir(parents=True)
    (tmp_path / "work" / "step-1" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("pairloom.learning.trainer.REPORT_EVERY", 1)  # when it may be saved
    found = prepared(sentences, tmp_path / "out", size="small", training={"save_seconds": 0})
    assert found.sizing is not None
    assert [str(path) for path in sorted(Path().rglob("*"))] == ["step-1", "step-1/mine.txt"]


FAST, SLOW = 1e6, 1.0


def test_the_usual_size_where_there_is_time(sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = speeds(monkeypatch, lambda plan, threads: FAST)
    found = prepared(sentences, tmp_path)
    assert found.plan.model["hidden"] == SIZES["attention"]["text"]["hidden"]
    assert (asked, found.sizing and found.sizing.refused) == (["large"], "")
    assert any("minutes buy about" in line for line in found.lines)


def test_smaller_ones_where_there_is_not(sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = speeds(monkeypatch, lambda plan, threads: SLOW if plan.size == "large" else FAST)
    found = prepared(sentences, tmp_path)
    assert asked == ["large", "medium"]
    assert found.sizing is not None
    assert found.sizing.size == found.plan.size == "medium"
    assert found.plan.model["hidden"] == SIZES["attention"]["many"]["hidden"]
    assert not found.plan.model["input_feeding"]
    assert any("size: not large" in line and "--size large" in line for line in found.lines)
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["model"] == found.plan.model


def test_the_smallest_is_taken_however_slow(sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = speeds(monkeypatch, lambda plan, threads: SLOW)
    assert prepared(sentences, tmp_path).plan.size == "small"
    assert asked == list(LADDER[::-1])


@pytest.mark.parametrize(
    ("said", "size"),
    [({"size": "large"}, "large"), ({"size": "small"}, "small"), ({"model": {"hidden": 64}}, "large")],
)
def test_what_the_user_says_stays(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], size: str
) -> None:
    asked = speeds(monkeypatch, lambda plan, threads: SLOW)
    found = prepared(sentences, tmp_path, **said)
    assert asked == [size]
    assert found.plan.size == size
    assert found.plan.model["hidden"] == said.get("model", {}).get("hidden", {"small": 256, "large": 512}[size])


@pytest.mark.parametrize("budget", [{"steps": 5}, {"epochs": 1}, {"minutes": 0.5}])
def test_nothing_is_measured_without_minutes_to_spend(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: dict[str, Any]
) -> None:
    asked = speeds(monkeypatch, lambda plan, threads: SLOW)
    found = prepared(sentences, tmp_path, **{"minutes": None, **budget})
    assert (asked, found.sizing, found.plan.size) == ([], None, "large")


def test_one_thread_where_two_are_no_faster(sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        for at_two, threads in ((0.9 * FAST, 1), (1.5 * FAST, 2)):
            torch.set_num_threads(2)
            speeds(monkeypatch, lambda plan, count, at_two=at_two: at_two if count == 2 else FAST)  # type: ignore[misc]
            found = prepared(sentences, tmp_path / str(threads), threads=None).sizing
            assert found is not None
            assert found.threads == torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_run_that_goes_on_measures_nothing_and_keeps_its_size(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: dict[str, Any] = {"minutes": 1.0, "threads": 1, "training": {"batch_tokens": 100}}
    asked = speeds(monkeypatch, lambda plan, threads: SLOW)

    def sitting() -> ev.Prepared:
        """As far as to the first update."""
        seen: list[ev.Event] = []
        for event in pairloom.training(sentences, out=tmp_path / "m", stop=lambda: bool(seen), **run):
            seen.append(event)
        assert isinstance(seen[-1], ev.Interrupted)
        assert isinstance(seen[0], ev.Prepared)
        return seen[0]

    sitting()
    record = json.loads((tmp_path / "m" / "training.json").read_text("utf-8"))
    assert record["sizing"]["size"] == "small"
    asked.clear()
    assert any("minutes buy about" in line for line in sitting().lines)
    assert asked == []
    assert json.loads((tmp_path / "m" / "training.json").read_text("utf-8")) == record


def test_real_updates_are_timed_and_leave_nothing_behind(sentences: Path, tmp_path: Path) -> None:
    found = prepared(sentences, tmp_path, minutes=None, steps=3, size="small")
    there = sorted(tmp_path.rglob("*"))
    corpora = (found.train, found.development)
    assert sizing.measure(found.plan, found.folder, corpora, found.device, 0.2) > 0
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("size", LADDER)
def test_every_kind_has_every_size(kind: str, size: str) -> None:
    settings = RunSettings(pairs=("x.tsv",), kind=kind, steps=1)
    assert make_plan(settings, "bpe", 29_000, torch.device("cpu"), size).size == size


def test_the_usual_feeding_gives_way_to_an_attention_that_feeds_itself() -> None:
    def planned(**model: Any) -> dict[str, Any]:
        return make_plan(RunSettings(pairs=("x",), model=model), "character", 300, torch.device("cpu")).model

    assert planned()["input_feeding"] is True
    assert planned(attention="additive") == {**planned(), "attention": "additive", "input_feeding": False}
    with pytest.raises(UsageError, match="attention=additive already feeds its context into the cell"):
        planned(attention="additive", input_feeding=True)


@pytest.mark.parametrize("fast", [False, True])
def test_bfloat16_that_is_no_gain_is_said(
    fast: bool, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairloom.workflow.prepare.has_fast_bfloat16", lambda device: fast)
    found = prepared(sentences, tmp_path, minutes=None, steps=1, precision="bfloat16")
    assert any("bfloat16 is slower here" in line for line in found.lines) is not fast
