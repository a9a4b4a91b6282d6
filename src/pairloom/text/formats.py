"""The formats of pairs: each reader turns files into rows, and names every line that is none.

A row is `(line, source, target)`, texts as they stand in the file; a `Problem` stands where a line could not be used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from pairloom.errors import DataError, MissingExtraError, UsageError
from pairloom.text.columns import Columns, with_features
from pairloom.text.files import LONGEST_LINE, InputFile, seekable

SIDES = ("source", "target")
NAMES = (SIDES, ("src", "tgt"))
"""The names that the two sides may have in JSON lines and Parquet, besides `translation`."""
NO_TAB = "no tab"
BLANK = "blank line"


class Problem(NamedTuple):
    """A line that cannot be used. `str()` gives `file:line: reason`; what precedes the first `:` of it is its kind."""

    file: str
    line: int  # from 1; in Parquet the row
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"

    @property
    def kind(self) -> str:
        """The reason without what is particular to this line."""
        return self.reason.partition(":")[0]


Row = tuple[int, str, str]


class _UnusableError(Exception):
    """The reason why a line or a field cannot be used."""


def _decode(raw: bytes) -> str:
    """One line or field as text."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        if len(raw) > 4 * LONGEST_LINE:  # possibly cut within a character
            raise _UnusableError(_too_long()) from None
        reason = f"not UTF-8: byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
        raise _UnusableError(reason) from None
    if len(text) > LONGEST_LINE:
        raise _UnusableError(_too_long())
    if "\0" in text:
        raise _UnusableError("a NUL character")
    return text


def _too_long() -> str:
    return f"longer than {LONGEST_LINE:,} characters"


def tsv_rows(file: InputFile, columns: Columns | None = None) -> Iterator[Row | Problem]:
    """source TAB target, or the columns asked for; no quoting, further columns are ignored."""
    if columns is not None and not columns.numbered:
        raise UsageError(f"--columns {columns}: {file.name} is a TSV, whose columns are numbers from 1 on")
    for line, raw in enumerate(file.lines(), 1):
        try:
            text = _decode(raw)
        except _UnusableError as reason:
            yield Problem(file.name, line, str(reason))
            continue
        if "\t" in text:
            if columns is None:
                source, target = text.split("\t", 2)[:2]
                yield line, source, target
            else:
                yield _chosen_cells(text.split("\t"), columns, file.name, line)
        else:
            yield Problem(file.name, line, NO_TAB if text.strip() else BLANK)


def _chosen_cells(cells: list[str], columns: Columns, name: str, line: int) -> Row | Problem:
    """The row of a line of a TSV."""
    places = {what: int(column) for what, column in columns.given().items()}
    missing = [f"{what} = column {place}" for what, place in places.items() if place > len(cells)]
    if missing:
        return Problem(name, line, f"too few columns: {len(cells)}, without {' and '.join(missing)}")
    texts = {what: cells[place - 1] for what, place in places.items()}
    return _row(line, texts["source"], texts["target"], texts.get("features"))


def _row(line: int, source: str, target: str, features: str | None) -> Row:
    """A blank text stays blank, whatever its features: it is reported as such."""
    return line, source if features is None or not source.strip() else with_features(source, features), target


def aligned_rows(first: InputFile, second: InputFile) -> Iterator[Row | Problem]:
    """Line n of one file with line n of the other. Raises DataError if the files are not equally long."""
    for line, raw in enumerate(zip_longest(first.lines(), second.lines()), 1):
        texts = []
        for file, part in zip((first, second), raw, strict=True):
            if part is None:
                raise DataError(
                    f"{file.name} has only {line - 1:,} lines, the other file more; did it change meanwhile?"
                )
            try:
                texts.append(_decode(part))
            except _UnusableError as reason:
                yield Problem(file.name, line, str(reason))
        if len(texts) == 2:
            source, target = texts
            if source.strip() or target.strip():
                yield line, source, target
            else:
                yield Problem(first.name, line, f"{BLANK}: in both files")


def jsonl_rows(file: InputFile, columns: Columns | None = None) -> Iterator[Row | Problem]:
    """One JSON object a line: `source` / `target`, `src` / `tgt`, `translation` with two languages, or other names.

    The order of the languages in the first such line holds for the file. Features may be a list of texts.
    """
    _refuse_numbers(file, columns)
    languages: list[str] = []
    for line, raw in enumerate(file.lines(), 1):
        try:
            text = _decode(raw)
            if not text.strip():
                raise _UnusableError(BLANK)
            record = _parse(text)
            yield _chosen_fields(record, columns, line) if columns else (line, *_sides(record, languages))
        except _UnusableError as reason:
            yield Problem(file.name, line, str(reason))


def _refuse_numbers(file: InputFile, columns: Columns | None) -> None:
    if columns is not None and columns.numbered:
        raise UsageError(f"--columns {columns}: {file.name} has names, not numbers: --columns source=NAME,target=NAME")


def _chosen_fields(record: dict[str, Any], columns: Columns, line: int) -> Row:
    texts: dict[str, str] = {}
    for what, column in columns.given().items():
        if column not in record:
            found = ", ".join(sorted(record))[:80] or "none"
            raise _UnusableError(f"without the field {column!a:.90}, the {what}: its fields are {found!a}")
        value = record[str(column)]
        if what == "features" and isinstance(value, list):
            value = ";".join(_text(one, str(column)) for one in value)
        texts[what] = _text(value, str(column))
    return _row(line, texts["source"], texts["target"], texts.get("features"))


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise _UnusableError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
        raise _UnusableError("not JSON: too large a number or too deep") from None
    if not isinstance(value, dict):
        raise _UnusableError('not a JSON object: expected {"source": ..., "target": ...}')
    return value


def _sides(record: dict[str, Any], languages: list[str]) -> tuple[str, str]:
    """The two texts of one JSON object; `languages` is filled by the first `translation` met."""
    for names in NAMES:
        if names[0] in record and names[1] in record:
            return _text(record[names[0]], names[0]), _text(record[names[1]], names[1])
    translation = record.get("translation")
    if not isinstance(translation, dict):
        found = ", ".join(sorted(record))[:80] or "none"
        raise _UnusableError(f"without source and target, src and tgt, or translation: its fields are {found!a}")
    if len(translation) != 2:
        raise _UnusableError(f"translation without exactly two languages: it has {len(translation)}")
    if not languages:
        languages.extend(translation)
    if set(languages) != set(translation):
        raise _UnusableError(f"translation with other languages than the first: {', '.join(translation)[:80]!a}")
    return _text(translation[languages[0]], languages[0]), _text(translation[languages[1]], languages[1])


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _UnusableError(f"not a text: {name[:80]!a} is {type(value).__name__}")
    if "\0" in value:
        raise _UnusableError("a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code = ord(value[error.start])
            raise _UnusableError(f"a lone surrogate: \\u{code:04x} in {name[:80]!a}") from None
    return value


def parquet_rows(file: InputFile, columns: Columns | None = None) -> Iterator[Row | Problem]:
    """The columns `source` / `target`, `src` / `tgt`, a struct `translation`, or others; a line is a row, from 1.

    Raises DataError if it is not Parquet or has no such columns of text, MissingExtraError without pyarrow.
    """
    _refuse_numbers(file, columns)
    names = list(columns.given()) if columns else list(SIDES)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("reading Parquet files", "data") from None
    try:
        with seekable(file) as stream, pyarrow.parquet.ParquetFile(stream) as table:
            places = _parquet_columns(table.schema_arrow, file.name, columns)
            row = 0
            for batch in table.iter_batches(2048, columns=sorted({place[0] for place in places}), use_threads=False):
                fields = [_raw_column(batch, place) for place in places]
                for raw in zip(*fields, strict=True):
                    row += 1
                    try:
                        texts = [_decode_field(value, name) for value, name in zip(raw, names, strict=True)]
                        yield _row(row, texts[0], texts[1], texts[2] if len(texts) > 2 else None)
                    except _UnusableError as reason:
                        yield Problem(file.name, row, str(reason))
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file.name}: damaged or not a Parquet file ({first}); fetch or write it again") from None


def _parquet_columns(schema: Any, name: str, columns: Columns | None) -> list[tuple[str, ...]]:
    """Where the two sides (and the features) are: the name of a column, or of a column and a field in it."""
    if columns is not None:
        missing = [str(column) for column in columns.given().values() if column not in schema.names]
        if missing:
            raise DataError(f"{name} has no column {' and '.join(missing)}; it has {', '.join(schema.names) or 'none'}")
        return [(str(column),) for column in columns.given().values()]
    for names in NAMES:
        if all(side in schema.names for side in names):
            return [(side,) for side in names]
    if "translation" in schema.names:
        kind = schema.field("translation").type
        if getattr(kind, "num_fields", 0) == 2:
            return [("translation", kind.field(index).name) for index in range(2)]
    wanted = "source and target, src and tgt, or translation with two languages"
    raise DataError(f"{name} has no columns {wanted}; it has {', '.join(schema.names) or 'none'}: rename them")


def _raw_column(batch: Any, column: tuple[str, ...]) -> list[bytes | None]:
    """A column of text as raw bytes: what is not UTF-8 is then found row by row."""
    import pyarrow

    values = batch.column(column[0])
    if len(column) > 1:
        values = values.flatten()[values.type.get_field_index(column[1])]
    if pyarrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not (pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type)):
        raise DataError(f"column {'.'.join(column)} of the Parquet file is {values.type}, not string; convert it")
    raw: list[bytes | None] = values.cast(pyarrow.large_binary()).to_pylist()
    return raw


def _decode_field(raw: bytes | None, side: str) -> str:
    if raw is None:
        raise _UnusableError(f"the {side} is null")
    return _decode(raw)
