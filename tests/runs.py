"""What the tests of runs that are stopped share: their settings, where they are killed, and what must be the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pairloom
from pairloom.learning.events import Saved, Step
from pairloom.workflow import events as ev

SIZES: dict[str, dict[str, Any]] = {
    "rnn": {"embedding": 8, "hidden": 8, "layers": 1},
    "attention": {"embedding": 8, "encoder_hidden": 8, "hidden": 8},
    "transformer": {"size": 8, "feed_forward": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1},
    "hybrid": {"size": 8, "feed_forward": 8, "heads": 2, "encoder_layers": 1, "hidden": 8},
}
RUN = ("steps", "epochs", "precision", "joint")
CLOCK = ("seconds", "tokens_per_second")
BYTES = ("model.safetensors", "config.json", "generation.json", "tokenizer.source.json", "tokenizer.target.json")


def settings(kind: str = "rnn", **changes: Any) -> dict[str, Any]:
    """A run of a second; `changes` go to the section `training`, but for those in `RUN` and additions to the model."""
    model = {**SIZES[kind], **changes.pop("model", {})}
    asked: dict[str, Any] = {name: changes.pop(name) for name in RUN if name in changes}
    training = {"batch_tokens": 100, "save_seconds": 0, "validations": 5, "learning_rate": 0.02, **changes}
    budget: dict[str, Any] = asked if "epochs" in asked else {"steps": 50, **asked}
    return {"kind": kind, "model": model, "training": training, "threads": 1, "precision": "float32", **budget}


def facts(out: Path) -> dict[str, Any]:
    """All of a finished run that must be the same in two of them: nothing but the clock is left out."""
    kept: dict[str, Any] = {name: (out / name).read_bytes() for name in BYTES}
    training = json.loads((out / "training.json").read_text("utf-8"))
    for name in ("result", "development", "settings"):
        kept[name] = {key: value for key, value in training[name].items() if key not in CLOCK}
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    kept["log"] = [{key: value for key, value in row.items() if key not in CLOCK} for row in rows]
    return kept


def killed(pairs: Path, out: Path, given: dict[str, Any], when: Callable[[ev.Event], bool]) -> None:
    """A run of which nothing more is heard after the first event that `when` points at."""
    for event in pairloom.training(pairs, out=out, **given):
        if when(event):
            return


def saves(number: int) -> Callable[[ev.Event], bool]:
    """Some updates after the save of that number, from 1."""
    seen: list[ev.Event] = []

    def reached(event: ev.Event) -> bool:
        seen.append(event)
        return sum(isinstance(one, Saved) for one in seen) >= number and isinstance(event, Step)

    return reached
