"""`pairloom vectors`: from texts to a file of word vectors; and the neighbours of a word, in a file or in a model."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Generator as Yielding
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError

from pairloom.errors import DataError, InterruptedRunError, UsageError
from pairloom.folder import TOKENIZERS, explain, read_settings
from pairloom.learning.word2vec import END, LEFT_OUT, Learned, Word2VecSettings, learn
from pairloom.storage import disk_errors
from pairloom.text.components import MARK
from pairloom.text.files import STDIN, InputFile, Lines
from pairloom.text.findings import counted
from pairloom.text.normal import normal_form
from pairloom.text.tokenizer import Tokenizer, Unit, train_tokenizer
from pairloom.text.vectors import Neighbour, WordVectors, alike, fits, nearest, read_vectors
from pairloom.weights import load_folder
from pairloom.workflow.model import Paths, path_names
from pairloom.workflow.prepare import StopAskedError
from pairloom.workflow.signals import stopping
from pairloom.workflow.start import SIDES, embedding_table, token_names

TOGETHER = 2_000
"""Texts that are tokenized at once."""
PIECES = 1 << 20  # ids that are renumbered at once


class VectorsSettings(Word2VecSettings):
    """One call of `pairloom vectors`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: tuple[str, ...] = Field(min_length=1, description="files of texts, one a line; tabs part several")
    column: int | None = Field(None, ge=1, le=1000, description="only this column of lines with tabs, from 1")
    unit: Unit = Field("word", description="what gets a vector")
    vocabulary: int = Field(1_000_000, ge=8, le=10**6, description="words, at most: the most frequent")
    tokenizer: str | None = Field(None, description="the folder of a model whose tokens get the vectors")
    side: Literal["source", "target"] = Field("source", description="which of that model's tokenizers")
    min_count: int | None = Field(None, ge=1, description="rarer ones get no vector; 5 for words, 1 for other units")
    normal_form: Literal["NFC", "NFD", "NFKC", "NFKD", "none"] = Field("NFC", description="Unicode normal form")
    threads: int | None = Field(None, ge=1, le=1024, description="threads of the processor")

    @property
    def least(self) -> int:
        """Occurrences that a token must have."""
        words = self.unit in ("word", "space") and self.tokenizer is None
        return self.min_count or (5 if words else 1)


@dataclass(frozen=True)
class Read:
    """The texts have been read and counted; learning begins."""

    texts: int
    tokens: int
    words: int  # different ones, that get a vector
    lines: tuple[str, ...]  # what was found, for people


VectorsEvent = Read | Learned


def vectors(
    texts: Paths,
    *,
    out: str | Path | None = None,
    on_event: Callable[[VectorsEvent], None] | None = None,
    **settings: Any,
) -> WordVectors:
    """Learns word vectors from texts and writes them to `out` (a .vec file). Settings: see `VectorsSettings`.

    The most frequent word comes first. Ctrl-C and SIGTERM raise InterruptedRunError, and nothing is written.
    """
    try:
        chosen = VectorsSettings(texts=tuple(path_names(texts)), **settings)
    except ValidationError as error:
        raise UsageError("\n  ".join(["these settings are not valid:", *explain(error)])) from None
    place = _place(out)
    with stopping() as stop:
        run, result = _vectors(chosen, stop), cast(WordVectors | None, None)
        try:
            while result is None:
                try:
                    event = next(run)
                except StopIteration as end:
                    result = end.value
                else:
                    if on_event is not None:
                        on_event(event)
        except StopAskedError:
            result = None
        if result is None or stop():
            raise InterruptedRunError("stopped; no vectors were written", stop.exit_code)
    if place is not None:
        result.save(place)
    return result


def _place(out: str | Path | None) -> Path | None:
    """Where the file will lie; found out before the work whether it can."""
    if out is None:
        return None
    place = Path(out)
    if place.is_dir():
        raise UsageError(f"--out {place} is a directory: name a file, such as {place / 'words.vec'}")
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _vectors(settings: VectorsSettings, stop: Callable[[], bool]) -> Yielding[VectorsEvent, None, WordVectors]:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    texts = Texts(settings, stop)
    tokenizer = _tokenizer(settings, texts)
    with tempfile.TemporaryFile() as file:
        with disk_errors(Path(tempfile.gettempdir())):
            for part in _together(texts):
                every = (token for one in tokenizer.encode_all(part) for token in (*one, END))
                file.write(np.fromiter(every, dtype=np.int32).tobytes())
            file.flush()
        total = file.tell() // 4
        if total == texts.texts:
            raise DataError(f"{texts.name}: there is no word in it", texts.problems)
        ids = np.memmap(file, dtype=np.int32, mode="r+", shape=(total,))
        names, counts = _renumber(ids, tokenizer, settings)
        if len(names) < 2:
            raise DataError(
                f"{texts.name}: {counted(len(names), 'word')} of it {'is' if len(names) == 1 else 'are'} found "
                f"{settings.least} times or more, two are needed; give more text, or --min-count 1"
            )
        kept = int(counts.sum())
        yield Read(texts.texts, kept, len(names), _lines(texts, total - texts.texts, kept, len(names), settings))
        matrix = yield from learn(ids, counts, _learning(settings), stop)
    return WordVectors(names, matrix)


def _together(texts: Iterable[str]) -> Iterator[list[str]]:
    left = iter(texts)
    while part := list(islice(left, TOGETHER)):
        yield part


def _learning(settings: VectorsSettings) -> Word2VecSettings:
    return Word2VecSettings(**{name: getattr(settings, name) for name in Word2VecSettings.model_fields})


class Texts:
    """The texts of the files, each pass anew: lines, or what tabs part in them, blank ones left out."""

    def __init__(self, settings: VectorsSettings, stop: Callable[[], bool]) -> None:
        if settings.texts.count(STDIN) > 1:
            raise UsageError("standard input can be read only once: give - once")
        self.files = [InputFile(path) for path in settings.texts]
        for file in self.files:
            if file.suffix == ".parquet":
                raise UsageError(f"{file.name}: vectors are learned from lines of text; write its texts to a text file")
            file.head()
        self.name = " + ".join(file.name for file in self.files)
        self.texts = 0  # of the last pass, as the three below
        self.replaced = 0  # lines with bytes that are not UTF-8
        self.cut = 0  # lines that were too long
        self.without = 0  # lines without the column
        self.problems: list[str] = []
        self._settings = settings
        self._stop = stop

    def __iter__(self) -> Iterator[str]:
        self.texts, self.replaced, self.cut, self.without, self.problems = 0, 0, 0, 0, []
        form, column = self._settings.normal_form, self._settings.column
        for file in self.files:
            lines = Lines(file.lines())
            for number, line in enumerate(lines, start=1):
                if number % 4096 == 1 and self._stop():
                    raise StopAskedError
                parts = line.split("\t")
                if column is not None:
                    if len(parts) < column:
                        self._no_column(file.name, number, len(parts))
                    parts = parts[column - 1 : column]
                for part in parts:
                    text = part if form == "none" else normal_form(form, part)
                    if text and not text.isspace():
                        self.texts += 1
                        yield text
            self.replaced += lines.replaced
            self.cut += lines.cut
        if not self.texts:
            raise DataError(
                f"no text in {self.name}: {'no line has that column' if column else 'it is empty'}", self.problems
            )

    def _no_column(self, name: str, number: int, there: int) -> None:
        self.without += 1
        if len(self.problems) < 3:
            found = counted(there, "column")
            self.problems.append(f"{name}:{number}: {found}, --column {self._settings.column} asks for another")


def _tokenizer(settings: VectorsSettings, texts: Texts) -> Tokenizer:
    """That of a model, or one of all words."""
    if settings.tokenizer is None:
        return train_tokenizer(texts, settings.unit, settings.vocabulary)
    folder = Path(settings.tokenizer)
    config = read_settings(folder)
    side = SIDES.index(settings.side)
    return Tokenizer.load(folder / TOKENIZERS[side], (config.source, config.target)[side].unit)


def _renumber(
    ids: NDArray[np.int32], tokenizer: Tokenizer, settings: VectorsSettings
) -> tuple[list[str], NDArray[np.int64]]:
    """Ids of the tokenizer become rows, the most frequent first, in place; gives the rows' words and counts [V].

    Words are plain: one that begins with a space and one that does not (after a bracket, say) are the same.
    """
    sizes = np.zeros(tokenizer.size, dtype=np.int64)
    for start in range(0, len(ids), PIECES):
        part = np.asarray(ids[start : start + PIECES])
        sizes += np.bincount(part[part >= 0], minlength=tokenizer.size)
    names = token_names(tokenizer)
    if tokenizer.unit == "word":
        names = [name.removeprefix(MARK) for name in names]
    total: Counter[str] = Counter()
    for name, count in zip(names, sizes.tolist(), strict=True):
        if count and fits(name):
            total[name] += count
    words = sorted((word for word in total if total[word] >= settings.least), key=lambda word: (-total[word], word))
    words = words[: settings.vocabulary]
    rows = {word: row for row, word in enumerate(words)}
    table = np.array([*(rows.get(name, LEFT_OUT) for name in names), END], dtype=np.int32)  # END = -1 is the last
    for start in range(0, len(ids), PIECES):
        ids[start : start + PIECES] = table[ids[start : start + PIECES]]
    return words, np.array([total[word] for word in words], dtype=np.int64)


def _lines(texts: Texts, tokens: int, kept: int, words: int, settings: VectorsSettings) -> tuple[str, ...]:
    what = "words" if settings.tokenizer is None and settings.unit in ("word", "space") else "tokens"
    lines = [
        f"texts: {texts.texts:,} with {tokens:,} {what} ({texts.name})",
        f"vectors: {words:,} of {settings.size} numbers, for what occurs {settings.least} times or more: "
        f"{kept / tokens:.1%} of the text",
    ]
    if texts.without:
        lines.append(
            f"skipped: {counted(texts.without, 'line')} without column {settings.column} ({texts.problems[0]})"
        )
    if texts.replaced:
        lines.append(f"warning: {counted(texts.replaced, 'line')} not in UTF-8; the bytes that are none were replaced")
    if texts.cut:
        lines.append(f"cut: {counted(texts.cut, 'line')} of more than a million characters")
    return tuple(lines)


def neighbours(path: str | Path, word: str, count: int = 10) -> dict[str, list[Neighbour]]:
    """The `count` closest to a word by cosine: in a .vec file under "vectors", in a model under "source" and "target".

    A side of a model that does not know the word is left out; with one vocabulary there is one entry, "both". Raises
    UsageError if nobody knows it.
    """
    if count < 1:
        raise UsageError(f"--count {count}: at least 1")
    if not Path(path).is_dir():
        return {"vectors": read_vectors(path).near(word, count)}
    folder = load_folder(path)
    found: dict[str, list[Neighbour]] = {}
    known: list[str] = []
    for side, tokenizer in (("source", folder.source), ("target", folder.target)):
        if folder.settings.joint and side == "source":
            continue
        names = token_names(tokenizer)
        rows = [row for form in (MARK + word, word) for row, name in enumerate(names) if name == form]
        known += [name for name in names if name]
        if rows:
            first = next(row for row, name in enumerate(names) if name)
            table = embedding_table(folder.model, side).numpy()
            found["both" if folder.settings.joint else side] = nearest(table, rows[0], names, count, first)
    if not found:
        raise UsageError(f"{path}: no token of this model is {word[:60]!r}{alike(word, known)}")
    return found
