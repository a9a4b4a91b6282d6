"""What goes into a search and what comes out of it, whatever engine searches. No torch here: an engine that answers
without it shares these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.text.components import BOS, EOS, PAD, UNK

NEVER = [PAD, UNK, BOS]
"""No output holds these, unless a prefix forces `<unk>`."""


class Sentence(NamedTuple):
    """One source on its way through the loop."""

    number: int  # its place in the input, from 0; also names its random stream
    source: Sequence[int]  # without `</s>`
    prefix: Sequence[int]  # tokens that the output must begin with
    limit: int  # most steps after the prefix, that of `</s>` included


class Hypothesis(NamedTuple):
    """One output."""

    tokens: list[int]  # without `<s>` and `</s>`, with the prefix
    score: float  # sum of the model's log-probabilities (natural logarithm), those of prefix and `</s>` included
    normalised: float  # score / length_penalty
    finished: bool  # False: it reached the limit without `</s>`, whose probability is then not in the score


def length_penalty(length: int, alpha: float) -> float:
    """lp(Y) = (5 + |Y|)^alpha / (5 + 1)^alpha (Wu et al. 2016, arXiv 1609.08144, equation 14).

    |Y| counts `</s>` and a forced prefix, not `<s>`. Others differ: fairseq divides by |Y|^alpha. The coverage penalty
    of the same equation is left out.
    """
    return float(((5 + length) / 6) ** alpha)


def hypothesis(tokens: list[int], score: float, alpha: float) -> Hypothesis:
    """From the chosen tokens, everything from the first `</s>` on left out."""
    finished = EOS in tokens
    kept = tokens[: tokens.index(EOS)] if finished else tokens
    return Hypothesis(kept, score, score / length_penalty(len(kept) + finished, alpha), finished)


def prepare(
    sources: Sequence[Sequence[int]],
    settings: DecodingSettings,
    prefixes: Sequence[Sequence[int]] | None,
    numbers: Sequence[int] | None = None,
) -> list[Sentence]:
    """Sources with prefixes and limits. Raises UsageError for prefixes that cannot be."""
    prefixes = [()] * len(sources) if prefixes is None else prefixes
    if len(prefixes) != len(sources):
        raise UsageError(
            f"{len(sources)} sources but {len(prefixes)} prefixes: give one for each, empty where none is."
        )
    wrong = [str(place) for place, prefix in enumerate(prefixes) if {PAD, BOS, EOS} & set(prefix)]
    if wrong:
        raise UsageError(
            f"<pad>, <s> or </s> in the prefix of source {', '.join(wrong[:10])} (counted from 0): leave it out."
        )
    names = range(len(sources)) if numbers is None else numbers
    return [
        Sentence(number, source, prefix, settings.limit(len(source)))
        for number, source, prefix in zip(names, sources, prefixes, strict=True)
    ]
