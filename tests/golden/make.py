"""Makes a small model folder of each kind with the version at hand, and writes down what it answers.

    python tests/golden/make.py NAME     →  tests/golden/NAME/rnn, attention, ... and answers.json

NAME is the version. What is there is never made again: these folders stand for those that people have, and
test_golden.py proves that every later version reads them and gives the same texts.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import pairloom

HERE = Path(__file__).parent

RUNS: dict[str, dict[str, Any]] = {
    "rnn": {
        "kind": "rnn",
        "model": {"embedding": 12, "hidden": 24, "layers": 1, "dropout": 0.0},
        "source_unit": "character",
        "target_unit": "character",
    },
    "attention": {
        "kind": "attention",
        "model": {"embedding": 12, "encoder_hidden": 12, "hidden": 20, "dropout": 0.0},
        "source_unit": "jamo",
        "target_unit": "jamo",
        "joint": True,
    },
    "attention-features": {
        "kind": "attention",
        "model": {"embedding": 12, "encoder_hidden": 12, "hidden": 20, "dropout": 0.0, "copy": True, "coverage": True},
        "columns": "source=1,target=2,features=3",
        "source_unit": "character",
        "target_unit": "character",
        "joint": True,
    },
    "transformer": {
        "kind": "transformer",
        "model": {"size": 16, "feed_forward": 24, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0},
        "source_unit": "word",
        "target_unit": "space",
    },
    "hybrid": {
        "kind": "hybrid",
        "model": {"size": 12, "feed_forward": 16, "heads": 2, "encoder_layers": 1, "hidden": 20, "dropout": 0.0},
        "source_unit": "character",
        "target_unit": "byte",
    },
}
WORDS = ("가", "나다", "ab", "ba", "cab", "bca", "라마", "abc", "나가", "마라")
"""What the made-up texts consist of."""


def texts(name: str) -> list[tuple[str, str]]:
    """Made-up pairs: a few words, and the same from the back, or in capitals where a feature says so."""
    dice, found = random.Random(11), dict[str, str]()
    while len(found) < 160:
        words = dice.choices(WORDS, k=dice.randint(1, 3))
        if name == "attention-features":
            mark = dice.choice(("V;UP", "V;DOWN"))
            text = "".join(words[:2])
            found[f"{text}\t{mark}"] = text.upper() if mark == "V;UP" else text
        else:
            found[" ".join(words)] = " ".join(reversed(words))
    return list(found.items())


def rows(name: str) -> str:
    """The pairs as TSV; features stand in the third column."""
    lines = []
    for source, target in texts(name):
        text, _, marks = source.partition("\t")
        lines.append("\t".join([text, target, marks] if marks else [text, target]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Trains, asks, keeps."""
    place = HERE / sys.argv[1]
    if place.exists():
        raise SystemExit(f"{place} is there already, and is never made again")
    answers: dict[str, Any] = {}
    for name, settings in RUNS.items():
        with tempfile.TemporaryDirectory() as work:
            pairs = Path(work) / "pairs.tsv"
            pairs.write_text(rows(name), "utf-8")
            run: dict[str, Any] = {
                "steps": 500,
                "threads": 1,
                "precision": "float32",
                "training": {"learning_rate": 0.02},
            }
            model = pairloom.train(pairs, out=place / name, **run, **settings)
        (place / name / ".lock").unlink(missing_ok=True)
        sources = [source for source, _ in texts(name)[::10]] + ["", "</s> x"]
        answers[name] = {
            "sources": sources,
            "greedy": model.generate(sources, beam=1),
            "beam": model.generate(sources, beam=4),
            "sampled": model.generate(sources, sample=True, seed=3, top_k=5),
            "scores": [round(score, 4) for score in model.score([("ab 가", "가 ab"), ("cab", "cab")])],
        }
    (place / "answers.json").write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
