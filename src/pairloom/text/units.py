"""Which unit suits a set of pairs: a default chosen from the data, with a sentence that says why."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pairloom.text.components import Unit

SAMPLE = 10_000
"""Pairs looked at; of more, a fixed random sample."""
SHORT = 24.0
"""Letters. A side that is shorter on average is read letter by letter; Hangul counts by its jamo."""
LARGEST = 8_000
"""Ids of a subword vocabulary when there are at least 20,000 pairs: one for every 2.5 pairs below that."""
SMALLEST = 1_000


class UnitChoice(NamedTuple):
    """A choice of tokenizers. `joint`: one for both sides. `size`: the most ids, the special ones included."""

    source_unit: Unit
    target_unit: Unit
    joint: bool
    size: int
    reason: str


@dataclass(frozen=True)
class _Side:
    """What is measured about one side of the sample; all lengths are means."""

    name: str
    letters: float  # per text, Hangul decomposed
    words: float  # per text
    hangul: float  # part of the characters without spaces that are Hangul syllables
    symbols: int  # different words; 0 if the texts are not symbols that stand apart
    alphabet: Counter[str]  # letters (no digits, spaces, punctuation) and how often


def choose_units(pairs: Iterable[Sequence[object]], total: int | None = None) -> UnitChoice:
    """The default units for pairs whose first two items are source and target text.

    All pairs are counted and a sample is measured; `total` is their number where only a part is handed in.
    Phonemes and the like, apart by single spaces → space; short texts (words, names, dates) → character, or jamo
    where most characters are Hangul syllables; anything longer → bpe, joint if both sides share an alphabet.
    """
    sample, count = _sample(pairs)
    total = max(total or 0, count)
    source = _measure("source", [text for text, _ in sample])
    target = _measure("target", [text for _, text in sample])
    # Short sentences facing long ones are sentences still: "Go home." belongs with its translation.
    sentences = any(_is_long(side) for side in (source, target))
    source_unit, source_reason = _choose(source, sentences)
    target_unit, target_reason = _choose(target, sentences)
    subwords = "bpe" in (source_unit, target_unit)
    size = int(min(LARGEST, max(SMALLEST, round(total / 2.5 / 500) * 500))) if subwords else LARGEST
    shared = _shared(source.alphabet, target.alphabet)
    joint = source_unit == target_unit == "bpe" and shared >= 0.5
    reasons = [source_reason, target_reason]
    if subwords:
        kind = "One vocabulary for both sides, which share an alphabet," if joint else "A vocabulary for each side,"
        reasons.append(f"{kind} of at most {size:,} pieces, for {total:,} pairs.")
    return UnitChoice(source_unit, target_unit, joint, size, " ".join(reasons))


def _sample(pairs: Iterable[Sequence[object]]) -> tuple[list[tuple[str, str]], int]:
    """A reservoir of SAMPLE pairs (files are often sorted by length, so the first would mislead), and the count."""
    generator = random.Random(0)
    kept: list[tuple[str, str]] = []
    count = 0
    for pair in pairs:
        count += 1
        entry = (str(pair[0]), str(pair[1]))
        if len(kept) < SAMPLE:
            kept.append(entry)
        elif (place := int(generator.random() * count)) < SAMPLE:
            kept[place] = entry
    return kept, count


def _measure(name: str, texts: Sequence[str]) -> _Side:
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    apart = True
    for text in texts:
        characters.update(text)
        pieces = text.split(" ")
        apart = apart and (not text or "" not in pieces)
        words.update(piece for piece in pieces if piece)
    texts_count = max(1, len(texts))
    hangul = sum(n for c, n in characters.items() if "가" <= c <= "힣")
    visible = sum(n for c, n in characters.items() if not c.isspace())
    letters = sum(n * len(unicodedata.normalize("NFD", c) if "가" <= c <= "힣" else c) for c, n in characters.items())
    tokens = sum(words.values())
    symbol_length = visible / max(1, tokens)
    are_symbols = apart and tokens >= 2 * texts_count and symbol_length <= 3 and len(words) <= min(256, tokens / 4)
    return _Side(
        name=name,
        letters=letters / texts_count,
        words=tokens / texts_count,
        hangul=hangul / max(1, visible),
        symbols=len(words) if are_symbols else 0,
        alphabet=Counter({c: n for c, n in characters.items() if c.isalpha()}),
    )


def _is_long(side: _Side) -> bool:
    return not side.symbols and side.letters > SHORT


def _choose(side: _Side, sentences: bool) -> tuple[Unit, str]:
    if side.symbols:
        return "space", f"The {side.name} is made of {side.symbols} symbols apart by single spaces: unit space."
    if _is_long(side):
        return "bpe", f"The {side.name} is text of {side.words:.0f} words on average: unit bpe."
    if sentences and side.words >= 2:
        return "bpe", f"The {side.name} is short, but text of several words like the other side: unit bpe."
    if side.hangul > 0.5:
        return "jamo", f"The {side.name} is short Hangul ({side.letters:.0f} jamo on average): unit jamo."
    return "character", f"The {side.name} is short ({side.letters:.0f} characters on average): unit character."


def _shared(first: Counter[str], second: Counter[str]) -> float:
    """How much of the letters of two sides is common: the sum over letters of the smaller of both shares, 0 to 1."""
    ones, twos = max(1, sum(first.values())), max(1, sum(second.values()))
    return sum(min(n / ones, second[c] / twos) for c, n in first.items())
