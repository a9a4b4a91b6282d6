"""Model folders of earlier versions, stored as they were written then, are read and give the same texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pairloom

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(path.parent for path in GOLDEN.glob("*/*/config.json"))


def answers(folder: Path) -> dict[str, Any]:
    """What it said when it was made."""
    kept: dict[str, Any] = json.loads((folder.parent / "answers.json").read_text("utf-8"))[folder.name]
    return kept


def test_every_kind_of_model_is_stored() -> None:
    from pairloom.models.kinds import MODELS

    assert {json.loads((folder / "config.json").read_text("utf-8"))["kind"] for folder in FOLDERS} == set(MODELS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_stored_folder_gives_the_same_text(folder: Path, one_thread: None) -> None:
    kept, model = answers(folder), pairloom.load(folder)
    assert model.generate(kept["sources"], beam=1) == kept["greedy"]
    assert model.generate(kept["sources"], beam=4) == kept["beam"]
    assert model.generate(kept["sources"], sample=True, seed=3, top_k=5) == kept["sampled"]
    scores = model.score([("ab 가", "가 ab"), ("cab", "cab")])
    assert scores == pytest.approx(kept["scores"], abs=2e-3)
    assert len(set(kept["greedy"])) > 5, "a model that always says the same proves nothing"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_stored_engine_gives_the_same_text(precision: str, one_thread: None) -> None:
    folder = GOLDEN / "0.1" / "attention-engine"
    kept, model = answers(folder), pairloom.load(folder, engine="onnx", precision=precision)
    assert model.generate(kept["sources"], beam=1) == kept[f"greedy {precision}"]
    assert model.generate(kept["sources"], beam=4) == kept[f"beam {precision}"]
    if precision == "float32":
        assert (kept["greedy"], kept["beam"]) == (kept["greedy float32"], kept["beam float32"]), "what torch says"
