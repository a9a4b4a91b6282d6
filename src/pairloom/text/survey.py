"""One pass over pairs that keeps numbers instead of texts (38 bytes a pair), for the report to reason on.

N  usable pairs
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pairloom.text.columns import text_part
from pairloom.text.findings import EXAMPLES, Seen
from pairloom.text.normal import normal_form
from pairloom.text.pairs import Pair, PairSource

CODES = 0x110000
_BLOCK = 1 << 18  # characters counted at once
_DIGIT = re.compile(r"\d")
_MARKS = {".": 1, "。": 1, "．": 1, "।": 1, "…": 1, "?": 2, "？": 2, "؟": 2, "!": 3, "！": 3, ":": 4, "：": 4}
_MARKS |= {",": 5, "，": 5, "、": 5, "،": 5, ";": 6, "；": 6, ")": 7, "）": 7, '"': 8, "”": 8, "“": 8, "»": 8, "」": 8}

Numbers = NDArray[np.int64]


class SideSurvey:
    """What is kept of one side, taken in by blocks. The arrays are one number for each usable pair."""

    def __init__(self, digit_bits: NDArray[np.uint16], mark_classes: NDArray[np.uint8]) -> None:
        """The tables, [0x110000]: bit d for a digit d, and the class of a closing punctuation mark."""
        self._digit_bits, self._mark_classes = digit_bits, mark_classes
        self._lengths, self._hashes, self._digits, self._marks = array("I"), array("Q"), array("H"), array("B")
        self._counts: Numbers = np.zeros(CODES, np.int64)
        self._texts: list[str] = []
        self._wholes: list[str] = []
        self._held = 0

    def add(self, text: str, whole: str | None = None) -> None:
        """Take in one more text, which is not empty; `whole` is the same with its features, and what is hashed."""
        self._texts.append(text)
        self._wholes.append(text if whole is None else whole)
        self._held += len(text)
        if self._held >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        """Measure the held texts all at once: a few nanoseconds a character."""
        if not self._texts:
            return
        codes = np.frombuffer("".join(self._texts).encode("utf-32-le"), "<u4")
        lengths = np.fromiter(map(len, self._texts), np.int64, len(self._texts))
        ends = np.cumsum(lengths)
        digits = np.bitwise_or.reduceat(self._digit_bits[codes], ends - lengths)
        self._lengths.extend(array("I", lengths.astype(np.uintc).tobytes()))
        self._digits.extend(array("H", digits.tobytes()))
        self._marks.extend(array("B", self._mark_classes[codes[ends - 1]].tobytes()))
        self._hashes.extend(map(text_hash, self._wholes))
        self._counts += np.bincount(codes, minlength=CODES)
        self._texts.clear()
        self._wholes.clear()
        self._held = 0

    @property
    def lengths(self) -> Numbers:
        """[N] characters."""
        self._flush()
        return np.array(self._lengths, np.int64)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """[N] a hash of the text."""
        self._flush()
        return np.array(self._hashes, np.uint64)

    @property
    def digits(self) -> Numbers:
        """[N] bit d is set if the digit d occurs, in whatever script."""
        self._flush()
        return np.array(self._digits, np.int64)

    @property
    def marks(self) -> Numbers:
        """[N] the class of the closing punctuation mark, the same in all scripts; 0 = none."""
        self._flush()
        return np.array(self._marks, np.int64)

    @property
    def character_counts(self) -> Numbers:
        """[0x110000] how often each code point occurs."""
        self._flush()
        return self._counts

    @property
    def words(self) -> int:
        """The number of parts between spaces."""
        return len(self.lengths) + int(self._counts[ord(" ")])


def text_hash(text: str) -> int:
    """64 bits: two texts of a million share one by chance once in 30 million times."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _tables() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """[0x110000] bit d for a digit d of any script, and the class of a punctuation mark."""
    bits, classes = np.zeros(CODES, np.uint16), np.zeros(CODES, np.uint8)
    for digit in _DIGIT.findall("".join(map(chr, range(CODES)))):
        bits[ord(digit)] = 1 << int(digit)
    for mark, number in _MARKS.items():
        classes[ord(mark)] = number
    return bits, classes


class Survey:
    """What one pass over the pairs found.

    Of a source with features the text is measured (lengths, characters, spaces), but the whole is compared (repeated
    pairs, several targets, the same text on both sides): a word in two forms is not the same source twice.
    """

    def __init__(self, pairs: PairSource) -> None:
        """Makes the pass. Raises DataError as the pass does."""
        name = pairs.files[0].name
        self.name = name
        tables = _tables()
        self.source, self.target = SideSurvey(*tables), SideSurvey(*tables)
        self.equal, self.spaces, self.unnormal = Seen(name), Seen(name), Seen(name)
        self._lines = array("Q")
        check_form = pairs.settings.normal_form == "none"
        for pair in pairs:
            source, target, line = pair
            self._lines.append(line)
            text = text_part(source) if pairs.settings.features else source
            self.source.add(text, source)
            self.target.add(target)
            if source == target:
                self.equal.add(line, source)
            if has_stray_spaces(text) or has_stray_spaces(target):
                self.spaces.add(line, shown(pair))
            if check_form and (normal_form("NFC", source), normal_form("NFC", target)) != (source, target):
                self.unnormal.add(line, shown(pair))

    @property
    def lines(self) -> Numbers:
        """[N] the line of each pair in its file."""
        return np.array(self._lines, np.int64)


def has_stray_spaces(text: str) -> bool:
    """Whether it begins or ends with a space, or has two in a row."""
    return "  " in text or text[0].isspace() or text[-1].isspace()


def shown(pair: Pair) -> str:
    """A pair in one line, each side cut so that both can be seen."""
    return f"{pair.source[:45]} → {pair.target[:45]}"


@dataclass
class Search:
    """A pattern to look for in a further pass: in one side (0, 1) or in both (None)."""

    pattern: re.Pattern[str]
    side: int | None
    seen: Seen
    count_all: bool = True  # False: a few examples are enough

    def look(self, pair: Pair) -> None:
        """Note the pair if the pattern occurs in it."""
        if not self.count_all and self.seen.count >= EXAMPLES:
            return
        for text in pair[:2] if self.side is None else (pair[self.side],):
            match = self.pattern.search(str(text))
            if match:
                self.seen.add(pair.line, str(text)[max(0, match.start() - 20) :][:90])
                return


def second_look(pairs: PairSource, lines: Iterable[int], searches: list[Search]) -> dict[int, Pair]:
    """One more pass: the pairs at these lines; the searches note what they find (in texts, not in features)."""
    wanted = set(lines)
    found: dict[int, Pair] = {}
    if not wanted and not searches:
        return found
    for pair in pairs:
        if pair[2] in wanted:
            found[pair[2]] = pair
        texts = pair._replace(source=text_part(pair.source)) if pairs.settings.features else pair
        for search in searches:
            search.look(texts)
    return found
