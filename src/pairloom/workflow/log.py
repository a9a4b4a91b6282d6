"""The log of a run, metrics.jsonl: one JSON object a line for each `Step` and `Validation`.

It belongs to the state of a run: every checkpoint has a copy, so that a run that goes on has the log of one that was
never stopped, whatever has happened to the file meanwhile.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pairloom.learning.events import Step, Validation
from pairloom.storage import write_file

LOG = "metrics.jsonl"
LONGEST_ROW = 10_000  # bytes
EVENTS = ("step", "validation")


class RunLog:
    """The log of a run under way: the rows in memory, and a file that has them as soon as the disk has room."""

    def __init__(self, path: Path, kept: bytes = b"") -> None:
        """Goes on after `kept`, which the file may have, or not, or with more behind it. Raises StorageError."""
        self._path, self._lines, self._behind = path, bytearray(kept), False
        write_file(path, kept)

    def add(self, event: Step | Validation) -> None:
        """One more row. A disk that is full for the moment is no reason to stop: see `flush`."""
        row = {"event": type(event).__name__.lower(), **asdict(event)}
        row.pop("samples", None)
        line = json.dumps(row).encode() + b"\n"
        self._lines += line
        try:
            if self._behind:
                raise OSError
            with self._path.open("ab") as file:
                file.write(line)
        except OSError:
            self._behind = True
            with contextlib.suppress(Exception):
                self.flush()

    def content(self) -> bytes:
        """All rows so far."""
        return bytes(self._lines)

    def flush(self) -> None:
        """The file has all rows. Raises StorageError if it cannot."""
        write_file(self._path, self.content())
        self._behind = False


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; what follows a line that is none (cut by a crash, or damaged) is left out."""
    return list(rows_of(path))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The same one by one, so that a long log takes no memory; none from what is no ordinary file."""
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        while line := file.readline(LONGEST_ROW):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                return
            if not is_row(row):
                return
            yield row


def is_row(row: Any) -> bool:
    """Whether it is a row that a run has written: an event with its numbers."""
    if not isinstance(row, dict) or row.get("event") not in EVENTS:
        return False
    wanted = ("step", "loss", "progress", "seconds", *(("exact",) if row["event"] == "validation" else ()))
    return all(isinstance(row.get(name), int | float) and not isinstance(row.get(name), bool) for name in wanted)
