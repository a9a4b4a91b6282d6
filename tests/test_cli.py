"""The command line as a whole: start-up, help, wrong use, bad input, small parts."""

from __future__ import annotations

import io
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from calls import QUICK
from pairloom.cli import COMMANDS
from pairloom.cli.output import colours, command, duration, program
from pairloom.cli.parser import assignment, grouped
from pairloom.cli.progress import Bar, Plain, left
from pairloom.workflow import events as ev

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
        (["attend", "x", "two", "words"], "'two' is no folder of a model; if it belongs to TEXT, put that into quotes"),
        (["attend", "x", "text", "--layer", "0"], "argument --layer: 0 is less than 1"),
        (["attend", "x", "text", "--out", "x.gif"], "--out x.gif: the picture is drawn as .png, .svg or .html"),
        (["evaluate", "x", "y", "--metrics", "blue"], "unknown metric 'blue'"),
    ],
)
def test_wrong_use_says_what_is_wrong_and_leaves_with_2(ask: Any, words: list[str], message: str) -> None:
    answer = ask(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("pairloom: error: ")
    assert message in answer.err


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


def test_a_directory_is_no_file_of_pairs(ask: Any, tmp_path: Path, tiny_model_dir: Path) -> None:
    for words in (("train", tmp_path, "--out", tmp_path / "out"), ("check", tmp_path)):
        answer = ask(*words)
        assert (answer.code, answer.out) == (3, "")
        assert "is a directory" in answer.err
    for name in ("score", "evaluate"):  # where it is one more model
        answer = ask(name, tiny_model_dir, tmp_path)
        assert (answer.code, answer.out) == (2, "")
        assert f"{tmp_path}: a directory, and so a model; after the models come the PAIRS" in answer.err


def test_a_file_is_no_folder_to_train_into(ask: Any, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("a\tb\n" * 20)
    for out in (pairs, pairs / "run"):
        answer = ask("train", pairs, "--out", out, *QUICK)
        assert (answer.code, answer.out) == (2, "")
        assert f"{out} cannot be a folder: {pairs} is a file" in answer.err
    assert pairs.read_text() == "a\tb\n" * 20
    answer = ask("train", pairs, "--out", tmp_path / ("x" * 300), *QUICK)
    assert (answer.code, "too long" in answer.err) == (5, True)


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
    file, pairs = tmp_path / "file", tmp_path / "pairs.tsv"
    file.write_text("no folder")
    pairs.write_text("a\tb\n")
    for folder, message in (
        (damaged, "model.safetensors is damaged"),
        (empty, "is not a model folder"),
        (file, "is not a folder"),
        (tmp_path / "nothing", "does not exist"),
    ):
        generate = ["generate", folder, "--engine", "torch"]  # the engine of ONNX does not read those weights
        for words in (generate, ["show", folder], ["attend", folder, "a"], ["score", folder, pairs]):
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


def test_lines_without_a_terminal_show_figures_and_samples_too() -> None:
    lines: list[str] = []
    plain = Plain(lines.append)
    plain(ev.Prepared(("pairs: 3",), {}, 0))
    plain(ev.Step(40, 1, 2.5, 1234.0, 1e-3, 0.5, 60.0))
    samples = (ev.Sample("quelle", "target", "output" * 40), ev.Sample("zwei\x1b[31m", "two", ""))
    plain(ev.Validation(40, 1, 2.0, 0.25, True, 0.5, 60.0, samples))
    assert lines[0] == "pairs: 3"
    assert lines[1].startswith(" 50%  step 40: development loss 2.000, wholly right 25.0%  best so far  1,234 tokens/s")
    assert lines[2:4] == ["      source: quelle", "      target: target"]
    assert lines[4].startswith("      output: outputoutput")
    assert len(lines[4]) <= 14 + 100
    assert lines[5] == "      source: zwei<U+001B>[31m"
    assert len(lines) == 8
