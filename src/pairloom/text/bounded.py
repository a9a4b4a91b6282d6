"""JSON from a stranger, within bounds that are known before anything is read: bytes, and parts.

A small file can take a hundred times its size in memory once it is parsed (`[[],[],...`), so parts are counted in the
bytes first. What is refused becomes a `FolderError` that says which file and why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pairloom.errors import FolderError

LARGEST = 8 * 2**20  # bytes
MOST_PARTS = 400_000  # brackets and commas


def bounded_bytes(path: Path, largest: int) -> bytes:
    """The bytes of an ordinary file: no link, no pipe, no device, and no more than `largest` of them."""
    if path.is_symlink() or not path.is_file():
        raise FolderError(f"{path} is missing")
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > largest:
        raise FolderError(f"{path} is larger than the {largest:,} bytes that such a file can have")
    return content


def parsed(content: bytes, path: Path, most: int = MOST_PARTS) -> dict[str, Any]:
    """A JSON table of at most so many parts."""
    if sum(content.count(mark) for mark in (b"[", b"{", b",")) > most:
        raise FolderError(f"{path} holds more parts than such a file can have")
    try:
        found = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise FolderError(f"{path} is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no JSON, a number without end
        raise FolderError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FolderError(f"{path} is not a JSON table")
    return found


def read_table(path: Path, largest: int = LARGEST, most: int = MOST_PARTS) -> dict[str, Any]:
    """A JSON table from a file, within bounds."""
    return parsed(bounded_bytes(path, largest), path, most)
