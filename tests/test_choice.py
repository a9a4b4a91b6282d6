"""Which engine answers: what is asked for, what is there, and what it can do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import pairloom
from pairloom.decoding import choice
from pairloom.decoding.choice import Answering, Engines, choose_engines
from pairloom.decoding.generator import Generator
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import read_folder


class Answerer:
    """A stand-in for an engine without torch: it says a fixed thing, and cannot draw."""

    precision = "int8"

    def __init__(self, said: list[int]) -> None:
        self.said = said
        self.asked: list[tuple[int, bool]] = []

    def supports(self, settings: DecodingSettings, prefixes: Sequence[Sequence[int]] | None) -> str | None:
        return "it draws" if settings.sample else None

    def together(self, settings: DecodingSettings) -> int:
        return 7

    def generate(
        self,
        sources: Sequence[Sequence[int]],
        settings: DecodingSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        self.asked.append((len(sources), prefixes is not None))
        return [[Hypothesis(self.said, -1.0, -1.0, True)] for _ in sources]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine": "tensorflow"}, "no engine is called 'tensorflow'; there are: auto, torch, onnx"),
        ({"precision": "float16"}, "no precision is called 'float16'; there are: auto, float32, bfloat16, int8"),
        ({"threads": 0}, "threads=0: at least one is needed"),
        ({"engine": "torch", "precision": "int8"}, "int8 needs the engine onnx"),
        ({"engine": "onnx", "precision": "bfloat16"}, "bfloat16 needs the engine torch"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(tiny_model_dir: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pairloom.load(tiny_model_dir, **asked)


@pytest.mark.parametrize(
    ("asked", "name"), [({"engine": "onnx"}, "--engine onnx"), ({"precision": "int8"}, "--precis")]
)
def test_without_onnxruntime_torch_answers_and_says_why(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], name: str
) -> None:
    monkeypatch.setattr(choice, "has_runtime", lambda: False)
    folders = [read_folder(tiny_model_dir)]
    engines = choose_engines(folders, threads=2)
    assert engines.answering(DecodingSettings()) == Answering(
        "torch", "float32", 2, "ONNX Runtime is not installed: pip install 'pairloom[fast]'"
    )
    with pytest.raises(UsageError, match=rf"{name}.*: ONNX Runtime is not installed: pip install 'pairloom\[fast\]'"):
        choose_engines(folders, **asked)


def test_several_models_and_old_folders_are_answered_by_torch(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "has_runtime", lambda: True)
    folder = read_folder(tiny_model_dir)
    assert "several models" in choose_engines([folder, folder]).answering(DecodingSettings()).reason
    monkeypatch.setattr(choice, "has_engine", lambda folder: False)
    assert choice.why_not([folder]) == (
        f"{tiny_model_dir} has no engine/: `pairloom export {tiny_model_dir} --to engine --dev PAIRS` makes it"
    )
    with pytest.raises(UsageError, match="--to engine"):
        choose_engines([folder], engine="onnx")
    assert choose_engines([folder], engine="torch") == Engines()


def test_what_the_fast_engine_cannot_do_torch_does(tiny_model_dir: Path) -> None:
    folder = read_folder(tiny_model_dir)
    fast = Answerer(folder.target.encode("abba"))
    generator = Generator(folder, engines=Engines(fast))
    outputs = list(generator.generate(["abc", " ", "fed"], DecodingSettings(beam=1)))
    assert [output.text for output in outputs] == ["abba", "", "abba"]
    assert fast.asked == [(2, False)]
    list(generator.generate(["abc"], DecodingSettings(beam=1), prefix="a"))
    assert fast.asked[1:] == [(1, True)]
    drawn = list(generator.generate(["abc"], DecodingSettings(sample=True, beam=1)))
    assert len(fast.asked) == 2
    assert drawn[0].candidates
    assert generator.answering(DecodingSettings()).engine == "onnx"
    assert generator.answering(DecodingSettings(sample=True, beam=1))[::3] == ("torch", "it draws")
    both = [DecodingSettings(batch=9), DecodingSettings(batch=9, sample=True, beam=1)]
    assert [Engines(fast, threads=2).together(settings) for settings in both] == [14, 9]
    assert Engines().together(both[0]) == 9
    strict = Generator(folder, engines=Engines(fast, required=True))
    with pytest.raises(UsageError, match=r"onnx cannot do this \(it draws\): leave --engine and --precision out"):
        list(strict.generate(["abc"], DecodingSettings(sample=True, beam=1)))


def test_bfloat16_is_nearly_float32(tiny_model_dir: Path) -> None:
    exact, rough = pairloom.load(tiny_model_dir, engine="torch"), pairloom.load(tiny_model_dir, precision="bfloat16")
    assert rough.answering()[:2] == ("torch", "bfloat16")
    pairs = [("abc", "cba"), ("hgfe", "efgh"), ("ab", "ba")]
    assert rough.score(pairs) != exact.score(pairs)
    assert rough.score(pairs) == pytest.approx(exact.score(pairs), abs=0.3)
    assert len(rough.generate(["abc", "fed"], beam=2)) == 2
    assert "".join(rough.stream("abc")) == rough.generate(["abc"], beam=1)[0]
    assert rough.encode(["abc"]) == pytest.approx(exact.encode(["abc"]), abs=0.05)
