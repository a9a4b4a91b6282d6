"""What is wrong with the data, and what to do: `check(pairs)` reads it twice and holds no texts.

The first pass keeps lengths, hashes and counts (survey.py), the second fetches the examples and looks for what the
counts of characters make possible (suspects.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pairloom.text.findings import EXAMPLES, SEVERITIES, Finding, Severity, characters, counted
from pairloom.text.oddities import Found, outliers, repeated
from pairloom.text.pairs import PairSource
from pairloom.text.shifts import Signs, find_shift, unrelated
from pairloom.text.survey import Numbers, SideSurvey, Survey, second_look
from pairloom.text.suspects import suspect_findings, suspect_searches

SCHEMA = 1
FEW = 20_000
"""Pairs of short symbols: fewer are trained with a small model, and not passed over as often as there is time for."""


@dataclass(frozen=True)
class Side:
    """The numbers of one side; lengths in characters."""

    characters: int
    words: int  # parts between spaces
    distinct_characters: int
    mean: float
    median: float
    p95: float
    longest: int


@dataclass(frozen=True)
class Estimate:
    """How long training is likely to take; tokens are those of the target with `</s>`."""

    tokens: int  # of one epoch
    epochs: int
    minutes_per_epoch: float
    minutes: float


@dataclass(frozen=True)
class Report:
    """All that `pairloom check` says."""

    name: str
    pairs: int
    skipped: int
    distinct_sources: int
    source: Side
    target: Side
    dev_pairs: int | None
    findings: list[Finding]
    estimate: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {"schema": SCHEMA, **asdict(self)}

    def lines(self) -> list[str]:
        """For people; what is worst comes first."""
        text = [f"{self.name}: {counted(self.pairs, 'pair')}, {counted(self.skipped, 'line')} skipped"]
        text[0] += f", {counted(self.distinct_sources, 'distinct source')}"
        for name, side in (("source", self.source), ("target", self.target)):
            text.append(
                f"  {name}: {counted(side.characters, 'character')} ({side.distinct_characters:,} distinct), length on "
                f"average {side.mean:.1f}, median {side.median:.0f}, 95% up to {side.p95:.0f}, longest {side.longest:,}"
            )
        if self.dev_pairs is not None:
            text.append(f"  development set: {counted(self.dev_pairs, 'pair')}")
        if self.estimate:
            text.append(
                f"  training here: about {self.estimate.minutes:.3g} minutes ({self.estimate.epochs} epochs of "
                f"{self.estimate.minutes_per_epoch:.2g} minutes, {self.estimate.tokens:,} tokens each)"
            )
        if not self.findings:
            return [*text, "nothing found that is wrong"]
        for finding in self.findings:
            text += ["", *finding.lines()]
        return text


def check(pairs: PairSource, dev: PairSource | None = None, tokens_per_second: float | None = None) -> Report:
    """What is wrong with the pairs, by themselves and against the development set `dev`.

    `tokens_per_second` is the measured speed of training, for the estimate. Raises DataError if no pair is usable.
    """
    survey = Survey(pairs)
    findings = [*_malformed(pairs), *_shifted(survey), *repeated(survey), *_from_first_pass(survey, pairs)]
    findings += outliers(survey)
    counts = (survey.source.character_counts, survey.target.character_counts)
    searches = suspect_searches(survey.name, counts)
    texts = second_look(pairs, {line for found in findings for line in found.wanted}, [one.search for one in searches])
    ready = [found.complete(survey.name, texts) for found in findings]
    ready += suspect_findings(searches)
    if dev is not None:
        ready += _against_dev(survey, counts, dev)
    report = Report(
        name=pairs.name,
        pairs=pairs.pairs,
        skipped=pairs.skipped,
        distinct_sources=len(np.unique(survey.source.hashes)),
        source=_side(survey.source, counts[0]),
        target=_side(survey.target, counts[1]),
        dev_pairs=None if dev is None else dev.pairs,
        findings=sorted(ready, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count)),
    )
    return replace(report, estimate=estimate_minutes(report, tokens_per_second) if tokens_per_second else None)


def most_passes(pairs: int) -> int:
    """How often few pairs of short symbols are passed over, at most: 40 times, and the fewer, the more often.

    So that every model has the 2,000 updates that 3,600 words give in 40 passes.
    """
    return min(400, math.ceil(40 * max(1.0, 3_600 / pairs)))


def estimate_minutes(report: Report, tokens_per_second: float) -> Estimate:
    """A rough guess: text with spaces has about 1.3 pieces a word, text without one token a character.

    About 5 million target tokens train a small model well, in no fewer than 5 epochs; in no more than `most_passes`
    where training itself allows no more, else 60.
    """
    words = report.target.words / report.pairs
    pieces = 1.3 * report.target.words
    no_spaces = words < 2 or report.target.characters > 15 * report.target.words
    tokens = round(report.target.characters if no_spaces else min(pieces, report.target.characters)) + report.pairs
    most = most_passes(report.pairs) if no_spaces and report.pairs < FEW else 60
    epochs = int(min(most, max(5, np.ceil(5e6 / tokens))))
    per_epoch = tokens / tokens_per_second / 60
    return Estimate(tokens, epochs, per_epoch, epochs * per_epoch)


def _malformed(pairs: PairSource) -> list[Found]:
    found = []
    for kind, count in pairs.kinds.items():
        examples = tuple(str(problem) for problem in pairs.problems if problem.kind == kind)[:EXAMPLES]
        name = "empty-side" if kind.endswith(("is empty", "are empty")) else "malformed"
        message = f"{counted(count, 'line')} cannot be used and {'is' if count == 1 else 'are'} skipped: {kind}"
        advice = "Correct or remove them; if there are few, training without them does no harm."
        severity: Severity = "error" if count > pairs.pairs else "warning"
        found.append(Found(Finding(name, severity, count, message, advice, examples)))
    return found


def _shifted(survey: Survey) -> list[Found]:
    signs = Signs.of(survey.source, survey.target)
    shift = find_shift(signs)
    if shift is None:
        if not unrelated(signs):
            return []
        message = "the sides of a pair seem to have no more to do with each other than with other lines"
        advice = "Read twenty pairs: if they do not belong together, one side was sorted or shuffled without the other."
        return [Found(Finding("unrelated-sides", "note", len(survey.lines), message, advice))]
    line = int(survey.lines[shift.row])
    count = len(survey.lines) - shift.row
    where = f"{counted(abs(shift.offset), 'line')} {'later' if shift.offset > 0 else 'earlier'}"
    surplus = "too much in the target or missing in the source"
    if shift.offset < 0:
        surplus = "missing in the target or too much in the source"
    message = f"the sides run apart: from about line {line:,} on, sources fit the targets {where} better than their own"
    advice = f"Something is {surplus} near there: find it and make both sides agree again before training."
    return [Found(Finding("misaligned", "error", count, message, advice), ((line, ""),))]


def _from_first_pass(survey: Survey, pairs: PairSource) -> list[Found]:
    """What the first pass noted with its examples."""
    equal, spaces = survey.equal.count, survey.spaces.count
    severity: Severity = "warning" if equal > 0.02 * pairs.pairs else "note"
    findings = survey.equal.finding(
        "equal-sides",
        severity,
        f"{counted(equal, 'pair')} {'has' if equal == 1 else 'have'} the same text on both sides",
        "Remove them unless copying is meant; a model learns from them to leave text as it is.",
    )
    findings += survey.spaces.finding(
        "stray-spaces",
        "note",
        f"{counted(spaces, 'pair')} with spaces at the beginning or end, or several in a row",
        "Strip and squeeze them unless they mean something; a model may learn to write them.",
    )
    form = pairs.settings.normal_form
    changed = pairs.changed or survey.unnormal.count
    places = tuple((line, "") for line in pairs.changed_lines)
    found = [Found(finding) for finding in findings]
    if changed:
        state = "was converted on reading" if form != "none" else "stays as it is (normal form: none)"
        message = f"{counted(changed, 'pair')} not in normal form {form if form != 'none' else 'NFC'}: {state}"
        advice = "The same letter is stored in several ways; leave the normal form at NFC and nothing is to be done."
        finding = Finding("mixed-normal-forms", "note", changed, message, advice, tuple(survey.unnormal.examples))
        found.append(Found(finding, places))
    return found


def _side(side: SideSurvey, counts: Numbers) -> Side:
    lengths = side.lengths
    return Side(
        characters=int(lengths.sum()),
        words=side.words,
        distinct_characters=int((counts > 0).sum()),
        mean=float(lengths.mean()),
        median=float(np.median(lengths)),
        p95=float(np.quantile(lengths, 0.95)),
        longest=int(lengths.max()),
    )


def _against_dev(survey: Survey, counts: tuple[Numbers, Numbers], dev: PairSource) -> list[Finding]:
    """Sources of the development set that are also trained on, and characters that never are."""
    other = Survey(dev)
    leaked = np.flatnonzero(np.isin(other.source.hashes, survey.source.hashes))
    places = tuple((int(line), "") for line in other.lines[leaked[:EXAMPLES]])
    texts = second_look(dev, (line for line, _ in places), [])
    findings = []
    if len(leaked):
        share = len(leaked) / len(other.lines)
        message = f"{counted(len(leaked), 'development pair')} ({share:.1%}) with a source that is also in training"
        advice = "Remove them from one of the two: the score would count what was learnt by heart."
        finding = Finding("leak", "error", len(leaked), message, advice)
        findings.append(Found(finding, places).complete(other.name, texts))
    for name, side, known in zip(("source", "target"), (other.source, other.target), counts, strict=True):
        unknown = np.flatnonzero((side.character_counts > 0) & (known == 0))
        if len(unknown):
            message = f"{counted(len(unknown), 'character')} on the {name} side of the development set"
            message += f" not seen in training: {characters(int(code) for code in unknown)}"
            advice = "A model cannot know them; add pairs that hold them, or see whether they are typing errors."
            findings.append(Finding(f"unknown-{name}-characters", "note", len(unknown), message, advice))
    return findings
