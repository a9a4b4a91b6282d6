"""The engine of a model folder: made at the end of a run or later, and believed as far as it was measured.

On the development sources torch and both precisions of the engine answer. In float32 the engine must say what torch
says, or it is not kept; int8 becomes the default unless it costs more of the model's metric than `MOST_LOSS`.
Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.decoding.choice import has_runtime
from pairloom.decoding.generator import Generator
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.storage import remove_directory

if TYPE_CHECKING:
    from pairloom.engine.stored import EngineFacts
    from pairloom.metrics.scores import Score
    from pairloom.weights import ModelFolder

JUDGED = 1000
"""Development pairs that a finished model answers, at most."""
MOST_LOSS = {"bleu": 0.3}
LOSS = 0.5
"""Points of the metric (of those not in `MOST_LOSS`) that int8 may cost to be the default."""
EQUAL = 0.995
"""The least share of sources for which the engine in float32 must say what torch says. Not all: two outputs may have
the same probability but for the last bit."""

Lines = Sequence[tuple[str, Sequence[str]]]
"""Sources with their right answers."""


@dataclass(frozen=True)
class Judged:
    """A folder's answers to the development sources, and what became of its engine."""

    outputs: list[str]  # of torch
    engine: EngineFacts | None  # None: there is none
    note: str  # for people: what the engine is, or why there is none


def judge(folder: ModelFolder, lines: Lines, metrics: Sequence[str]) -> Judged:
    """Answers the sources of `lines` in torch, and makes the folder's engine where that can be."""
    generator = Generator(folder)
    obstacle = cannot_be_made(generator)
    if obstacle is not None:
        outputs = generator.generate([source for source, _ in lines], generator.settings())
        return Judged([output.text for output in outputs], None, obstacle)
    import torch

    from pairloom.engine import choose_default, write_engine

    if (folder.path / "engine").is_dir():
        remove_directory(folder.path / "engine")
    settings, threads = generator.settings(), torch.get_num_threads()
    report = write_engine(folder, [generator.ids(source) for source, _ in lines], settings=settings, threads=threads)
    said = {
        name: [_text(generator, found) for found in answers]
        for name, answers in (
            ("torch", report.torch), ("float32", report.float32), ("int8", report.int8), ("singly", report.singly)
        )
    }  # fmt: skip
    different = sum(ours != theirs for ours, theirs in zip(said["float32"], said["torch"], strict=True))
    if different > max(1, (1 - EQUAL) * len(lines)):
        remove_directory(folder.path / "engine")
        note = f"not kept: in float32 it said something else than torch for {different:,} of {len(lines):,} sources"
        return Judged(said["torch"], None, note)
    measured, default = _measure(said, [answers for _, answers in lines], metrics) if lines else ({}, "float32")
    facts = choose_default(folder.path, default, measured)
    return Judged(said["torch"], facts, engine_line(facts))


def cannot_be_made(generator: Generator) -> str | None:
    """Why a folder can have no engine here; None if it can."""
    if not has_runtime():
        return "ONNX Runtime is not installed: pip install 'pairloom[fast]', then `pairloom export DIR --to engine`"
    from pairloom.engine.build import FOLDS

    folder = generator.folder
    if folder.settings.kind not in FOLDS:
        return f"models of kind {folder.settings.kind} are answered by torch"
    settings = generator.settings()
    if settings.sample or settings.no_repeat_ngram:
        return "this model is asked in a way (sample, no_repeat_ngram) that torch answers"
    return None


def _text(generator: Generator, found: Sequence[Hypothesis]) -> str:
    return generator.candidate(found[0]).text


def _measure(
    said: dict[str, list[str]], references: Sequence[Sequence[str]], metrics: Sequence[str]
) -> tuple[dict[str, Any], str]:
    """The model's first metric for torch and both precisions, and the precision that it speaks for.

    int8 is judged by the worse of two losses: in batches, and one source at a time ("singly", the first of them).
    """
    from pairloom.metrics import score
    from pairloom.metrics.scores import expand

    (metric, *_) = expand(metrics)
    right = [list(answers) for answers in references]

    def scored(outputs: list[str]) -> Score:
        return score(outputs, right[: len(outputs)], [metric])[0]

    def costs(one: Score, other: Score) -> float:
        return (one.value - other.value) * (1 if one.higher_is_better else -1)

    scores = {name: scored(said[name]) for name in ("torch", "float32", "int8")}
    singly = costs(scored(said["torch"][: len(said["singly"])]), scored(said["singly"]))
    losses = {"int8_costs": costs(scores["torch"], scores["int8"]), "singly_costs": singly}
    measured = {name: round(value, 3) for name, value in ({n: s.value for n, s in scores.items()} | losses).items()}
    bearable = max(losses.values()) <= MOST_LOSS.get(metric, LOSS)
    return {"metric": scores["torch"].name, **measured}, "int8" if bearable else "float32"


def engine_line(facts: EngineFacts) -> str:
    """What an engine is, in a line for people."""
    if not facts.sentences:
        return f"{facts.default} answers by default; never compared with torch (`pairloom export --dev PAIRS` does)"
    found = facts.measured
    scores = ", ".join(f"{name} {found[name]:.1f}" for name in ("torch", "float32", "int8") if name in found)
    costs = " and ".join(
        f"{found[name]:.2f} {how}"
        for name, how in (("int8_costs", "in batches"), ("singly_costs", "one at a time"))
        if name in found
    )
    costing = f"; int8 costs {costs}" if costs else ""
    same = f"the text of torch for {facts.equal_float32:.1%} of {facts.sentences:,} development sources in float32"
    int8 = f", {facts.equal_int8:.1%} in int8" if facts.equal_int8 is not None else ""
    return f"{facts.default} answers by default; {found.get('metric', 'score')}: {scores}{costing}; {same}{int8}"


def stored_facts(path: Path) -> EngineFacts | None:
    """What the folder's engine.json says; None where there is none. Raises FolderError for a damaged one."""
    if not (path / "engine" / "engine.json").is_file():
        return None
    from pairloom.engine.stored import read_facts

    return read_facts(path)
