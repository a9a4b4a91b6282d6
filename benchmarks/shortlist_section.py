"""The section of docs/RESULTS.md that shows benchmarks/results/shortlist.json."""

from __future__ import annotations

from typing import Any


def shortlist_section(found: dict[str, Any]) -> str:
    """What it costs in both precisions, and what it brings."""
    names, searches = list(found["quality"]["int8"]), ("greedy", "beam 5")
    rows = []
    for name in names:
        listed = found["words"].get(name)
        cells = [" / ".join(f"{count:,}" for count in listed.values()) if listed else f"{found['vocabulary']:,}"]
        for precision in ("float32", "int8"):
            each = [found["quality"][precision][name][search] for search in searches]
            cells += [
                " / ".join(f"{one['same']:.1%}" for one in each),
                " / ".join(f"{one['bleu']:.2f}" for one in each),
            ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    lines = [
        "## A shortlist of the vocabulary",
        "",
        "    python benchmarks/shortlist.py quality --data DATA --model RUNS/A",
        "    python benchmarks/shortlist.py speed --data DATA --model RUNS/A",
        "",
        f"Multi30k test_2016 ({found['lines']:,} lines), German → English, an attention LSTM; the lists are "
        "learned from the training pairs by IBM model 1. Words listed: for a line / 16 / 32 lines of like length "
        "together, mean. Each pair of figures is greedy / beam 5.",
        "",
        "| the search chooses among | words listed | float32: same text | BLEU | int8: same text | BLEU |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    if "speed" in found:
        works = list(found["speed"])
        lines += [
            f"Target tokens a second in int8, {found['threads']} threads on {found['processor']}, in turn, "
            f"{found['rounds']} rounds: median, and in brackets how many times that of the whole vocabulary.",
            "",
            f"| the search chooses among | {' | '.join(works)} |",
            f"|---|{'---|' * len(works)}",
            *(
                f"| {name} | "
                + " | ".join(
                    f"{found['speed'][work][name]['median']:,} ({found['speed'][work][name]['ratio']:.2f} ×)"
                    for work in works
                )
                + " |"
                for name in names
            ),
            "",
        ]
    return "\n".join(lines)
