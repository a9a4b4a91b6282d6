"""Where the score comes from: the worst lines, and a table by the length of the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from pairloom.errors import UsageError
from pairloom.metrics.definitions import METRICS, normalize
from pairloom.metrics.scores import Score, check_lines, expand, score

# A line is only right or wrong for `wer` and `exact`, and BLEU needs 4-grams that a short line does not have:
# lines are ordered by a finer measure of the same kind.
FINER: dict[str, str] = {"bleu": "chrf", "wer": "cer", "exact": "cer"}
BUCKETS = 5

LengthUnit = Literal["words", "characters"]


class Example(NamedTuple):
    """One line of the evaluation; `_asdict()` is ready for JSON."""

    line: int  # counted from 1
    source: str
    hypothesis: str
    references: tuple[str, ...]
    measure: str  # the key of METRICS that `value` is of
    value: float  # of this line alone


class LengthRow(NamedTuple):
    """The score of the lines whose source has `shortest` to `longest` words or characters."""

    shortest: int
    longest: int
    unit: LengthUnit
    lines: int
    score: Score

    def as_json(self) -> dict[str, object]:
        """The row as a dict that `json.dumps` takes."""
        return {**self._asdict(), "score": self.score.as_json()}


def one_metric(metric: str) -> str:
    """The only name behind `metric`; UsageError for an unknown one or for a group of several."""
    names = expand([metric])
    if len(names) > 1:
        raise UsageError(f"{metric!r} stands for several metrics; choose one of {', '.join(names)}")
    return names[0]


def check_sources(sources: Sequence[str], hypotheses: Sequence[str]) -> None:
    """UsageError unless each hypothesis has its source."""
    if isinstance(sources, str) or len(sources) != len(hypotheses):
        raise UsageError(f"{len(sources):,} sources but {len(hypotheses):,} hypotheses: one source a line is needed")


def worst(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str],
    count: int = 10,
    metric: str = "chrf",
) -> list[Example]:
    """The `count` worst lines, worst first; lines that equal one of their references are never among them.

    Lines are measured one by one by `metric`, or its finer relative: `chrf` for `bleu`, `cer` for `wer` and `exact`.
    UsageError: an unknown metric, counts that differ, no lines.
    """
    name = one_metric(metric)
    name = FINER.get(name, name)
    check_lines(hypotheses, references)
    check_sources(sources, hypotheses)
    found = METRICS[name].measure(hypotheses, references)
    values = found.values(found.statistics)
    order = np.argsort(values if METRICS[name].higher_is_better else -values, kind="stable")
    examples: list[Example] = []
    for index in order.tolist():
        if len(examples) >= count:
            break
        hypothesis, answers = hypotheses[index], tuple(references[index])
        if normalize(hypothesis) not in {normalize(answer) for answer in answers}:
            examples.append(Example(index + 1, sources[index], hypothesis, answers, name, float(values[index])))
    return examples


def by_length(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    metric: str = "bleu",
    *,
    unit: LengthUnit | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> list[LengthRow]:
    """The score in five buckets of roughly equally many lines, by the length of the source, shortest first.

    Sources of one length are never parted, so that there are fewer buckets where many sources are equally long.
    Lengths are in words; in characters where most sources are a single word (spellings, or no blanks in that script).
    UsageError as `score`.
    """
    name = one_metric(metric)
    check_lines(hypotheses, references)
    check_sources(sources, hypotheses)
    words = np.array([len(source.split()) for source in sources])
    chosen: LengthUnit = unit or ("words" if np.median(words) > 1 else "characters")
    lengths = words if chosen == "words" else np.array([len(normalize(source)) for source in sources])
    rows = []
    for members in equal_buckets(lengths):
        picked = members.tolist()
        result = score(
            [hypotheses[i] for i in picked],
            [references[i] for i in picked],
            [name],
            seed=seed,
            resamples=resamples,
        )[0]
        inside = lengths[members]
        rows.append(LengthRow(int(inside.min()), int(inside.max()), chosen, len(picked), result))
    return rows


def equal_buckets(lengths: np.ndarray[tuple[int, ...], np.dtype[np.int64]], buckets: int = BUCKETS) -> list[np.ndarray]:
    """Indices [n_i] of the lines of each bucket; a length goes where the middle of its lines falls among all lines."""
    _, inverse, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    bucket = (buckets * middle / len(lengths)).astype(int)[inverse]
    return [np.flatnonzero(bucket == number) for number in np.unique(bucket)]
