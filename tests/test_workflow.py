"""The whole line in Python: pairs → model → folder → answers; stopped, refused, begun anew."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pairloom
from conftest import TINY
from pairloom.errors import DataError, UsageError
from pairloom.models import SETTINGS
from pairloom.text.tokenizer import Unit
from pairloom.weights import load_folder
from pairloom.workflow import events as ev
from pairloom.workflow.plan import make_plan
from pairloom.workflow.run import _spent, refuse_another_run
from pairloom.workflow.settings import RunSettings

SMALL: dict[str, Any] = {
    "model": {"embedding": 8, "encoder_hidden": 8, "hidden": 16},
    "training": {"batch_tokens": 100, "save_seconds": 0, "validations": 4, "learning_rate": 0.02},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words of a few letters, to be written backwards."""
    generator = random.Random(0)
    words = sorted({"".join(generator.choices("abcdef", k=generator.randint(2, 5))) for _ in range(200)})
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    path.write_text("".join(f"{word}\t{word[::-1]}\n" for word in words), "utf-8")
    return path


@pytest.fixture(scope="module")
def model(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> pairloom.Model:
    return pairloom.train(pairs, out=tmp_path_factory.mktemp("run") / "model", steps=30, **SMALL)


def test_events_tell_the_run_in_order(pairs: Path, tmp_path: Path) -> None:
    events = list(pairloom.training(pairs, out=tmp_path / "m", steps=20, **SMALL))
    kinds = [type(event) for event in events]
    assert kinds[0] is ev.Prepared
    assert kinds[-3:] == [ev.Finished, ev.Written, ev.Evaluated]
    validation = next(event for event in events if isinstance(event, ev.Validation))
    assert len(validation.samples) == 2
    assert not (tmp_path / "m" / "checkpoints").exists()
    assert not (tmp_path / "m" / "corpus").exists()


def test_no_source_is_in_both_parts(pairs: Path, tmp_path: Path) -> None:
    first = next(iter(pairloom.training(pairs, out=tmp_path / "m", steps=20, **SMALL)))
    assert isinstance(first, ev.Prepared)
    assert "held out, no source in both" in first.lines[0]


def test_a_loaded_model_says_what_the_trained_one_said(model: pairloom.Model) -> None:
    again = pairloom.load(model.folder.path)
    texts = ["abc", "", "fed", "   ", "aaaa"]
    assert again.generate(texts) == model.generate(texts)
    assert again.generate(texts)[1] == again.generate(texts)[3] == ""


def test_the_score_of_an_output_is_the_score(model: pairloom.Model) -> None:
    exact = pairloom.load(model.folder.path, precision="float32")
    for output in exact.outputs(["abc", "fedc"], beam=3, nbest=3):
        finished = [candidate for candidate in output.candidates if candidate.finished]
        scores = model.score([(output.source, candidate.text) for candidate in finished if candidate.text])
        ours = [candidate.score for candidate in finished if candidate.text]
        np.testing.assert_allclose(scores, ours, atol=1e-4)


def test_an_explanation_fits_its_text(model: pairloom.Model) -> None:
    found = model.explain("abc", "cba")
    assert found.source_tokens == ["a", "b", "c", "</s>"]
    assert found.tokens == ["c", "b", "a", "</s>"]
    assert found.source_spans == [(0, 1), (1, 2), (2, 3), (3, 3)]
    assert found.attention.shape == (4, 4)
    np.testing.assert_allclose(found.attention.sum(1), 1, atol=1e-5)
    assert found.score == pytest.approx(model.score([("abc", "cba")])[0], abs=1e-4)
    assert all(0 <= probability <= 1 for step in found.alternatives for _, probability in step)


def test_a_stream_is_the_greedy_output_in_pieces(model: pairloom.Model) -> None:
    assert "".join(model.stream("abcd")) == model.generate(["abcd"], beam=1)[0]


@pytest.mark.parametrize(
    ("unit", "text"), [("jamo", "좋아요, 참 \u1101\u1101 q\u0323\u0307 각"), ("byte", "좋아요\ufffd a"), ("jamo", "가")]
)
def test_pieces_of_a_stream_are_never_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, text: str
) -> None:
    """A syllable is made of several letters, a character of several bytes: what is given out is whole."""
    (tmp_path / "pairs.tsv").write_text("".join(f"{'ab' * n}\t{text}\n" for n in range(1, 20)), "utf-8")
    options = {**TINY, "steps": 1, "source_unit": "character", "target_unit": unit}
    model = pairloom.train(tmp_path / "pairs.tsv", out=tmp_path / "model", **options)
    written = model.folder.target.encode(text)
    monkeypatch.setattr("pairloom.decoding.plain.PlainEngine.stream", lambda self, source, settings: iter(written))
    pieces = list(model.stream("ab"))
    assert "".join(pieces) == text
    assert len(pieces) > len(text) // 2


@pytest.mark.parametrize("most", [2, None])
def test_a_stream_returns_how_it_ended(model: pairloom.Model, most: int | None) -> None:
    (output,) = model.outputs(["abcd"], beam=1, max_length=most)
    endings = []

    def whole() -> Iterator[str]:
        endings.append((yield from model.stream("abcd", max_length=most)))

    assert "".join(whole()) == output.text
    assert endings == [(len(output.candidates[0].tokens), most is None)]


def test_a_stream_of_nothing_is_nothing(model: pairloom.Model) -> None:
    for blank in ("", "   "):
        assert list(model.stream(blank)) == []
        assert model.generate([blank]) == [""]


def test_two_streams_on_one_model_do_not_meet(model: pairloom.Model) -> None:
    expected = ["".join(model.stream(text)) for text in ("abc", "fedcb")]
    found, streams = ["", ""], [model.stream("abc"), model.stream("fedcb")]
    open_streams: set[int] = {0, 1}
    while open_streams:
        for number in sorted(open_streams):
            piece = next(streams[number], None)
            if piece is None:
                open_streams.discard(number)
            else:
                found[number] += piece
    assert found == expected


def test_sampling_does_not_depend_on_the_window(model: pairloom.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["abc", "fed", "aaaa", "bcd", "ef"] * 3
    whole = model.generate(texts, sample=True, seed=3, batch=4)
    monkeypatch.setattr("pairloom.decoding.generator.WINDOW", 1)
    assert model.generate(texts, sample=True, seed=3, batch=4) == whole
    parts = [*model.outputs(texts[:7], sample=True, seed=3), *model.outputs(texts[7:], first=7, sample=True, seed=3)]
    assert [output.text for output in parts] == whole
    assert len(set(model.generate(["abc"] * 8, sample=True, temperature=3.0))) > 1


def test_context_vectors_have_one_row_a_text(model: pairloom.Model) -> None:
    vectors = model.encode(["abc", "abc", "fed"])
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_evaluate_reads_pairs_and_merges_answers(model: pairloom.Model, tmp_path: Path) -> None:
    said = model.generate(["abc"])[0]
    test = tmp_path / "test.tsv"
    test.write_text(f"abc\tnever\nabc\t{said}\nno tab here\n", "utf-8")
    apart, merged = model.evaluate(test, ["exact"]), model.evaluate(test, ["exact"], merge=True)
    assert (apart.lines, apart.scores[0].value) == (2, 50.0)
    assert (merged.lines, merged.scores[0].value) == (1, 100.0)
    assert "1 unusable line" in merged.skipped
    assert f"{test}:3: " in merged.skipped


def test_evaluate_draws_with_the_seed_that_is_given(model: pairloom.Model, tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("".join(f"{word}\tx\n" for word in ("ab", "cde", "fab", "bcd") * 5))
    path = tmp_path / "test.tsv"
    asked: dict[str, Any] = {"sample": True, "temperature": 3.0}
    outputs = [model.evaluate(path, ["exact"], seed=seed, **asked).outputs for seed in (7, 7, 8)]
    assert outputs[0] == outputs[1] != outputs[2]


def test_a_run_names_its_unusable_lines(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    rows = [f"{'ab' * n}\t{'ba' * n}\n" for n in range(1, 60)]
    pairs.write_text("".join(rows) + "no tab\n" * 7, "utf-8")
    events = pairloom.training(pairs, out=tmp_path / "run", steps=1, threads=1)
    prepared = next(iter(events))
    assert isinstance(prepared, ev.Prepared)
    text = "\n".join(prepared.lines)
    assert "7 unusable lines beside 59 pairs" in text
    assert [f"{pairs}:{line}: " in text for line in (60, 64, 65)] == [True, True, False]
    assert "  and 2 more: `pairloom check` says which" in text


def stopping_after(count: int) -> Iterator[bool]:
    yield from [False] * count
    while True:
        yield True


def test_a_stopped_run_goes_on_and_ends_the_same(pairs: Path, tmp_path: Path) -> None:
    whole = pairloom.train(pairs, out=tmp_path / "whole", steps=24, **SMALL)
    asked = stopping_after(30)
    *_, last, farewell = pairloom.training(pairs, out=tmp_path / "parts", steps=24, stop=lambda: next(asked), **SMALL)
    assert isinstance(last, ev.Finished)
    assert last.reason == "asked"
    assert 0 < last.step < 24
    assert isinstance(farewell, ev.Interrupted)
    assert "the same command goes on from there" in farewell.message
    first, *_ = pairloom.training(pairs, out=tmp_path / "parts", steps=24, **SMALL)
    assert isinstance(first, ev.Prepared)
    assert first.resumed_at == last.step
    parts = pairloom.train(pairs, out=tmp_path / "parts", steps=24, **SMALL)
    ended = load_folder(parts.folder.path).model.state_dict()
    for name, tensor in load_folder(whole.folder.path).model.state_dict().items():
        assert tensor.equal(ended[name]), name


def test_a_stop_during_the_preparation_leaves_a_run_that_begins_again(pairs: Path, tmp_path: Path) -> None:
    for calls in range(6):  # each pass over the pairs asks once, for so few of them
        asked = stopping_after(calls)
        *_, last = pairloom.training(pairs, out=tmp_path / "m", steps=5, stop=asked.__next__, **SMALL)
        assert isinstance(last, ev.Interrupted), calls
    assert pairloom.train(pairs, out=tmp_path / "m", steps=5, **SMALL).folder.training["result"]["step"] == 5


def test_a_run_that_ended_before_it_was_judged_is_judged_by_the_next_call(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    for event in pairloom.training(pairs, out=out, steps=10, **SMALL):
        if isinstance(event, ev.Written):
            break  # what a crash would do here
    assert "development" not in load_folder(out).training
    before = load_folder(out).model.state_dict()
    again = pairloom.train(pairs, out=out, steps=10, **SMALL)
    assert again.folder.training["development"]["scores"]
    assert all(tensor.equal(before[name]) for name, tensor in load_folder(out).model.state_dict().items())
    assert not (out / "checkpoints").exists()


def test_preparation_never_takes_the_whole_budget() -> None:
    assert _spent(RunSettings(pairs=("x",), minutes=1), 500.0) == 30.0
    assert _spent(RunSettings(pairs=("x",), minutes=1), 5.0) == 5.0


def test_a_finished_run_is_left_alone(model: pairloom.Model, pairs: Path) -> None:
    before = (model.folder.path / "MANIFEST.sha256").stat().st_mtime_ns
    assert list(pairloom.training(pairs, out=model.folder.path, steps=30, **SMALL)) == []
    assert (model.folder.path / "MANIFEST.sha256").stat().st_mtime_ns == before


def test_another_run_in_the_same_folder_is_refused_with_the_difference(model: pairloom.Model, pairs: Path) -> None:
    with pytest.raises(UsageError, match=r"steps: 30 there, 31 now[\s\S]*--fresh"):
        list(pairloom.training(pairs, out=model.folder.path, steps=31, **SMALL))
    load_folder(model.folder.path)


def test_a_run_that_held_out_by_its_only_seed_is_known_again(tmp_path: Path) -> None:
    def record(*data: str, **run: int) -> dict[str, Any]:
        return {"run": run, "data": dict.fromkeys(data, "hash")}

    def compare(there: dict[str, Any], now: dict[str, Any]) -> None:
        (tmp_path / "training.json").write_text(json.dumps(there), "utf-8")
        refuse_another_run(tmp_path, now, fresh=False)

    compare(record("pairs", seed=1), record("pairs", seed=1, split_seed=1))
    compare(record("pairs", seed=7), record("pairs", seed=7, split_seed=7))
    compare(record("pairs", "dev", seed=7), record("pairs", "dev", seed=7, split_seed=1))  # nothing was held out
    with pytest.raises(UsageError, match="split_seed: 7 there, 1 now"):
        compare(record("pairs", seed=7), record("pairs", seed=7, split_seed=1))


def test_fresh_begins_anew_and_removes_nothing_else(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    pairloom.train(pairs, out=out, steps=6, **SMALL)
    (out / "my-notes.txt").write_text("keep me")
    assert pairloom.train(pairs, out=out, steps=7, fresh=True, **SMALL).folder.training["result"]["step"] == 7
    assert (out / "my-notes.txt").read_text() == "keep me"


def test_a_folder_with_strange_files_is_not_touched(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match=r"is not empty \(thesis.tex\)"):
        list(pairloom.training(pairs, out=tmp_path, steps=5))
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 5, "minutes": 1.0}, "--minutes and --steps are both budgets"),
        ({"kind": "elman"}, "--model elman is not there"),
        ({"steps": 5, "model": {"hidden": 0}}, "hidden: Input should be greater than or equal to 1"),
        ({"steps": 5, "training": {"clips": 1}}, "clips: Extra inputs are not permitted"),
        ({"step": 5}, "step: Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_named(pairs: Path, tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list(pairloom.training(pairs, out=tmp_path / "m", **settings))


def test_one_pair_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("a\tb\n")
    with pytest.raises(DataError, match=r"no (training|development) pairs are left"):
        list(pairloom.training(tmp_path / "one.tsv", out=tmp_path / "m", steps=5))


def test_where_too_few_pairs_are_left_the_skipped_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "few.tsv").write_text("a\tb\nno tab here\nc\t\n")
    with pytest.raises(DataError, match=r"pairs are left") as raised:
        list(pairloom.training(tmp_path / "few.tsv", out=tmp_path / "m", steps=5))
    assert [problem.split(": ")[0][-9:] for problem in raised.value.problems] == ["few.tsv:2", "few.tsv:3"]


def test_the_plan_grows_with_the_data() -> None:
    settings, device = RunSettings(pairs=("x",), steps=5), torch.device("cpu")
    few, many = (make_plan(settings, "space", count, device).model["hidden"] for count in (3_600, 100_000))
    assert few < many < make_plan(settings, "bpe", 29_000, device).model["hidden"]


def test_a_transformer_takes_small_batches_of_sentences_for_the_sake_of_updates() -> None:
    def batch(kind: str, unit: Unit, pairs: int, device: str = "cpu") -> int:
        settings = RunSettings(pairs=("x",), steps=5, kind=kind, precision="float32")
        return make_plan(settings, unit, pairs, torch.device(device)).training.batch_tokens

    assert batch("transformer", "bpe", 29_000) < batch("attention", "bpe", 29_000)
    assert batch("transformer", "bpe", 29_000, "cuda") == batch("attention", "bpe", 29_000)
    assert batch("transformer", "character", 100_000) == batch("attention", "character", 100_000)
    own = RunSettings(pairs=("x",), steps=5, kind="transformer", training={"batch_tokens": 77})
    assert make_plan(own, "bpe", 29_000, torch.device("cpu")).training.batch_tokens == 77


def test_the_fewer_pairs_the_more_passes() -> None:
    settings, device = RunSettings(pairs=("x",), minutes=5), torch.device("cpu")
    passes = [make_plan(settings, "space", pairs, device).training.most_epochs for pairs in (100, 1_000, 3_600, 19_999)]
    assert passes == [400, 144, 40, 40]
    assert make_plan(settings, "space", 20_000, device).training.most_epochs is None
    asked = RunSettings(pairs=("x",), minutes=5, training={"most_epochs": 7})
    assert make_plan(asked, "space", 1_000, device).training.most_epochs == 7


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_kind_of_model_has_sizes_for_every_amount_of_data(kind: str) -> None:
    settings = RunSettings(pairs=("x.tsv",), kind=kind, steps=1)
    for unit, pairs in (("character", 3_600), ("character", 100_000), ("bpe", 29_000)):
        plan = make_plan(settings, unit, pairs, torch.device("cpu"))  # type: ignore[arg-type]
        assert plan.kind == kind
        assert plan.summary
        SETTINGS[kind].model_validate(plan.model)


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_kind_of_model_goes_the_whole_way(kind: str, tiny_pairs: Path, tmp_path: Path) -> None:
    small = {"hidden": 8} if kind in ("rnn", "attention") else {"size": 8, "feed_forward": 8, "heads": 2}
    run: dict[str, Any] = {"steps": 3, "threads": 1, "kind": kind, "model": small}
    pairloom.train(tiny_pairs, out=tmp_path / "run", **run)
    model = pairloom.load(tmp_path / "run", precision="float32")
    texts = ["abc", "", "hgfedcba", "a"]
    found = list(model.outputs(texts, beam=3))
    assert [output.source for output in found] == texts
    assert found[1].text == ""
    said = [(output.source, output.text) for output in found if output.text]
    for (_, text), score, output in zip(said, model.score(said), [o for o in found if o.text], strict=True):
        if output.candidates[0].finished and model.folder.target.decode(model.folder.target.encode(text)) == text:
            assert score == pytest.approx(output.candidates[0].score, abs=1e-3)
    assert len(model.encode(["abc", "de"])) == 2
    if kind == "rnn":
        with pytest.raises(UsageError, match="has no attention to show"):
            model.explain("abc")
    else:
        assert model.explain("abc").attention.sum(1) == pytest.approx(1.0, abs=1e-4)
