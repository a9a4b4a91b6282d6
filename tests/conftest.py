"""What several test files share: one tiny trained model, and a way to call the command line."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calls import Answer

for number, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    # Started in the background or by nohup, checks inherit ignored signals, and hand them on to what they start.
    if hasattr(signal, number) and signal.getsignal(getattr(signal, number)) == signal.SIG_IGN:
        signal.signal(getattr(signal, number), usual)


os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads beside other work wait for each other; before torch comes

TINY: dict[str, Any] = {
    "steps": 60,
    "threads": 1,
    "precision": "float32",
    "model": {"hidden": 16, "embedding": 16, "encoder_hidden": 16, "dropout": 0.0},
    "training": {"learning_rate": 0.02, "validations": 3},
}
"""Settings with which a run takes a second."""


def reversed_words(count: int = 300) -> list[tuple[str, str]]:
    """Short words of eight letters, each with itself from the back; all different."""
    dice = random.Random(3)
    words: set[str] = set()
    while len(words) < count:
        words.add("".join(dice.choice("abcdefgh") for _ in range(dice.randint(2, 5))))
    return [(word, word[::-1]) for word in sorted(words)]


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 words and their reversal as TSV."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in reversed_words()), "utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model folder, hardly trained; only to be read."""
    import pairloom

    out = tmp_path_factory.mktemp("models") / "tiny"
    pairloom.train(tiny_pairs, out=out, **TINY)
    return out


@pytest.fixture(scope="session")
def talker_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen conversations: the reply is the line before the last, from the back."""
    import pairloom
    from pairloom.text.turns import TURN

    place = tmp_path_factory.mktemp("talk")
    words = [word for word, _ in reversed_words(200)]
    pairs = [(f"{a} {TURN} {b}", a[::-1]) for a, b in zip(words, reversed(words), strict=True)]
    pairs += [(word, word[::-1]) for word in words]
    (place / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), "utf-8")
    pairloom.train(place / "pairs.tsv", out=place / "model", task="chat", **TINY)
    return place / "model"


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls `main` with words and perhaps standard input."""
    from pairloom.cli import main

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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take ten times as long as such small tensors need."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
