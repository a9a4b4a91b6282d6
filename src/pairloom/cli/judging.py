"""`pairloom evaluate` and `check`: how good a model is, and what is wrong with the data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pairloom.cli.asking import open_model
from pairloom.cli.output import one_line, say, show, show_json, show_scores, show_table
from pairloom.cli.parser import (
    Command,
    Parser,
    add_columns,
    add_json,
    add_machine,
    add_models,
    add_pairs,
    add_search,
    folders_and_pairs,
)

if TYPE_CHECKING:
    from pairloom.metrics import LengthRow
    from pairloom.workflow.model import Evaluation

# -- evaluate ----------------------------------------------------------------------------------------------------------


def add_evaluate(parser: Parser) -> None:
    """The arguments."""
    add_models(parser)
    add_pairs(parser)
    text = "bleu,chrf,ter,rouge,wer,per,cer,exact; default: the recipe's, or what suits the target's unit"
    parser.add_argument("--metrics", type=_names, metavar="NAMES", help=text)
    text = "pairs of the same source are several right answers to one question; default: as the recipe says"
    joined = argparse.BooleanOptionalAction
    parser.add_argument("--merge", action=joined, default=None, help=text)
    add_columns(parser)
    add_json(parser)
    add_search(parser)
    add_machine(parser, searches=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def evaluate(
    *,
    directory: str,
    pairs: Sequence[str],
    metrics: Sequence[str] | None,
    merge: bool | None,
    columns: str | None,
    as_json: bool,
    decoding: dict[str, Any],
    machine: dict[str, Any],
) -> int:
    """Scores with intervals, a table by length, the ten worst."""
    from pairloom.metrics.scores import expand

    expand(metrics or ())  # an unknown metric is better refused before the work than after it
    directories, pairs = folders_and_pairs(directory, pairs)
    model = open_model(directories, machine)
    found = model.evaluate(pairs, metrics, merge=merge, columns=columns, **decoding)
    if found.skipped:
        say(found.skipped)
    if as_json:
        show_json(
            {
                "folder": directory,
                "folders": directories,
                "pairs": list(pairs),
                "lines": found.lines,
                "decoding": {**model.folder.generation, **decoding},
                "engine": model.answering(**decoding)._asdict(),
                "scores": [score.as_json() for score in found.scores],
                "by_length": [row.as_json() for row in found.by_length],
                "worst": [example._asdict() for example in found.worst],
                "skipped": found.skipped,
            }
        )
    else:
        _show(found)
    return 0


def _show(found: Evaluation) -> None:
    show(f"{found.lines:,} lines, with 95% bootstrap intervals:")
    show_scores(found.scores)
    if found.by_length:
        first = found.by_length[0]
        show(f"\n{first.score.name} by the length of the source:")
        show_table((first.unit, "lines", first.score.name, "interval"), map(_row, found.by_length))
    if found.worst:
        show(f"\nthe worst, by their own {found.worst[0].measure}:")
    for example in found.worst:
        show(f"  line {example.line:,}: {example.value:.1f}")
        show(f"    source: {one_line(example.source)}")
        show(f"    target: {one_line(' | '.join(example.references))}")
        show(f"    output: {one_line(example.hypothesis)}")


def _row(row: LengthRow) -> tuple[str, str, str, str]:
    interval = f"[{row.score.low:.1f}, {row.score.high:.1f}]"
    return f"{row.shortest} to {row.longest}", f"{row.lines:,}", f"{row.score.value:.1f}", interval


# -- check -------------------------------------------------------------------------------------------------------------


def add_check(parser: Parser) -> None:
    """The arguments."""
    add_pairs(parser)
    add_columns(parser)
    parser.add_argument("--dev", nargs="+", default=(), metavar="PAIRS", help="development pairs, compared with PAIRS")
    parser.add_argument("--strict", action="store_true", help="leave with 3 if there is a finding of severity error")
    text = "do not measure how fast this machine trains (takes some seconds)"
    parser.add_argument("--no-speed", action="store_true", help=text)
    add_json(parser)


def check(
    *, pairs: Sequence[str], dev: Sequence[str], columns: str | None, strict: bool, no_speed: bool, as_json: bool
) -> int:
    """The report: 0 if something can be learned from the pairs, even where there are findings."""
    from pairloom.text.columns import parse_columns
    from pairloom.text.pairs import PairsSettings, open_pairs
    from pairloom.text.report import check as report_on

    reading = PairsSettings(columns=parse_columns(columns) if columns else None)
    opened, development = open_pairs(pairs, reading), open_pairs(dev, reading) if dev else None
    speed = None
    if not no_speed:
        from pairloom.workflow.speed import training_speed

        speed = training_speed(opened)
    report = report_on(opened, development, speed)
    if as_json:
        show_json(report.as_dict())
    else:
        show("\n".join(report.lines()))
    bad = any(finding.severity == "error" for finding in report.findings)
    return 3 if strict and bad else 0


CHECK = Command(
    "check",
    "PAIRS... [--dev PAIRS...] [options]",
    "what is wrong with these pairs, and what to do",
    ("pairloom check pairs.tsv", "pairloom check train.de train.en --dev val.de val.en --json"),
    add_check,
    check,
)
EVALUATE = Command(
    "evaluate",
    "DIR... PAIRS... [options]",
    "how good a model's outputs are, with intervals",
    (
        "pairloom evaluate runs/mine test.tsv",
        "pairloom evaluate runs/mine test.de test.en --metrics bleu,chrf --beam 5 --json",
        "pairloom evaluate runs/words words.tsv --merge     # several right answers to a source",
        "pairloom evaluate runs/seed1 runs/seed2 runs/seed3 test.tsv     # an ensemble",
    ),
    add_evaluate,
    evaluate,
)
