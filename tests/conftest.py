"""What several test files share: one tiny trained model."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

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
