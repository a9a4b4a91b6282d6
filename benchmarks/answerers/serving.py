"""What every measured system has in common: it is asked over its standard input, one JSON line at a time.

    {"work": "answer", "beam": 5, "batch": 64, "lines": 1000}   → seconds, tokens and texts of one pass over the lines
    {"work": "memory"}                                          → the most memory that the process has had, in MB
    {"work": "facts"}                                           → the facts, with what has been added meanwhile

Only the standard library and `tokenizers`, as this runs in the environment of each system. `Texts` gives a peer the
pieces of our own tokenizer and makes texts of its pieces again: every system reads and writes text, in the same units.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Answer = tuple[list[str], int]
"""The texts, and how many tokens they had, `</s>` counted."""

Setting = TypeVar("Setting")
"""How a system is run, of those that it is tried with."""


def serve(lines: Sequence[str], answer: Callable[[Sequence[str], int, int], Answer], facts: dict[str, Any]) -> None:
    """Answers until standard input ends. `answer(lines, beam, batch)`; `facts` are said at the beginning."""
    say({"facts": facts})
    for request in sys.stdin:
        asked = json.loads(request)
        if asked["work"] == "memory":
            say({"peak_mb": peak()})
            continue
        if asked["work"] == "facts":
            say(facts)
            continue
        chosen = lines[:: max(1, len(lines) // asked["lines"])][: asked["lines"]]
        began = time.perf_counter()
        texts, tokens = answer(chosen, asked["beam"], asked["batch"])
        elapsed = time.perf_counter() - began
        say({"seconds": elapsed, "tokens": tokens, "lines": len(chosen), "texts": texts if asked.get("texts") else []})


def peak() -> float:
    """The most memory that this process has had, in MB. Linux counts in `ru_maxrss` what the process had that started
    this one, before it became this program; `VmHWM` begins anew."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def say(content: dict[str, Any]) -> None:
    """One JSON line."""
    print(json.dumps(content), flush=True)


def one_by_one(answer: Callable[[Sequence[str], int], Answer], lines: Sequence[str], beam: int) -> Answer:
    """The same for lines that arrive one at a time."""
    texts, total = [], 0
    for line in lines:
        said, tokens = answer([line], beam)
        texts += said
        total += tokens
    return texts, total


def fastest(answered: Callable[[Setting], Answer], every: Sequence[Setting]) -> Setting:
    """That which answers soonest, of two tries each."""
    took: dict[Setting, float] = {}
    for setting in every:
        answered(setting)  # loads it
    for setting in [*every, *every]:
        began = time.perf_counter()
        answered(setting)
        took[setting] = min(took.get(setting, float("inf")), time.perf_counter() - began)
    return min(took, key=lambda setting: took[setting])


class Texts:
    """A tokenizer of a model folder, as the stock library opens it."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._source = Tokenizer.from_file(str(folder / "tokenizer.source.json"))
        self._target = Tokenizer.from_file(str(folder / "tokenizer.target.json"))
        self.source_pieces, self.target_pieces = (_by_id(one.get_vocab()) for one in (self._source, self._target))

    def ids(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, without `</s>`."""
        return [one.ids for one in self._source.encode_batch_fast(list(lines), add_special_tokens=False)]

    def pieces(self, lines: Sequence[str]) -> list[list[str]]:
        """The pieces of each line."""
        return [[self.source_pieces[i] for i in row] for row in self.ids(lines)]

    def text(self, pieces: Sequence[str]) -> str:
        """The text of pieces of the target."""
        said: str = self._target.decoder.decode(list(pieces))
        return said


def _by_id(vocabulary: dict[str, int]) -> list[str]:
    return sorted(vocabulary, key=vocabulary.__getitem__)
