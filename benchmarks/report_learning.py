"""The parts of docs/RESULTS.md on what minutes buy, and on word vectors."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from works import provenance_line, score_of

CURVE = ("multi30k-5", "multi30k-10", "multi30k-20-1", "multi30k-60")
"""Runs of one recipe: multi30k-20, of two cores, is of an older one."""
PICTURE = Path("docs") / "minutes.png"


def points(found: dict[str, dict[str, Any]]) -> list[tuple[float, dict[str, float], dict[str, Any]]]:
    """Minutes of core time (threads × minutes), BLEU, and the result, for every budget that was measured."""
    rows = []
    for name in CURVE:
        if name in found:
            result = found[name]
            rows.append((result["minutes"] * result["threads"], score_of(result, "bleu"), result))
    return sorted(rows, key=lambda row: row[0])


def minutes_section(found: dict[str, dict[str, Any]]) -> str:
    """BLEU after 5, 10, 20, 60 minutes: each a run of its own, whose learning rate falls to zero by its end."""
    rows = [
        f"| {result['minutes']:.0f} | {result['threads']} | {core:.0f} | {result['updates']:,} | "
        f"{bleu['value']:.2f} [{bleu['low']:.2f}, {bleu['high']:.2f}] | {result['commit']} |"
        for core, bleu, result in points(found)
    ]
    return "\n".join(
        [
            "## What minutes buy: Multi30k German → English, test_2016",
            "",
            "The attention LSTM with the defaults, each budget a run of its own. The picture counts minutes of core "
            "time: threads × minutes.",
            "",
            f"![BLEU over minutes of core time]({PICTURE.name})",
            "",
            "| minutes | threads | core minutes | updates | BLEU | commit |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def draw_minutes(found: dict[str, dict[str, Any]], path: Path) -> None:
    """The curve, with intervals."""
    from pairloom.pictures.figure import ACCENT, INK, calm, drawing, new_figure, save

    rows = points(found)
    with drawing():
        figure = new_figure(6.4, 3.2)
        axes = figure.add_subplot(1, 1, 1)
        calm(axes)
        cores, values = [core for core, _, _ in rows], [bleu["value"] for _, bleu, _ in rows]
        spread = [[b["value"] - b["low"] for _, b, _ in rows], [b["high"] - b["value"] for _, b, _ in rows]]
        axes.errorbar(cores, values, yerr=spread, color=ACCENT, linewidth=1.6, marker="o", markersize=4, capsize=3)
        for core, value in zip(cores, values, strict=True):
            axes.annotate(f"{value:.1f}", (core, value), (5, -11), textcoords="offset points", color=INK, fontsize=8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(cores, [f"{core:.0f}" for core in cores])
        axes.minorticks_off()
        axes.set_xlabel("minutes of core time (threads × minutes)")
        axes.set_ylabel("BLEU")
        save(figure, path, "png")


def vectors_section(found: dict[str, Any]) -> str:
    """From results/vectors.json: speed beside gensim, and what vectors bring to few pairs."""
    lines = ["## Word vectors", ""]
    if "speed" in found:
        speed = found["speed"]
        versions = ", ".join(f"{name} {version}" for name, version in speed["versions"].items())
        lines += [
            "`python benchmarks/vectors.py speed`: skip-gram with negative sampling, the same settings, "
            f"{speed['words']:,} words of English, {len(speed['words_per_second']['gensim'])} rounds in turn, "
            f"{speed['threads']} threads "
            f"({versions}; {provenance_line(speed)}).",
            "",
            "| system | words/s, median | least to most |",
            "|---|---|---|",
            *(
                f"| {name} | {speed['median'][name]:,} | {min(each):,} to {max(each):,} |"
                for name, each in speed["words_per_second"].items()
            ),
            "",
            f"Ours / gensim's, median of the rounds: {speed['ratio']:.2f}.",
            "",
        ]
    if "pairs" in found:
        lines += _pairs(found["pairs"])
    return "\n".join(lines)


def _pairs(part: dict[str, Any]) -> list[str]:
    groups: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for run in part["runs"]:
        groups[run["pairs"], run["start"]].append(run)
    rows = []
    for (pairs, start), runs in groups.items():
        bleu, epochs = [run["bleu"] for run in runs], part["epochs"][str(pairs)]
        rows.append(
            f"| {pairs:,} | {epochs} | {start} | {mean(bleu):.2f} | {min(bleu):.2f} to {max(bleu):.2f} "
            f"| {mean(run['loss'] for run in runs):.3f} |"
        )
    seeds = max(run["seed"] for run in part["runs"])
    return [
        "`python benchmarks/vectors.py pairs`: the first pairs of Multi30k, German → English, a small attention LSTM "
        "(embeddings 128, encoder 2 × 128, decoder 256), its embeddings from chance or from vectors of the same tokens "
        f"learned from all 29,000 sentences of each side; test_2016, beam 5, {seeds} seeds "
        f"({provenance_line(part)}).",
        "",
        "| pairs | epochs | embeddings start from | BLEU, mean | least to most | development loss |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]
