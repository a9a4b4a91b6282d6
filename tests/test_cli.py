"""The command line: what it prints where, its exit codes, and what it says to bad input."""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairloom.cli import COMMANDS, main
from pairloom.cli.lines import arriving
from pairloom.cli.output import colours, command, duration, program
from pairloom.cli.parser import LATER, assignment, grouped
from pairloom.cli.progress import Bar, Plain, left
from pairloom.errors import DataError
from pairloom.workflow import events as ev

SIZES = (
    "model.hidden=16",
    "model.embedding=16",
    "model.encoder_hidden=16",
    "model.dropout=0",
    "training.validations=2",
)
QUICK = ("--steps", "40", "--threads", "1", "--precision", "float32", *(w for size in SIZES for w in ("--set", size)))

Capture = pytest.CaptureFixture[str]


class Answer:
    """What a call said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[str]:
        return self.out.removesuffix("\n").split("\n") if self.out else []

    @property
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def ask(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls `main` with words and perhaps standard input."""
    monkeypatch.setattr(sys, "argv", ["pairloom"])

    def call(*words: object, stdin: bytes | None = None) -> Answer:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err + out
        return Answer(code, out, err)

    return call


# -- start-up and help -------------------------------------------------------------------------------------------------


def test_help_starts_quickly_and_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'matplotlib', 'pydantic', 'numpy', 'rich', 'tokenizers', 'sacrebleu'}"
    script = (
        "import sys; from pairloom.cli import main\n"
        "codes = [main([*name, '--help']) for name in [[], ['train'], ['generate'], ['quickstart']]]\n"
        f"sys.exit(codes != [0] * 4 or bool({heavy} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pairloom", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # time of the processor: what the clock says depends on who else is using the machine
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.25


def test_the_help_names_every_command_and_each_command_has_examples_that_parse(ask: Any) -> None:
    answer = ask("--help")
    assert answer.code == 0
    assert not answer.err
    for _, group in COMMANDS:
        for one in group:
            assert f"  {one.name:<12}{one.summary}\n" in answer.out
            help_text = ask(one.name, "--help").out
            assert help_text.startswith(f"usage: pairloom {one.name} ")
            assert all(
                example in help_text and example.split("pairloom ")[1].startswith(one.name) for example in one.examples
            )


def test_version_and_no_command(ask: Any) -> None:
    import pairloom

    assert ask("--version").out == f"pairloom {pairloom.__version__}\n"
    answer = ask()
    assert (answer.code, answer.out) == (2, "")
    assert "quickstart" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "did you mean `pairloom train`?"),
        (["zzz"], "no command is called 'zzz'"),
        (["train"], "the following arguments are required: PAIRS, --out"),
        (["train", "x.tsv"], "`pairloom train --help` says what there is"),
        (["train", "x.tsv", "--out", "y", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["train", "x.tsv", "--out", "y", "--threads", "0"], "0 is less than 1"),
        (["train", "x.tsv", "--out", "y", "--set", "model.x"], "'model.x' is not of the form section.key=value"),
        (
            ["train", "x.tsv", "--out", "y", "--set", "mdoel.x=1"],
            "no section is called 'mdoel'; there are: model, training",
        ),
        (["train", "x.tsv", "--out", "y", "--seed", "-1"], "seed: Input should be greater than or equal to 0"),
        (["train", "a", "b", "c", "--out", "y"], "pairs: "),
        (["show", "x", "y"], "unrecognized arguments: y"),
        (["generate", "x", "--bema", "5"], "unrecognized arguments: --bema 5"),
        (["generate", "x", "--be", "5"], "unrecognized arguments: --be 5"),
        (["generate", "x", "a", "b"], "2 files of lines: give one"),
        (["generate", "x", "--attention"], "--attention needs --json"),
        (["attend", "x", "text", "--out", "x.gif"], "--out x.gif: the picture is drawn as .png, .svg or .html"),
        (["evaluate", "x", "y", "--metrics", "blue"], "unknown metric 'blue'"),
    ],
)
def test_wrong_use_says_what_is_wrong_and_leaves_with_2(ask: Any, words: list[str], message: str) -> None:
    answer = ask(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("pairloom: error: ")
    assert message in answer.err


@pytest.mark.parametrize(
    "words",
    [
        *[[name, "anything", "--at-all"] for name in LATER],
        *[["train", "x", "--out", "y", "--model", kind] for kind in ("rnn", "transformer", "hybrid")],
        ["train", "x", "--out", "y", "--vectors", "words.vec"],
        ["generate", "x", "--engine", "onnx"],
        ["generate", "x", "--precision", "int8"],
        ["generate", "x", "."],
    ],
)
def test_what_is_planned_says_that_it_is_not_there_yet(ask: Any, words: list[str]) -> None:
    answer = ask(*words)
    assert (answer.code, answer.out) == (2, "")
    assert "not there yet" in answer.err


# -- train -------------------------------------------------------------------------------------------------------------


def test_training_prints_results_on_stdout_and_progress_on_stderr(ask: Any, tiny_pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    first = ask("train", tiny_pairs, "--out", out, *QUICK)
    assert first.code == 0
    assert first.lines[0].startswith("on ")
    assert "development pairs" in first.lines[0]
    assert f"model: {out}" in first.lines
    assert first.lines[-1].startswith("use it: printf '%s\\n' ")
    assert first.lines[-1].endswith(f"generate {out}")
    progress = [line for line in first.err.splitlines() if "development loss" in line]
    assert len(progress) == 2
    assert all("step" in line and "tokens/s" in line for line in progress)
    assert "\x1b" not in first.err + first.out  # no terminal, no escape sequences

    again = ask("train", tiny_pairs, "--out", out, *QUICK, "--json")
    assert again.code == 0
    assert "finished already" in again.err
    (found,) = again.json
    assert found["schema"] == 1
    assert found["finished_before"] is True
    assert found["result"]["step"] == 40
    assert found["development"]["scores"]

    other = ask("train", tiny_pairs, "--out", out, *QUICK, "--seed", "7")
    assert other.code == 2
    assert "seed: 1 there, 7 now" in other.err
    assert "--fresh" in other.err
    fresh = ask("train", tiny_pairs, "--out", out, *QUICK, "--seed", "7", "--fresh", "--json")
    assert fresh.json[0]["seed"] == 7
    assert fresh.json[0]["finished_before"] is False


def test_a_signal_saves_and_the_same_command_goes_on(
    ask: Any, tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, received = tmp_path / "model", Plain.__call__

    def send(*numbers: int) -> None:
        def take(self: Plain, event: ev.Event) -> None:
            received(self, event)
            if isinstance(event, ev.Step):
                for number in numbers:
                    signal.raise_signal(number)

        monkeypatch.setattr(Plain, "__call__", take)

    words = ("train", tiny_pairs, "--out", out, *QUICK, "--set", "training.steps=120")
    send(signal.SIGINT)
    stopped = ask(*words)
    assert (stopped.code, stopped.out) == (130, "")
    assert "everything is saved: the same command goes on from there" in stopped.err
    assert list((out / "checkpoints").iterdir())
    assert ask("generate", out, stdin=b"abc\n").code == 4
    unfinished = ask("show", out)
    assert unfinished.code == 0
    assert "unfinished" in unfinished.out

    send(signal.SIGTERM)
    terminated = ask(*words)
    assert terminated.code == 143
    assert "goes on after update" in terminated.err
    send(signal.SIGINT, signal.SIGINT)
    twice = ask(*words)
    assert (twice.code, twice.err.splitlines()[-1]) == (130, "pairloom: interrupted")
    send()
    assert ask(*words).code == 0
    assert ask("generate", out, stdin=b"abc\n").code == 0


def test_settings_reach_the_run(ask: Any, tiny_pairs: Path, tmp_path: Path) -> None:
    words = ("train", tiny_pairs, "--dev", tiny_pairs, "--out", tmp_path / "m", *QUICK, "--no-joint")
    answer = ask(*words, "--target-unit", "byte", "--max-source", "3", "--normal-form", "NFKC")
    assert answer.code == 0
    assert "development sources are also trained on" in answer.err
    assert "texts longer than 3 source tokens" in answer.err
    config = json.loads((tmp_path / "m" / "config.json").read_text("utf-8"))
    assert config["target"]["unit"] == "byte"
    assert config["source"]["max_tokens"] == 3
    assert config["normal_form"] == "NFKC"
    assert config["joint"] is False
    assert config["model"]["hidden"] == 16


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
    assert "1 unusable line" in answer.err
    *each, total = ask("score", tiny_model_dir, pairs, "--json").json
    assert [f"{one['score']:.4f}" for one in each] == [row[0] for row in rows]
    assert total["tokens"] == 7
    assert total["skipped"] == 1
    assert total["perplexity"] > 1


def test_the_score_of_an_output_is_what_score_says(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    (said,) = ask("generate", tiny_model_dir, "--json", stdin=b"abcd\n").json
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
    assert found["weights"] > 0


def test_doctor(ask: Any) -> None:
    answer = ask("doctor")
    assert answer.code == 0
    for part in ("versions", "torch ", "threads", "bfloat16", "extra       data: ", "quickstart pronounce"):
        assert part in answer.out
    (found,) = ask("doctor", "--json").json
    assert found["schema"] == 1
    assert found["threads"] >= 1
    assert {extra["name"] for extra in found["extras"]} == {"data", "quickstart", "plot"}


# -- bad input ---------------------------------------------------------------------------------------------------------


def bad_files(place: Path) -> dict[str, tuple[list[Path], str]]:
    """Name → files that nothing can be learned from, and what must be said of them."""
    dice = random.Random(1)
    contents: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "it is empty"),
        "one column": (b"only\none\ncolumn\n", "none with a tab"),
        "random bytes": (
            b"".join(dice.randbytes(dice.randint(0, 60)).replace(b"\t", b"") + b"\n" for _ in range(1000)),
            "none",
        ),
        "a long line": (b"a" * 1_000_001, "no pair"),
        "surrogates": (b"\xed\xa0\x80\t\xed\xb0\x80\n", "UTF-8"),
        "UTF-16": ("a\tb\n".encode("utf-16"), "UTF-16"),
        "zip": (b"PK\x03\x04rest", "zip archive"),
    }
    result = {}
    for number, (name, (content, message)) in enumerate(contents.items()):
        file = place / f"{number}.tsv"
        file.write_bytes(content)
        result[name] = ([file], message)
    sides = [place / "a.txt", place / "b.txt"]
    sides[0].write_text("one\ntwo\n")
    sides[1].write_text("one\n")
    result["misaligned"] = (sides, "has 2 lines")
    result["missing"] = ([place / "nothing.tsv"], "no such file")
    result["directory"] = ([place], "is a directory")
    return result


def test_bad_pairs(ask: Any, tmp_path: Path, tiny_model_dir: Path) -> None:
    for name, (files, message) in bad_files(tmp_path).items():
        for words in (
            ("train", *files, "--out", tmp_path / "out", *QUICK),
            ("check", *files),
            ("score", tiny_model_dir, *files),
            ("evaluate", tiny_model_dir, *files),
        ):
            answer = ask(*words)
            assert (answer.code, answer.out) == (3, ""), (name, words)
            assert answer.err.startswith("pairloom: error: "), (name, words)
            assert message in answer.err, (name, words)


def test_strict_names_every_bad_line(ask: Any, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("a\tb\nno tab\n\tno source\n" + "c\td\n" * 5)
    answer = ask("train", file, "--out", tmp_path / "out", *QUICK, "--strict")
    assert answer.code == 3
    assert f"{file}:2: " in answer.err
    assert f"{file}:3: " in answer.err


def test_what_is_no_model(ask: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_model_dir, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    empty = tmp_path / "empty"
    empty.mkdir()
    file = tmp_path / "file"
    file.write_text("no folder")
    for folder, message in (
        (damaged, "model.safetensors is damaged"),
        (empty, "is not a model folder"),
        (file, "is not a folder"),
        (tmp_path / "nothing", "does not exist"),
    ):
        for words in (["generate", folder], ["show", folder], ["attend", folder, "a"], ["score", folder, file]):
            answer = ask(*words, stdin=b"a\n")
            assert (answer.code, answer.out) == (4, ""), words
            assert message in answer.err, words


def test_a_full_disk_is_reported() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("wb") as nowhere:
        words = [sys.executable, "-m", "pairloom", "--help"]
        ended = subprocess.run(words, stdout=nowhere, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 5
    assert ended.stderr.decode().startswith("pairloom: error: No space left on device")


def test_what_nobody_expected_is_called_a_bug(ask: Any, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> None:
    def fail(*words: object, **settings: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("pairloom.workflow.show.describe", fail)
    answer = ask("show", tiny_model_dir)
    assert answer.code == 1
    assert "this is a bug in pairloom (KeyError: 'lost'); with PAIRLOOM_DEBUG=1" in answer.err
    monkeypatch.setattr("pairloom.workflow.show.describe", lambda directory: bytearray(2**62))
    assert ask("show", tiny_model_dir).code == 5  # out of memory


# -- small parts -------------------------------------------------------------------------------------------------------


def test_words_of_the_command_line() -> None:
    assert assignment("model.hidden=16") == ("model", "hidden", 16)
    assert assignment("training.betas=[0.9, 0.99]") == ("training", "betas", [0.9, 0.99])
    assert assignment("model.attention=dot") == ("model", "attention", "dot")
    assert assignment("model.x=a=b") == ("model", "x", "a=b")
    assert grouped({"a": 1, "b.c": None, "d.e": 2, "d.f": None}) == {"a": 1, "b": {}, "d": {"e": 2}}
    assert [duration(seconds) for seconds in (-1, 65, 7200)] == ["0:00", "1:05", "2:00:00"]


def test_commands_to_type_name_the_program_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "pairloom"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.chdir(tmp_path)
    assert command("show", "a b") == "bin/pairloom show 'a b'"  # in a virtual environment that is not active
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "pairloom"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/somewhere/__main__.py"])
    assert program() == f"{sys.executable} -m pairloom"


def test_colours_are_for_terminals_whose_owner_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not colours()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not colours()


def test_the_bar_shows_figures_samples_and_remarks() -> None:
    from rich.console import Console
    from rich.progress import Progress

    text = io.StringIO()
    with Progress(console=Console(file=text, force_terminal=True, width=60, highlight=False)) as progress:
        bar = Bar(progress)
        bar(ev.Prepared(("pairs: 3",), {}, 20))
        step = ev.Step(40, 1, 2.5, 1234.0, 1e-3, 0.5, 60.0)
        bar(step)
        assert "1,234 tokens/s" in progress.tasks[0].fields["text"]
        assert left(step) == "1:00 left"
        sample = ev.Sample("[bold]quelle\x1b[31m", "target", "output" * 40)
        bar(ev.Validation(40, 1, 2.0, 0.25, True, 0.5, 60.0, (sample,)))
        bar(ev.Note(41, "an update was skipped"))
        bar(ev.Finished(42, "patience", 40, 2.0, 0.25, 61.0))
    shown = text.getvalue()
    for part in ("pairs: 3", "goes on after update 20", "wholly right 25.0%  best so far", "[bold]quelle<U+001B>[31m"):
        assert part in shown
    assert "step 41: an update was skipped" in shown
    assert "stopped early after 42 updates" in shown
