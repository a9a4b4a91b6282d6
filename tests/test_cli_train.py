"""`pairloom train`: results, progress, signals, settings."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from calls import QUICK
from pairloom.cli.progress import Plain
from pairloom.workflow import events as ev


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


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nowhere.tsv"], 3),
        (["PAIRS", "--set", "model.hiden=3"], 2),
        (["PAIRS", "--set", "training.clip=-1"], 2),
        (["PAIRS", "--device", "cuda"], 2),
    ],
)
def test_what_cannot_begin_costs_no_model_and_leaves_no_run(
    ask: Any, tiny_pairs: Path, tiny_model_dir: Path, tmp_path: Path, words: list[str], code: int
) -> None:
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is one")
    given = [tiny_pairs if word == "PAIRS" else word for word in words]
    there, new = tmp_path / "there", tmp_path / "new"
    shutil.copytree(tiny_model_dir, there)
    before = {path.name: path.read_bytes() for path in there.iterdir() if path.is_file()}
    assert ask("train", *given, "--out", there, *QUICK, "--fresh").code == code
    assert before == {path.name: path.read_bytes() for path in there.iterdir() if path.name in before}
    assert ask("train", *given, "--out", new, *QUICK).code == code
    corrected = ask("train", tiny_pairs, "--out", new, *QUICK)  # without --fresh
    assert corrected.code == 0, corrected.err


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
