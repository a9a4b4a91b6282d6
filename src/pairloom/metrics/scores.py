"""Scores of a corpus with a 95% interval each.

The interval is the percentile bootstrap over lines (Efron 1979; for BLEU: Koehn 2004): draw N lines out of N with
replacement, score the draw, do so 1,000 times, and take the 2.5th and 97.5th percentile. A draw is never scored from
its texts: it is a vector of how often each line was drawn, so all draws together are one product of matrices,
[R, N] @ [N, K]. All metrics of one call see the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pairloom.errors import UsageError
from pairloom.metrics.definitions import METRICS, Floats

GROUPS: dict[str, tuple[str, ...]] = {"rouge": ("rouge1", "rouge2", "rougeL")}
BOUNDS = (2.5, 97.5)  # percentiles
CELLS = 4_000_000  # of the draws held at a time: 32 MB


@dataclass(frozen=True)
class Score:
    """A score of a corpus; percentages, so 41.5 and not 0.415."""

    metric: str  # key of METRICS
    name: str  # to show
    value: float
    low: float  # 95% interval; where so few lines draw it away from the value, it is widened to hold the value
    high: float
    higher_is_better: bool
    signature: str  # sacrebleu's for BLEU, chrF, TER
    sentences: int
    resamples: int
    seed: int

    def __str__(self) -> str:
        """`BLEU 41.5 [40.1, 42.9]`."""
        return f"{self.name} {self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"

    def as_json(self) -> dict[str, str | float | int | bool]:
        """The fields as a dict that `json.dumps` takes."""
        return asdict(self)


def default_metrics(unit: str) -> tuple[str, ...]:
    """The metrics that say most about targets of this unit of the tokenizer.

    Symbols (space, character, jamo): whole lines, then the symbols in them; text: BLEU and chrF.
    """
    if unit == "space":
        return ("wer", "per", "exact")
    if unit in {"character", "jamo"}:
        return ("wer", "cer", "exact")
    return ("bleu", "chrf")


def expand(metrics: Sequence[str]) -> list[str]:
    """Names of METRICS for names of metrics and groups, each once, in the order given; UsageError for unknown ones."""
    asked = [metrics] if isinstance(metrics, str) else list(metrics)
    names = [name for given in asked for name in GROUPS.get(given, (given,))]
    unknown = [repr(name) for name in dict.fromkeys(names) if name not in METRICS]
    if unknown:
        noun = "metric" if len(unknown) == 1 else "metrics"
        groups = "; ".join(f"{group} = {' '.join(members)}" for group, members in GROUPS.items())
        raise UsageError(f"unknown {noun} {', '.join(unknown)}; known are {', '.join(METRICS)} ({groups})")
    return list(dict.fromkeys(names))


def check_lines(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """UsageError unless there are lines, and each has its list of references."""
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise UsageError("hypotheses and references are lists with one entry a line, not one text")
    if len(hypotheses) != len(references):
        raise UsageError(
            f"{len(hypotheses):,} hypotheses but {len(references):,} lines of references: "
            "each hypothesis needs the references of its own line"
        )
    if not hypotheses:
        raise UsageError("nothing to score: there are no lines")
    for number, answers in enumerate(references, start=1):
        if isinstance(answers, str):
            raise UsageError(
                f"line {number}: references are a list of right answers, e.g. [{answers[:40]!r}], not one text"
            )
        if not answers:
            raise UsageError(f"line {number} has no reference; leave the line out or give it one")


def score(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> list[Score]:
    """Score N hypotheses against the one or more references of each, by each of `metrics` (see METRICS and GROUPS).

    The same seed gives the same intervals. UsageError: unknown metrics, counts that differ, no lines, resamples < 1.
    """
    names = expand(metrics)
    check_lines(hypotheses, references)
    if resamples < 1:
        raise UsageError(f"resamples is {resamples}: an interval needs at least 1, usually 1,000")
    if not names:
        return []
    measured = [METRICS[name].measure(hypotheses, references) for name in names]
    widths = [found.statistics.shape[1] for found in measured]
    drawn = resampled_sums(np.concatenate([found.statistics for found in measured], axis=1), seed, resamples)
    scores = []
    for name, found, sums in zip(names, measured, np.split(drawn, np.cumsum(widths)[:-1], axis=1), strict=True):
        # line after line, as sacrebleu adds: TER's mean lengths are no integers, so the order decides the last bit
        total = np.cumsum(found.statistics, axis=0)[-1:]
        value = float(found.values(total)[0])
        low, high = np.percentile(found.values(sums), BOUNDS)
        metric = METRICS[name]
        scores.append(
            Score(
                metric=name,
                name=metric.label,
                value=value,
                low=min(float(low), value),
                high=max(float(high), value),
                higher_is_better=metric.higher_is_better,
                signature=found.signature,
                sentences=len(hypotheses),
                resamples=resamples,
                seed=seed,
            )
        )
    return scores


def resampled_sums(statistics: Floats, seed: int, resamples: int) -> Floats:
    """Sums of the statistics [N, K] over `resamples` draws of N lines with replacement: [resamples, K]."""
    lines = len(statistics)
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, statistics.shape[1]), dtype=np.float64)
    step = max(1, CELLS // lines)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = np.empty((rows, lines), dtype=np.float64)
        for row in drawn:
            row[:] = np.bincount(generator.integers(lines, size=lines), minlength=lines)
        sums[start : start + rows] = drawn @ statistics
    return sums
