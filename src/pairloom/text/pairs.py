"""Pairs of text: open any of the formats, iterate as often as needed, and know what was wrong with it.

    source = open_pairs(["train.tsv"])
    for pair in source: ...
    source.problems, source.summary()

A pass streams: no more than a piece of a file is in memory. Held-out pairs are chosen by a hash of their source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from pairloom.errors import DataError, UsageError
from pairloom.text.columns import Columns
from pairloom.text.files import STDIN, InputFile, Lines, read_lines, sha256_of
from pairloom.text.formats import (
    BLANK,
    NO_TAB,
    Problem,
    Row,
    aligned_rows,
    jsonl_rows,
    parquet_rows,
    tsv_rows,
)
from pairloom.text.normal import Form, normal_form

__all__ = ["HeldOut", "Lines", "Pair", "PairSource", "PairsSettings", "Problem", "open_pairs", "read_lines"]

KEPT_PROBLEMS = 1_000
"""Problems kept with their line; those beyond are only counted."""
KEPT_CHANGES = 5
_JSONL = (".jsonl", ".ndjson", ".json")


class Pair(NamedTuple):
    """One usable pair: neither side is blank."""

    source: str  # with features: `text<TAB>features` (see columns.py)
    target: str
    line: int  # from 1, in its file


class PairsSettings(BaseModel):
    """How pairs are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normal_form: Literal["NFC", "NFD", "NFKC", "NFKD", "none"] = "NFC"
    """The Unicode normal form that both sides are brought into; none leaves them as they are."""
    strict: bool = False
    """Whether a pass over data with unusable lines ends in a DataError instead of skipping them."""
    columns: Columns | None = None
    """Where source, target and features stand in a table; None: the usual places."""

    @property
    def features(self) -> bool:
        """Whether sources carry features behind a tab."""
        return self.columns is not None and self.columns.features is not None


@dataclass
class _Tally:
    """What one pass found."""

    pairs: int = 0
    skipped: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    changed: int = 0
    changed_lines: list[int] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        self.skipped += 1
        self.kinds[problem.kind] += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(problem)

    def normalise(self, form: Form, row: Row) -> Row:
        """The row in that normal form, counted if that changed it."""
        line, source, target = row
        normal = (line, normal_form(form, source), normal_form(form, target))
        if normal == row:
            return row
        self.changed += 1
        if len(self.changed_lines) < KEPT_CHANGES:
            self.changed_lines.append(line)
        return normal


class PairSource:
    """Pairs that can be iterated several times; what a pass found is there once it is complete.

    A pass raises DataError at its end if no pair was usable or, with `strict`, if any line was not.
    """

    def __init__(self, files: Sequence[InputFile], settings: PairsSettings) -> None:
        self.files = tuple(files)
        self.settings = settings
        self.name = " + ".join(file.name for file in files)
        self.kind = _kind(files)
        self._tally = _Tally()

    @property
    def problems(self) -> list[Problem]:
        """The lines that the last full pass skipped, the first 1,000 of them."""
        return self._tally.problems

    @property
    def skipped(self) -> int:
        """The number of lines that the last full pass skipped."""
        return self._tally.skipped

    @property
    def kinds(self) -> dict[str, int]:
        """How many lines were skipped for which kind of reason, the most frequent first."""
        return dict(self._tally.kinds.most_common())

    @property
    def pairs(self) -> int:
        """The number of usable pairs of the last full pass."""
        return self._tally.pairs

    @property
    def changed(self) -> int:
        """The number of pairs that were not in the wanted normal form; `changed_lines` has the first few."""
        return self._tally.changed

    @property
    def changed_lines(self) -> list[int]:
        """The lines of the first pairs that normalisation changed."""
        return self._tally.changed_lines

    def __iter__(self) -> Iterator[Pair]:
        tally = _Tally()
        form = self.settings.normal_form
        for row in self._rows():
            if isinstance(row, Problem):
                tally.add(row)
                continue
            line, source, target = row
            if form != "none" and not (source.isascii() and target.isascii()):
                line, source, target = tally.normalise(form, row)
            if not source or not target or source.isspace() or target.isspace():
                tally.add(self._empty(source, target, line))
                continue
            tally.pairs += 1
            yield Pair(source, target, line)
        self._tally = tally
        self._judge()

    def _rows(self) -> Iterator[Row | Problem]:
        if self.kind == "aligned":
            return aligned_rows(*self.files)
        readers = {"jsonl": jsonl_rows, "parquet": parquet_rows, "tsv": tsv_rows}
        return readers[self.kind](self.files[0], self.settings.columns)

    def _empty(self, source: str, target: str, line: int) -> Problem:
        if source.strip():
            return Problem(self.files[-1].name, line, "the target is empty")
        reason = "the source is empty" if target.strip() else "both sides are empty"
        return Problem(self.files[0].name, line, reason)

    def _judge(self) -> None:
        """Raise if the pass that has just ended must not be used."""
        tally = self._tally
        if not tally.pairs:
            raise DataError(self._no_pair(), [str(problem) for problem in tally.problems[:10]])
        if tally.skipped and self.settings.strict:
            problems = [str(problem) for problem in tally.problems]
            if tally.skipped > len(problems):
                problems.append(f"... and {tally.skipped - len(problems):,} more")
            raise DataError(f"{self.summary()}; correct them, or leave out strict to skip them", problems)

    def _no_pair(self) -> str:
        tally = self._tally
        if not tally.skipped:
            return f"no pair in {self.name}: it is empty"
        found = f"{tally.skipped:,} {'line' if tally.skipped == 1 else 'lines'}"
        tabless = tally.kinds[NO_TAB]
        if tabless and tabless + tally.kinds[BLANK] == tally.skipped:
            return f"no pair in {self.name}: {found}, none with a tab; pairloom reads source<TAB>target"
        return f"no pair in {self.name}: {found}, none usable ({self._reasons()})"

    def _reasons(self) -> str:
        return ", ".join(f"{kind}: {count:,}" for kind, count in self.kinds.items())

    def summary(self) -> str:
        """One sentence on what the last full pass skipped; empty if nothing."""
        tally = self._tally
        if not tally.skipped:
            return ""
        lines, pairs = "line" if tally.skipped == 1 else "lines", "pair" if tally.pairs == 1 else "pairs"
        return f"{self.name}: {tally.skipped:,} unusable {lines} beside {tally.pairs:,} {pairs} ({self._reasons()})"

    def report(self, most: int = 5) -> list[str]:
        """`summary`, and under it the first skipped lines as file:line with the reason; nothing if all were used."""
        named = [f"  {problem}" for problem in self.problems[:most]]
        more = self.skipped - len(named)
        rest = [f"  and {more:,} more: `pairloom check` says which"] if more else []
        return [self.summary(), *named, *rest] if self.skipped else []

    def digest(self) -> str:
        """sha256 (hex) over the bytes of the file, or of both one after the other, as they are stored."""
        return sha256_of(self.files)


def _kind(files: Sequence[InputFile]) -> Literal["aligned", "jsonl", "parquet", "tsv"]:
    if len(files) == 2:
        return "aligned"
    (file,) = files
    if file.suffix == ".parquet":
        return "parquet"
    head = file.head()
    if file.suffix in _JSONL or (file.spooled and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")):
        return "jsonl"
    return "tsv"


def open_pairs(paths: Sequence[str], settings: PairsSettings | None = None) -> PairSource:
    """One file of pairs (.tsv, .jsonl, .parquet, each also .gz or .zst; `-` for standard input), or two aligned files.

    Raises UsageError for another number of files, DataError for a file that cannot be read, or if two aligned files
    have different numbers of lines, MissingExtraError if a format needs a package that is not installed.
    """
    if len(paths) not in (1, 2):
        message = f"{len(paths)} files of pairs: give one (source<TAB>target) or two line-aligned ones (source, target)"
        raise UsageError(f"{message}; several TSV files can be joined: cat A.tsv B.tsv > all.tsv")
    if list(paths) == [STDIN, STDIN]:
        raise UsageError("standard input cannot be both sides; give one of them as a file")
    if len(paths) == 2 and settings is not None and settings.columns is not None:
        raise UsageError(f"--columns {settings.columns}: two aligned files have no columns; give one table of pairs")
    files = [InputFile(path) for path in paths]
    if len(files) == 2:
        _require_aligned(files[0], files[1])
    return PairSource(files, settings or PairsSettings())


def _require_aligned(first: InputFile, second: InputFile) -> None:
    for file in (first, second):
        if file.suffix in (".tsv", ".parquet", *_JSONL):
            message = f"two files are read as line-aligned, source and target, but {file.name} holds pairs"
            raise UsageError(f"{message}; give one file of pairs (join several with cat)")
        file.head()
    counts = first.count_lines(), second.count_lines()
    if counts[0] != counts[1]:
        raise DataError(
            f"{first.name} has {counts[0]:,} lines, {second.name} has {counts[1]:,}: two line-aligned files must have "
            f"equally many; cut both to {min(counts):,} lines (head -n) and `pairloom check` says where they part"
        )


class HeldOut:
    """Which sources belong to the development slice: `source in HeldOut(0.05, seed)`.

    Decided by a hash of the source text in NFC alone, so a source is on the same side wherever and whenever it occurs,
    and no source is on both.
    """

    def __init__(self, fraction: float, seed: int) -> None:
        """`fraction` of the distinct sources, from 0 to 1; another `seed` chooses others."""
        if not 0 <= fraction <= 1:
            raise UsageError(f"the held-out fraction must be from 0 to 1, not {fraction}")
        self._limit = round(fraction * (1 << 64))
        self._hash = blake2b(str(seed).encode(), digest_size=8)

    def __contains__(self, source: str) -> bool:
        digest = self._hash.copy()
        digest.update(b"\0" + normal_form("NFC", source).encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest(), "big") < self._limit


def questions(pairs: Iterable[tuple[str, str]], merge: bool) -> list[tuple[str, list[str]]]:
    """Sources with their right answers: each pair by itself, or all pairs of a source together (`merge`)."""
    if not merge:
        return [(source, [target]) for source, target in pairs]
    answers: dict[str, list[str]] = {}
    for source, target in pairs:
        answers.setdefault(source, []).append(target)
    return list(answers.items())
