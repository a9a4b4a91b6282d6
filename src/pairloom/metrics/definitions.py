"""What each metric counts.

A metric turns N lines into an array of sufficient statistics [N, K], one row a line, and says how a sum over rows
becomes the score. So the scores of the corpus, of one line and of a bootstrap resample are one computation.

    name               statistics of a line                          score of the sum
    bleu chrf ter      those of sacrebleu                            that of sacrebleu, to the last digit
    wer exact          (wrong or right, 1)                           share of the lines, in percent
    per cer            (edits, length of the reference)              edits per 100 symbols of the references
    rouge1/2/L         (F1, 1)                                       mean F1, in percent

Mind the name WER: here it is the word error rate of work on pronunciation, where a line is one word: the percentage of
lines whose whole output is wrong. The word error rate of speech recognition (edits per 100 words of running text) is
`per`, whose symbols are whatever stands between white space: phonemes, or words.

Before they are compared, texts are put into NFC and every run of white space becomes one blank (sacrebleu's three
metrics see the text as it is). With several references for a line the best counts: for `per` and `cer` the one with the
fewest edits per symbol of it, for ROUGE the one with the highest F1; BLEU, chrF and TER combine references as sacrebleu
does.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq, Levenshtein

from pairloom.text.normal import normal_form

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What a metric found in N lines."""

    statistics: Floats  # [N, K], one row a line
    values: Callable[[Floats], Floats]  # sums over lines [R, K] → scores [R], 0 to 100 (error rates may pass 100)
    signature: str  # all that must be equal for two scores to be comparable, in sacrebleu's key:value|key:value


class Metric(Protocol):
    """A way of scoring outputs against references."""

    @property
    def label(self) -> str:
        """The name to show, e.g. `chrF`."""

    @property
    def higher_is_better(self) -> bool:
        """False for error rates."""

    def measure(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
        """The statistics of N hypotheses, each against its one or more references."""


def normalize(text: str) -> str:
    """NFC, and one blank for every run of white space, none at the ends."""
    return " ".join(normal_form("NFC", text).split())


def reference_count(references: Sequence[Sequence[str]]) -> str:
    """How many references each line has, as sacrebleu's signature writes it: a number, or `var` where lines differ."""
    counts = {len(answers) for answers in references}
    return str(counts.pop()) if len(counts) == 1 else "var"


@dataclass(frozen=True)
class SacrebleuMetric:
    """BLEU (Papineni et al. 2002), chrF (Popović 2015), TER (Snover et al. 2006), all with sacrebleu's defaults.

    The statistics of the lines are sacrebleu's own. Its public `corpus_score` would give the value too, but for the
    interval only a mean with ±, and no statistics to resample; the tests hold the two paths together.
    """

    label: str
    class_name: str  # in sacrebleu.metrics
    higher_is_better: bool

    def measure(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
        """Multiple references are passed on as sacrebleu's parallel streams, None where a line has fewer."""
        import sacrebleu.metrics  # slow to import, and not needed by the other metrics

        # force: sacrebleu would log a warning for outputs that look tokenised; the score does not depend on it
        options: dict[str, Any] = {"force": True} if self.class_name == "BLEU" else {}
        metric = getattr(sacrebleu.metrics, self.class_name)(**options)
        most = max(len(answers) for answers in references)
        streams = [[answers[i] if i < len(answers) else None for answers in references] for i in range(most)]
        rows = metric._extract_corpus_statistics(hypotheses, streams)

        def values(sums: Floats) -> Floats:
            return np.array([metric._compute_score_from_stats(row).score for row in sums.tolist()], dtype=np.float64)

        return Measured(np.array(rows, dtype=np.float64), values, str(metric.get_signature()))


@dataclass(frozen=True)
class RatioMetric:
    """100 × a sum over the lines ÷ another sum over the lines.

    `line(hypothesis, references) → (numerator, denominator)` sees normalised texts.
    """

    label: str
    line: Callable[[str, Sequence[str]], tuple[float, float]]
    higher_is_better: bool
    definition: str  # the part of the signature that says what is counted

    def measure(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
        """[N, 2]: numerators and denominators."""
        rows = [
            self.line(normalize(hypothesis), [normalize(answer) for answer in answers])
            for hypothesis, answers in zip(hypotheses, references, strict=True)
        ]
        # the number at the end counts up whenever a score of the same outputs would change
        signature = f"nrefs:{reference_count(references)}|{self.definition}|norm:NFC|version:pairloom-1"
        return Measured(np.array(rows, dtype=np.float64), percent, signature)


def percent(sums: Floats) -> Floats:
    """[R, 2] numerators and denominators → 100 × their ratios [R].

    Where there is nothing to divide by (all references empty) 0 if the numerator is 0, else 100, as sacrebleu's TER.
    """
    above, below = sums[:, 0], sums[:, 1]
    ratio = np.where(above > 0, 1.0, 0.0)
    np.divide(above, below, out=ratio, where=below > 0)
    return np.asarray(100.0 * ratio, dtype=np.float64)


def wrong(hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
    """(1, 1) if the line equals none of its references."""
    return float(hypothesis not in references), 1.0


def right(hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
    """(1, 1) if the line equals one of its references."""
    return float(hypothesis in references), 1.0


def fewest_edits(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float]:
    """(edits, length) of the reference with the fewest insertions, deletions and substitutions per symbol of it."""
    candidates = [(Levenshtein.distance(hypothesis, reference), len(reference)) for reference in references]
    edits, length = min(candidates, key=lambda found: found[0] / max(found[1], 1))
    return float(edits), float(length)


def symbol_edits(hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
    """Edits between symbols that stand apart: phonemes, or words of running text."""
    return fewest_edits(hypothesis.split(), [reference.split() for reference in references])


def character_edits(hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
    """Edits between characters (code points of NFC: a Hangul syllable is one), single blanks included."""
    return fewest_edits(hypothesis, references)


def rouge_words(text: str) -> list[str]:
    """Lower-cased words; white space and all that Unicode calls punctuation or symbol stands between words.

    For ASCII these are the words of Google's rouge-score without stemming; unlike there, other scripts are kept.
    """
    text = text.lower()
    for character in set(text):
        if unicodedata.category(character)[0] in "PS":
            text = text.replace(character, " ")
    return text.split()


def f1(matches: int, hypothesis: int, reference: int) -> float:
    """Harmonic mean of matches/hypothesis and matches/reference."""
    return 2.0 * matches / (hypothesis + reference) if matches else 0.0


@dataclass(frozen=True)
class RougeN:
    """ROUGE-N (Lin 2004, section 2) as F1; n-grams are clipped to the count of the other side.

    A line in which neither side has an n-gram counts as 1 if both have the same words, else as 0.
    """

    n: int

    def __call__(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """(best F1 over the references, 1)."""
        output = rouge_words(hypothesis)
        return max(self._compare(output, rouge_words(reference)) for reference in references), 1.0

    def _compare(self, output: list[str], reference: list[str]) -> float:
        if output == reference:
            return 1.0
        ours, theirs = self._ngrams(output), self._ngrams(reference)
        return f1((ours & theirs).total(), ours.total(), theirs.total())

    def _ngrams(self, words: list[str]) -> Counter[tuple[str, ...]]:
        return Counter(zip(*(words[i:] for i in range(self.n)), strict=False))


def rouge_l(hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
    """ROUGE-L (Lin 2004, section 3.1, equations 2-4, beta = 1): F1 of the longest common subsequence of words."""
    output = rouge_words(hypothesis)
    best = 0.0
    for answer in references:
        reference = rouge_words(answer)
        same = output == reference
        best = max(best, 1.0 if same else f1(LCSseq.similarity(output, reference), len(output), len(reference)))
    return best, 1.0


METRICS: dict[str, Metric] = {
    "bleu": SacrebleuMetric("BLEU", "BLEU", True),
    "chrf": SacrebleuMetric("chrF", "CHRF", True),
    "ter": SacrebleuMetric("TER", "TER", False),
    "rouge1": RatioMetric("ROUGE-1", RougeN(1), True, "case:lc|tok:words|stem:no|f:1"),
    "rouge2": RatioMetric("ROUGE-2", RougeN(2), True, "case:lc|tok:words|stem:no|f:1"),
    "rougeL": RatioMetric("ROUGE-L", rouge_l, True, "case:lc|tok:words|stem:no|f:1"),
    "wer": RatioMetric("WER", wrong, False, "case:mixed|unit:line"),
    "per": RatioMetric("PER", symbol_edits, False, "case:mixed|unit:symbol"),
    "cer": RatioMetric("CER", character_edits, False, "case:mixed|unit:character"),
    "exact": RatioMetric("exact match", right, True, "case:mixed|unit:line"),
}
