"""The commands that use, judge and describe models: what they print, and where."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

import pairloom
from conftest import TINY
from pairloom.cli.lines import arriving
from pairloom.decoding.generator import Generator
from pairloom.errors import DataError
from pairloom.models.protocol import Model, Step

# -- generate, score, attend -------------------------------------------------------------------------------------------


def test_one_line_in_one_line_out_blank_ones_and_bad_bytes_too(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    lines = [
        b"abc",
        b"",
        b"   ",
        b"\xff\xfe",
        b"b\r",
        "가나다".encode(),
        b"a\x00b",
        b"a\tb",
        b"h" * 500,
        b"last, without an end",
    ]
    answer = ask("generate", tiny_model_dir, stdin=b"\n".join(lines))
    assert answer.code == 0
    assert len(answer.lines) == len(lines)
    assert answer.lines[1] == answer.lines[2] == ""
    assert "1 of 10 lines were not UTF-8" in answer.err
    assert "1 of 10 lines were longer than the model reads" in answer.err
    file = tmp_path / "lines.txt"
    file.write_bytes(b"\n".join(lines))
    assert ask("generate", tiny_model_dir, file).out == answer.out
    assert ask("generate", tiny_model_dir, "--batch", "2", file).out == answer.out  # an option before the file
    assert ask("generate", tiny_model_dir, stdin=b"").out == ""


def test_ways_of_choosing(ask: Any, tiny_model_dir: Path) -> None:
    text = b"abc\n\nfed\n"
    several = ask("generate", tiny_model_dir, "--beam", "4", "--nbest", "3", stdin=text)
    assert [line.count("\t") for line in several.lines] == [2, 0, 2]
    best = ask("generate", tiny_model_dir, "--beam", "4", stdin=text)
    assert [line.split("\t")[0] for line in several.lines] == best.lines
    draws = [ask("generate", tiny_model_dir, "--sample", "--seed", seed, stdin=text).out for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert all(
        line.startswith("ab") for line in ask("generate", tiny_model_dir, "--prefix", "ab", stdin=b"c\nd\n").lines
    )
    wrong = ask("generate", tiny_model_dir, "--nbest", "9", "--beam", "2", stdin=text)
    assert wrong.code == 2
    assert "nbest=9 is more than beam=2" in wrong.err
    wrong = ask("generate", tiny_model_dir, "--beam", "0", stdin=text)
    assert wrong.code == 2
    assert "beam: Input should be greater than or equal to 1" in wrong.err


def test_json_of_generate(ask: Any, tiny_model_dir: Path) -> None:
    answer = ask("generate", tiny_model_dir, "--json", "--attention", "--nbest", "2", stdin=b"abc\n\n")
    first, blank = answer.json
    assert first["schema"] == blank["schema"] == 1
    assert (first["line"], first["source"], blank["line"], blank["text"]) == (1, "abc", 2, "")
    assert len(first["candidates"]) == 2
    assert first["candidates"][0]["text"] == first["text"]
    assert len(first["attention"]) == len(first["tokens"]) + 1
    assert all(len(row) == len(first["source_tokens"]) == 4 for row in first["attention"])
    assert blank["score"] is None
    assert "attention" not in blank


def test_a_slow_writer_is_answered_line_by_line(tiny_model_dir: Path) -> None:
    words = [sys.executable, "-m", "pairloom", "generate", str(tiny_model_dir), "--threads", "1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"abc\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n")  # the answer comes although the input is still open
        process.send_signal(signal.SIGINT)  # the reading thread must not stand in the way of the end
        assert process.wait(120) == 130
        assert process.stderr.read() == b"pairloom: interrupted\n"


def test_a_pause_in_a_pipe_that_does_not_block_is_not_the_end(tiny_model_dir: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    command = [sys.executable, "-m", "pairloom", "generate", str(tiny_model_dir), "--beam", "1"]
    with subprocess.Popen(command, stdin=reading, stdout=subprocess.PIPE, text=True) as process:
        os.close(reading)
        assert process.stdout is not None
        for line in ("abc\n", "de\n"):
            os.write(writing, line.encode())
            assert process.stdout.readline()
            time.sleep(0.3)
        os.close(writing)
        assert process.wait(60) == 0


def test_a_reader_who_has_had_enough_is_left_in_peace() -> None:
    script = f'(sleep 0.5; "{sys.executable}" -m pairloom --help; echo $? >&2) | true'
    ended = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    assert ended.stderr == b"141\n"


def test_windows_of_what_has_arrived() -> None:
    assert [line for part in arriving(iter("abcdefg"), 3) for line in part] == list("abcdefg")
    assert all(1 <= len(part) <= 3 for part in arriving(iter("abcdefg"), 3))

    def broken() -> Iterator[str]:
        yield "whole"
        raise DataError("it breaks off")

    parts = arriving(broken(), 10)
    assert next(parts) == ["whole"]
    with pytest.raises(DataError, match="breaks off"):
        next(parts)


def test_score(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "some.tsv"
    pairs.write_text("abc\tcba\nno tab\nab\tba\n")
    answer = ask("score", tiny_model_dir, pairs)
    assert answer.code == 0
    rows = [line.split("\t") for line in answer.lines]
    assert [row[1:] for row in rows] == [["abc", "cba"], ["ab", "ba"]]
    assert all(float(row[0]) < 0 for row in rows)
    assert "perplexity" in answer.err
    assert "1 unusable line beside 2 pairs" in answer.err
    assert f"  {pairs}:2: " in answer.err
    *each, total = ask("score", tiny_model_dir, pairs, "--json").json
    assert [f"{one['score']:.4f}" for one in each] == [row[0] for row in rows]
    assert total["tokens"] == 7
    assert total["skipped"] == 1
    assert total["perplexity"] > 1


def test_the_score_of_an_output_is_what_score_says(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    (said,) = ask("generate", tiny_model_dir, "--json", "--precision", "float32", stdin=b"abcd\n").json
    pairs = tmp_path / "said.tsv"
    pairs.write_text(f"abcd\t{said['text']}\n")
    assert ask("score", tiny_model_dir, pairs, "--json").json[0]["score"] == pytest.approx(said["score"], abs=1e-3)


@pytest.mark.parametrize("suffix", ["png", "svg", "html"])
def test_attend_draws(ask: Any, tiny_model_dir: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"picture.{suffix}"
    answer = ask("attend", tiny_model_dir, "abc", "--target", "cba", "--out", out)
    assert answer.code == 0
    assert out.stat().st_size > 500
    assert answer.lines[0] == "cba"
    assert "</s>" in answer.out
    assert "\x1b" not in answer.out
    assert str(out) in answer.err


def test_attend_without_a_file_and_as_json(ask: Any, tiny_model_dir: Path) -> None:
    assert "█ ≥0.8" in ask("attend", tiny_model_dir, "abc").out
    (found,) = ask("attend", tiny_model_dir, "abc", "--target", "cb", "--json").json
    assert found["schema"] == 1
    assert found["tokens"] == ["c", "b", "</s>"]
    assert len(found["attention"]) == 3
    blank = ask("attend", tiny_model_dir, "  ")
    assert blank.code == 2
    assert "blank" in blank.err
    assert ask("attend", tiny_model_dir, "a\udcff").code == 0  # a byte that was no UTF-8 on the command line


class WithHeads:
    """A stand-in for a model with several layers and heads: every call goes to the one that has one of each, and
    what it attends to is mixed with an even share, differently for each head."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def decode(self, *arguments: Any, attention: bool = False) -> Step:
        step: Step = self._model.decode(*arguments, attention=attention)
        if step.attention is None:
            return step
        even = torch.full_like(step.attention, 1 / step.attention.shape[2])
        shares = torch.arange(6).view(1, 2, 3, 1, 1) / 5  # of 2 layers and 3 heads; the first is the model's own
        return step._replace(heads=torch.lerp(step.attention[:, None, None], even[:, None, None], shares))


@pytest.fixture
def many_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models look with two layers of three heads while they are explained."""
    explain = Generator.explain

    def with_heads(self: Generator, *arguments: Any) -> Any:
        model = cast(Model, WithHeads(self.plain.model))
        return explain(Generator(replace(self.plain.folder, model=model)), *arguments)

    monkeypatch.setattr(Generator, "explain", with_heads)


@pytest.mark.usefixtures("many_heads")
def test_attend_to_a_layer_and_a_head(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    words = ("attend", tiny_model_dir, "abc", "--target", "cba")
    own, first, last, mean = (
        ask(*words, *more, "--json").json[0]
        for more in ((), ("--layer", 1, "--head", 1), ("--layer", 2, "--head", 3), ("--layer", 2))
    )
    assert (own["layers"], own["heads"], own["layer"]) == (2, 3, None)
    assert (last["layer"], last["head"]) == (2, 3)
    assert own["attention"] == first["attention"]
    assert last["attention"] == [[0.25] * 4] * 4
    for row, even in zip(own["attention"], mean["attention"], strict=True):
        assert even == pytest.approx([0.2 * weight + 0.8 * 0.25 for weight in row], abs=1e-3)
    assert "▒" in ask(*words, "--layer", 2, "--head", 3, "--words").out
    wrong = ask(*words, "--layer", "2", "--head", "4")
    assert (wrong.code, wrong.out) == (2, "")
    assert "there is no head 4: this model's attention has 2 layers of 3 heads, counted from 1" in wrong.err
    assert ask(*words, "--head", "1").code == 2

    page = tmp_path / "attention.html"
    assert ask(*words, "--out", page, "--words").code == 0
    html = page.read_text("utf-8")
    assert html.count("<option ") == 1 + 2 * (1 + 3)
    assert ">what the model goes by</option>" in html
    assert ">layer 2, mean of its heads</option>" in html
    assert ">layer 2, head 3</option>" in html


# -- ensembles ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_model_dir(tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with another seed, and smaller."""
    out = tmp_path_factory.mktemp("models") / "other"
    sizes = {**TINY["model"], "hidden": 12}
    pairloom.train(tiny_pairs, out=out, **{**TINY, "seed": 2, "model": sizes})
    return out


def test_several_folders_answer_as_one(ask: Any, tiny_model_dir: Path, other_model_dir: Path, tmp_path: Path) -> None:
    both, text = (tiny_model_dir, other_model_dir), b"abc\n\nfedc\n"
    said = ask("generate", *both, "--json", stdin=text)
    assert said.code == 0
    alone = [ask("generate", one, "--json", stdin=text).json for one in both]
    file = tmp_path / "lines.txt"
    file.write_bytes(text)
    assert ask("generate", tiny_model_dir, "--beam", "5", other_model_dir, file, "--json").out == said.out
    assert [one["text"] == "" for one in said.json] == [False, True, False]
    assert said.json[0]["score"] not in [one[0]["score"] for one in alone]

    pairs = tmp_path / "said.tsv"
    pairs.write_text("".join(f"{one['source']}\t{one['text']}\n" for one in said.json if one["text"]))
    scored = ask("score", *both, pairs, "--json").json
    for one, other in zip(scored, [said.json[0], said.json[2]], strict=False):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
    (judged,) = ask("evaluate", *both, pairs, "--metrics", "exact", "--json").json
    assert judged["scores"][0]["value"] == 100.0
    assert judged["folders"] == [str(one) for one in both]
    assert ask("attend", *both, "abc").out.startswith(said.json[0]["text"] + "\n")


def test_folders_that_do_not_fit_are_refused(
    ask: Any, tiny_pairs: Path, tiny_model_dir: Path, other_model_dir: Path, tmp_path: Path
) -> None:
    settings = {**TINY, "steps": 2, "target_unit": "byte", "joint": False, "normal_form": "NFKC"}
    pairloom.train(tiny_pairs, out=tmp_path / "bytes", **settings)
    refused = ask("generate", tiny_model_dir, other_model_dir, tmp_path / "bytes", stdin=b"abc\n")
    assert (refused.code, refused.out) == (4, "")
    assert "these models cannot answer together" in refused.err
    assert "--seed, and the model itself, may differ" in refused.err
    assert refused.err.splitlines()[-2:] == [
        f"  {tmp_path / 'bytes'}: the unit of its target is byte, not character, as in {tiny_model_dir}",
        f"  {tmp_path / 'bytes'}: its normal form is NFKC, not NFC, as in {tiny_model_dir}",
    ]
    (tmp_path / "empty").mkdir()
    missing = ask("generate", tiny_model_dir, tmp_path / "empty", stdin=b"abc\n")
    assert missing.code == 4
    assert "is not a model folder" in missing.err


# -- evaluate, check ---------------------------------------------------------------------------------------------------


def test_evaluate(ask: Any, tiny_model_dir: Path, tiny_pairs: Path) -> None:
    answer = ask("evaluate", tiny_model_dir, tiny_pairs, "--metrics", "wer,cer", "--beam", "1")
    assert answer.code == 0
    assert not answer.err
    assert answer.lines[0] == "300 lines, with 95% bootstrap intervals:"
    assert "WER" in answer.lines[1]
    assert "nrefs:1|" in answer.lines[1]
    assert "CER" in answer.lines[2]
    assert "WER by the length of the source:" in answer.lines
    assert answer.out.count("    output: ") <= 10
    (found,) = ask("evaluate", tiny_model_dir, tiny_pairs, "--json").json
    assert found["schema"] == 1
    assert found["lines"] == 300
    assert found["decoding"]["beam"] == 5
    assert [score["metric"] for score in found["scores"]] == ["wer", "cer", "exact"]
    assert found["worst"][0]["references"]
    assert found["by_length"][0]["score"]["low"] >= 0


def test_evaluate_with_several_right_answers(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "answers.tsv"
    said = ask("generate", tiny_model_dir, stdin=b"abc\n").lines[0]
    pairs.write_text(f"abc\tzzz\nabc\t{said}\n")
    apart = ask("evaluate", tiny_model_dir, pairs, "--metrics", "exact", "--json").json[0]
    merged = ask("evaluate", tiny_model_dir, pairs, "--metrics", "exact", "--merge", "--json").json[0]
    assert (apart["lines"], apart["scores"][0]["value"]) == (2, 50.0)
    assert (merged["lines"], merged["scores"][0]["value"]) == (1, 100.0)


def test_check(ask: Any, tiny_pairs: Path, tmp_path: Path) -> None:
    answer = ask("check", tiny_pairs, "--dev", tiny_pairs, "--no-speed")
    assert answer.code == 0
    assert not answer.err
    assert "300 pairs" in answer.lines[0]
    assert "training here" not in answer.out
    bad = tmp_path / "bad.tsv"
    bad.write_text("a\tb\n" + "no tab\n" * 5)
    found = ask("check", bad, "--json", "--no-speed")
    assert found.code == 0
    assert found.json[0]["schema"] == 1
    assert found.json[0]["findings"][0]["severity"] == "error"
    assert ask("check", bad, "--strict", "--no-speed").code == 3


def test_check_measures_how_fast_this_machine_trains(
    ask: Any, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairloom.text.pairs import open_pairs
    from pairloom.workflow import speed

    measure = speed.training_speed
    monkeypatch.setattr(speed, "training_speed", lambda pairs: measure(pairs, seconds=0.2))
    answer = ask("check", tiny_pairs)
    assert answer.code == 0
    assert "training here: about" in answer.out
    few = tiny_pairs.with_name("few.tsv")
    few.write_text("a\tb\n")
    assert speed.training_speed(open_pairs([str(few)])) is None  # nothing to hold out, so nothing to train


# -- show, doctor ------------------------------------------------------------------------------------------------------


def test_show(ask: Any, tiny_model_dir: Path) -> None:
    answer = ask("show", tiny_model_dir)
    assert answer.code == 0
    assert not answer.err
    for part in (
        "finished: 60 updates",
        "hidden 16",
        "character, 12 entries",
        "pairs.tsv",
        "60 steps",
        "WER",
        "▁",
        "torch",
    ):
        assert part in answer.out
    (found,) = ask("show", tiny_model_dir, "--json").json
    assert found["schema"] == 1
    assert found["finished"] is True
    assert found["config"]["kind"] == "attention"
    assert len(found["losses"]) == 3
    assert sum(found["parts"].values()) == found["training"]["parameters"]
    assert found["parts"]["target_embedding"] == 12 * 16
    assert next(iter(found["parts"])) == "encoder"
    assert re.search(r"\n +encoder +[\d,]+ +\d+%\n", answer.out)
    assert found["weights"] > 0


def test_doctor(ask: Any) -> None:
    answer = ask("doctor")
    assert answer.code == 0
    for part in ("versions", "torch ", "threads", "bfloat16", "extra       data: ", "quickstart pronounce"):
        assert part in answer.out
    (found,) = ask("doctor", "--json").json
    assert found["schema"] == 1
    assert found["threads"] >= 1
    assert found["engine"] in ("onnx", "torch")
    assert {extra["name"] for extra in found["extras"]} >= {"data", "fast", "quickstart", "plot"}
