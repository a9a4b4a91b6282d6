"""The parts of docs/RESULTS.md that tell how fast training is, beside other toolkits and beside what is possible, and
how soon the first answer is there."""

from __future__ import annotations

import re
from typing import Any

from works import processor_words, provenance_line

SIZES = re.compile(r" \([^)]*\)")
"""What a table on the front has no room for."""


def training_section(found: dict[str, Any]) -> str:
    """From results/training.json."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"## Speed of training beside other toolkits{processor_words(found)}",
        "",
        "`python benchmarks/training.py`: the same tokens, sizes and number of sentences in a batch, each system in a "
        "process of its own, in turn, round after round; medians of the rounds. The ratio is ours to theirs, also a "
        f"median. {versions}. The peers compute in float32, as they do unless told otherwise; pairloom in "
        "bfloat16 where the processor multiplies it, its default."
        + (f" {origin}." if (origin := provenance_line(found)) else ""),
        "",
    ]
    for work in found["works"].values():
        others = f"; others took up to {work['others']:.0%} of the processor" if work["others"] > 0.1 else ""
        threads = "1 thread" if work["threads"] == 1 else f"{work['threads']} threads"
        lines += [
            f"{work['what']}; {work['rounds']} rounds, {threads}{others}:",
            "",
            f"| system | parameters | {work['unit']}, median | least to most | ours / theirs |",
            "|---|---|---|---|---|",
            *(_row(row) for row in work["rows"]),
            "",
        ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    parameters = f"{row['parameters']:,}" if row["parameters"] else ""
    ratio = "" if row["ratio"] == 1 else f"{row['ratio']:.2f}"
    return f"| {row['system']} | {parameters} | {row['median']:,} | {row['low']:,} to {row['high']:,} | {ratio} |"


def limits_section(found: dict[str, Any]) -> str:
    """From results/limits.json."""
    names = list(next(iter(found["rates"].values())))
    units = {"read": "reading, GB/s", "copy": "copying, GB/s"}
    header = " | ".join(units.get(name, f"{name}, Gop/s") for name in names)
    where = provenance_line(found) or found["processor"]
    lines = [
        "## What the machine can do, and what of it is reached",
        "",
        f"`python benchmarks/limits.py`, {where}; products of matrices through torch, the best of three shapes.",
        "",
        f"| threads | {header} |",
        "|---|" + "---|" * len(names),
        *(f"| {n} | {' | '.join(f'{rates[name]:,.0f}' for name in names)} |" for n, rates in found["rates"].items()),
        "",
        f"Reached, medians of {found['rounds']} rounds; only products of matrices are counted as work:",
        "",
        "| work | threads | tokens/s | million operations a token | Gop/s | share of the rate |",
        "|---|---|---|---|---|---|",
        *(_share(row) for row in found["shares"]),
        "",
    ]
    return "\n".join(lines)


def _share(row: dict[str, Any]) -> str:
    return (
        f"| {row['what']} | {row['threads']} | {row['tokens_per_second']:,.0f} | "
        f"{row['million_operations_a_token']:.1f} | {row['billion_operations_a_second']:.0f} | "
        f"{row['share']:.0%} of {row['precision']} |"
    )


def first_section(found: dict[str, Any]) -> str:
    """From results/first.json."""
    rows = [
        f"| {name} | {value:.3f} | {min(found['all'][name]):.3f} to {max(found['all'][name]):.3f} |"
        for name, value in found["seconds"].items()
    ]
    lines = [
        "## From the command to the first answer",
        "",
        f"    {found['command']}",
        "",
        f"Each a process of its own, in turn, {found['rounds']} rounds; seconds of wall time. The model has "
        f"{found['parameters']:,} parameters; onnxruntime {found['versions']['onnxruntime']}; "
        f"{provenance_line(found)}.",
        "",
        "| work | median | least to most |",
        "|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def front_table(training: dict[str, Any] | None, answering: dict[str, Any] | None) -> str:
    """For the READMEs: pairloom and one other a row."""
    rows = []
    for work in training["works"].values() if training else ():
        own, other = work["rows"][:2]
        what = f"training: {SIZES.sub('', work['what'])}, {work['unit']}"
        rows.append((what, f"{own['median']:,}", f"{other['system']} {other['median']:,}", other["ratio"]))
    for work, systems in answering["works"].items() if answering else ():
        rival, (own, *_) = answering["rival"], systems
        them, us = systems[rival], systems[own]
        what = f"answering: {own.removeprefix('pairloom ')}, {work}, target tokens/s"
        rows.append((what, f"{us['median']:,}", f"{rival} {them['median']:,}", us["ratio"]))
    cells = [f"| {what} | {own} | {other} | {ratio:.1f} × |" for what, own, other, ratio in rows]
    return "\n".join(["| work | pairloom | beside it, in the same run | |", "|---|---|---|---|", *cells, ""])
