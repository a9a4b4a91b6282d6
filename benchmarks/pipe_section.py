"""The section of docs/RESULTS.md that shows benchmarks/results/pipe.json and pipe-float32.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pipe_section(found: Mapping[str, dict[str, Any]]) -> str:
    """Order and memory, by precision."""
    rows = []
    for precision, one in found.items():
        counts = [one[name] for name in ("lines", "answers", "answers_with_a_changed_word", "answers_of_another_line")]
        memory = [round(one["memory"][name]) for name in ("after_a_tenth", "at_the_end", "most")]
        rows.append(f"| {precision} | {' | '.join(f'{count:,}' for count in [*counts, *memory])} |")
    sources = max(one["different_sources"] for one in found.values())
    return "\n".join(
        [
            "## A long job through a pipe",
            "",
            "    python benchmarks/pipe.py --model RUNS/A --lines multi30k/train.de",
            "    python benchmarks/pipe.py --model RUNS/A --lines multi30k/train.de --precision float32 --count 60000",
            "",
            f"`pairloom generate` between two pipes, greedy; {sources:,} different lines, again and again, each answer "
            "compared with the first one to the same line. In float32 a lost, doubled or exchanged line would show as "
            "an answer that is not the same; in int8 the company in a batch changes words, now and then most of a "
            "short line.",
            "",
            "| precision | lines in | answers out | not the same | hardly a word in common | MB after a tenth | at the "
            "end | most |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
