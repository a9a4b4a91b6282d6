"""Word vectors in the text format of word2vec: read, written, and asked for neighbours.

    3 2                 how many words, how many numbers each
    dog 0.12 -0.5       a word and its numbers, apart by single spaces

A word with white space in it cannot stand in such a file. Reading keeps only the words that are wanted, so a file of
millions of words takes the memory of those that a model knows.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairloom.errors import DataError, UsageError
from pairloom.storage import write_pieces
from pairloom.text.components import MARK
from pairloom.text.files import InputFile
from pairloom.text.findings import excerpt

MOST_WORDS = 20_000_000
MOST_NUMBERS = 4096
SHOWN = 10  # problems
_HEADER = re.compile(rb"([0-9]{1,12}) ([0-9]{1,12}) ?")
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """A word that lies close to another."""

    word: str
    similarity: float  # cosine, -1 to 1


class WordVectors:
    """Words and their vectors [V, D]; the words are all different."""

    def __init__(self, words: Sequence[str], matrix: Matrix) -> None:
        self.words = tuple(words)
        self.matrix = matrix
        self.rows = {word: row for row, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.rows

    def __getitem__(self, word: str) -> Matrix:
        """The vector [D] of a word. Raises UsageError, naming words that are written alike, for one without."""
        vector: Matrix = self.matrix[self.row(word)]
        return vector

    @property
    def size(self) -> int:
        """D, numbers in a vector."""
        return int(self.matrix.shape[1])

    def row(self, word: str) -> int:
        """The row of a word, written as in the file or without the mark of a word's beginning."""
        found = next((self.rows[name] for name in (word, MARK + word) if name in self.rows), None)
        if found is None:
            raise UsageError(f"there is no vector for {excerpt(word, 60)!r}{alike(word, self.words)}")
        return found

    def near(self, word: str, count: int = 10) -> list[Neighbour]:
        """The words whose vectors have the largest cosine with that of `word`, the closest first; not itself."""
        return nearest(self.matrix, self.row(word), self.words, count)

    def save(self, path: str | Path) -> None:
        """A .vec file, atomically. Raises UsageError for words that the format cannot hold, StorageError."""
        unfit = [word for word in self.words if not fits(word)]
        if unfit:
            raise UsageError(f"{len(unfit)} words have white space in them or are empty, such as {unfit[0][:60]!r}")
        write_pieces(Path(path), self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        yield f"{len(self)} {self.size}\n".encode()
        numbers = " ".join(["%.9g"] * self.size)  # nine digits read back as the same float32
        for word, vector in zip(self.words, self.matrix.tolist(), strict=True):
            yield f"{word} {numbers % tuple(vector)}\n".encode()


def fits(word: str) -> bool:
    """Whether a word can stand in a .vec file."""
    return word.split() == [word] and not any("\ud800" <= character <= "\udfff" for character in word)


def alike(word: str, words: Sequence[str]) -> str:
    """`; did you mean ...?` with words that are written nearly the same, or nothing."""
    plain = dict.fromkeys(name.removeprefix(MARK) for name in words[:100_000])
    close = difflib.get_close_matches(word[:60], plain, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def nearest(matrix: Matrix, row: int, names: Sequence[str], count: int, first: int = 0) -> list[Neighbour]:
    """The names of the rows from `first` on whose cosine with `row` is largest, the largest first, without itself."""
    norms = np.maximum(np.linalg.norm(matrix, axis=1), 1e-12)
    cosines = (matrix @ matrix[row]) / (norms * norms[row])
    cosines[row] = -np.inf
    cosines[:first] = -np.inf
    order = np.argsort(-cosines, kind="stable")[:count]
    return [Neighbour(names[i], float(cosines[i])) for i in order if np.isfinite(cosines[i])]


def vector_size(path: str | Path) -> int:
    """D of a .vec file, from its first line."""
    return _header(InputFile(str(path)))[1]


def read_vectors(path: str | Path, wanted: Callable[[str], bool] | None = None) -> WordVectors:
    """The vectors of a .vec file (also .gz, .zst), or those of the wanted words.

    Raises DataError, naming the lines, for a file that is not of the format: another number of numbers than the header
    says or of lines, a word twice, a number that is none or not finite (looked for in wanted words only), no UTF-8.
    """
    file = InputFile(str(path))
    count, size = _header(file)
    seen: set[str] = set()
    words: list[str] = []
    vectors: list[Matrix] = []
    problems: list[str] = []
    number = 1
    for number, line in enumerate(_after_header(file), start=2):
        if number - 1 > count:
            problems.append(f"{file.name}:{number}: more lines than the {count:,} words of the header")
        else:
            word, vector, problem = _entry(line, size, wanted)
            if not problem and word in seen:
                problem = f"the word {excerpt(word, 40)!r} stands in the file twice"
            seen.add(word)
            if problem:
                problems.append(f"{file.name}:{number}: {problem}")
            elif vector is not None:
                words.append(word)
                vectors.append(vector)
        if len(problems) == SHOWN or number - 1 > count:
            break
    if not problems and number - 1 < count:
        problems.append(f"{file.name}:{number}: the file ends here, after {number - 1:,} of {count:,} words")
    if problems:
        raise DataError(f"{file.name} cannot be used as a file of word vectors:", problems)
    return WordVectors(words, np.stack(vectors) if vectors else np.zeros((0, size), dtype=np.float32))


def _header(file: InputFile) -> tuple[int, int]:
    file.head()
    line = next(file.lines(), b"")
    match = _HEADER.fullmatch(line)
    if match is None:
        raise DataError(
            f"{file.name}:1: a .vec file begins with the number of words and of numbers in a vector, such as "
            f"`5000 100`; this line is {excerpt(line[:200].decode(errors='replace'), 60)!r}"
        )
    count, size = (int(part) for part in match.groups())
    if not (1 <= count <= MOST_WORDS and 1 <= size <= MOST_NUMBERS):
        limits = f"1 to {MOST_WORDS:,} words of 1 to {MOST_NUMBERS:,} numbers can be read"
        raise DataError(f"{file.name}:1: {count:,} words of {size:,} numbers: {limits}")
    return count, size


def _after_header(file: InputFile) -> Iterator[bytes]:
    lines = file.lines()
    next(lines, None)
    return lines


def _entry(line: bytes, size: int, wanted: Callable[[str], bool] | None) -> tuple[str, Matrix | None, str]:
    """Word, vector (None: not wanted) and what is wrong with a line."""
    try:
        word, *numbers = line.decode().removesuffix(" ").split(" ")
    except UnicodeDecodeError:
        return "", None, "not UTF-8"
    if not fits(word):
        return word, None, "no word before the numbers"
    if len(numbers) != size:
        return word, None, f"{len(numbers):,} numbers after {excerpt(word, 40)!r}, the header says {size:,}"
    if wanted is not None and not wanted(word):
        return word, None, ""
    return word, *_vector(word, numbers)


def _vector(word: str, numbers: Sequence[str]) -> tuple[Matrix | None, str]:
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(one) for one in numbers], dtype=np.float64).astype(np.float32)
    except ValueError as error:
        return None, f"{excerpt(str(error), 80)} after {excerpt(word, 40)!r}"
    if not np.isfinite(vector).all():
        return None, f"a number after {excerpt(word, 40)!r} is not finite"
    return vector, ""
