"""Pairs that are odd beside the others: repeated ones, and lengths and ratios far from the rest.

N  usable pairs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairloom.text.findings import EXAMPLES, Finding, counted, example
from pairloom.text.pairs import Pair
from pairloom.text.survey import Numbers, Survey, shown

_FENCE = 6.0  # robust standard deviations; a normal distribution has one in 500 million beyond
_FEWEST_FOR_OUTLIERS = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """A finding whose examples are still lines, each with what to say after the excerpt."""

    finding: Finding
    places: tuple[tuple[int, str], ...] = ()

    @property
    def wanted(self) -> list[int]:
        """The lines whose texts are needed."""
        return [line for line, _ in self.places]

    def complete(self, name: str, texts: Mapping[int, Pair]) -> Finding:
        """With the examples, from the texts of a second look at the file `name`."""
        examples = [example(name, line, shown(texts[line])) + note for line, note in self.places if line in texts]
        return replace(self.finding, examples=(*self.finding.examples, *examples))


def repeated(survey: Survey) -> list[Found]:
    """Exact duplicates, and sources with several targets."""
    source, target, lines = survey.source.hashes, survey.target.hashes, survey.lines
    order = np.lexsort((target, source))  # stable: the first of equals stays first
    source, target, lines = source[order], target[order], lines[order]
    same_source = np.concatenate([[False], source[1:] == source[:-1]])
    same_pair = same_source & np.concatenate([[False], target[1:] == target[:-1]])
    found = []
    repeats = np.flatnonzero(same_pair)
    if len(repeats):
        share = len(repeats) / len(lines)
        message = f"{counted(len(repeats), 'pair')} ({share:.1%}) repeat an earlier one exactly"
        advice = "Remove the repetitions unless the frequency means something; they count more in training than others."
        finding = Finding("duplicate-pairs", "warning" if share > 0.01 else "note", len(repeats), message, advice)
        found.append(Found(finding, _places(lines, repeats, "as line")))
    others = np.flatnonzero(same_source & ~same_pair)
    if len(others):
        starts = np.maximum.accumulate(np.where(same_source, 0, np.arange(len(lines))))
        count = len(np.unique(starts[others]))
        message = f"{counted(count, 'source')} {'has' if count == 1 else 'have'} several different targets"
        advice = "Fine where several answers are right (replies, translations); otherwise keep the right one only."
        finding = Finding("several-targets", "note", count, message, advice)
        found.append(Found(finding, _places(lines, others, "other target in line")))
    return found


def _places(lines: Numbers, rows: Numbers, word: str) -> tuple[tuple[int, str], ...]:
    """The earliest of these rows, each with the line before it in the order of hashes."""
    chosen = rows[np.argsort(lines[rows])[:EXAMPLES]]
    return tuple((int(lines[row]), f" ({word} {int(lines[row - 1]):,})") for row in chosen)


def outliers(survey: Survey) -> list[Found]:
    """Lengths and ratios of lengths far from the rest, by median and median absolute deviation of their logarithms."""
    if len(survey.lines) < _FEWEST_FOR_OUTLIERS:
        return []
    logs = np.log1p(survey.source.lengths), np.log1p(survey.target.lengths)
    found = []
    for name, values, lengths in zip(("source", "target"), logs, (survey.source, survey.target), strict=True):
        far = np.flatnonzero(_distance(values) > _FENCE)
        if len(far):
            shortest = int(lengths.lengths[far].min())
            message = f"{counted(len(far), name)} far longer than the rest ({shortest:,} characters and more)"
            advice = "Split or remove them: they cost most of the memory, and training cuts or skips them."
            finding = Finding(f"long-{name}", "note", len(far), message, advice)
            found.append(Found(finding, _extremes(survey, far, values)))
    ratio = logs[1] - logs[0]
    distance = np.abs(_distance(ratio))
    far = np.flatnonzero(distance > _FENCE)
    if len(far):
        message = f"{counted(len(far), 'pair')} in which one side is far longer than the other, compared with the rest"
        advice = "Look at them: one side is often cut off, merged with another line, or not a translation at all."
        finding = Finding("length-ratio", "warning", len(far), message, advice)
        found.append(Found(finding, _extremes(survey, far, distance)))
    return found


def _distance(values: Floats) -> Floats:
    """[N] robust standard deviations from the median; half of equal values must not make the rest outliers."""
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    return (values - median) / max(float(spread), 0.15)


def _extremes(survey: Survey, rows: Numbers, values: Floats) -> tuple[tuple[int, str], ...]:
    chosen = rows[np.argsort(-values[rows], kind="stable")[:EXAMPLES]]
    lengths = survey.source.lengths, survey.target.lengths
    return tuple((int(survey.lines[row]), f" ({lengths[0][row]:,} → {lengths[1][row]:,} characters)") for row in chosen)
