"""The documents: what the README shows works as shown, and the tables in it are those of the result files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pairloom
from conftest import TINY
from pairloom.cli import main

ROOT = Path(__file__).parent.parent
LANGUAGES = ["README.md", "README.ko.md"]


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def desk(tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    text = tiny_pairs.read_text("utf-8")
    (tmp_path / "pairs.tsv").write_text(text, "utf-8")
    (tmp_path / "test.tsv").write_text("".join(text.splitlines(keepends=True)[:20]), "utf-8")
    return tmp_path


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_commands_of_the_readme_work(
    name: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written, but for the budget: five minutes become a few updates of a small model."""
    small = "--steps 10 --threads 1 --set model.hidden=16 --set model.embedding=16 --set model.encoder_hidden=16"
    lines = [line[2:] for block in blocks(name, "console") for line in block.splitlines() if "pairloom" in line]
    ran = []
    for line in lines:
        command = line.split("#")[0].strip()
        if command.startswith("echo"):
            said, command = (part.strip() for part in command.split("|"))
            (desk / "in.txt").write_text(shlex.split(said)[1] + "\n", "utf-8")
            command += " in.txt"
        if not command.startswith("pairloom ") or "quickstart" in command:
            continue  # the quickstarts have tests of their own
        words = shlex.split(command.replace("--minutes 5", small))[1:]
        if words[0] == "check":
            words.append("--no-speed")
        assert main(words) == 0, capsys.readouterr().err
        ran.append(words[0])
    assert ran == ["check", "train", "generate", "evaluate", "attend", "show"]
    assert (desk / "attention.png").stat().st_size > 1000


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_python_of_the_readme_works(name: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pairloom.train

    def short(pairs: str, *, out: str, minutes: float) -> pairloom.Model:
        assert minutes == 5
        return real(pairs, out=out, **{**TINY, "steps": 10})

    monkeypatch.setattr(pairloom, "train", short)
    (block,) = blocks(name, "python")
    exec(compile(block, name, "exec"), {})


def test_both_readmes_show_the_same_code() -> None:
    english, korean = (
        [re.sub(r"#.*", "", block) for kind in ("console", "python") for block in blocks(name, kind)]
        for name in LANGUAGES
    )
    assert [block.split() for block in english] == [block.split() for block in korean]


def test_the_results_are_those_of_the_files() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_said_of_reliability_is_that_of_the_files() -> None:
    script = ROOT / "benchmarks" / "reliability" / "report.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
