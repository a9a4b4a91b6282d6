"""What the tests of the command line share: quick settings of a run, and what a call said."""

from __future__ import annotations

import json
from typing import Any

SIZES = (
    "model.hidden=16",
    "model.embedding=16",
    "model.encoder_hidden=16",
    "model.dropout=0",
    "training.validations=2",
)
QUICK = ("--steps", "40", "--threads", "1", "--precision", "float32", *(w for size in SIZES for w in ("--set", size)))


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
