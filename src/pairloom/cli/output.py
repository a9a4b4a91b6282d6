"""Printing: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pairloom.text.findings import excerpt, printable

if TYPE_CHECKING:
    from pairloom.metrics import Score

SCHEMA = 1
"""Of every --json; counts up when a field is renamed, removed, or means something else."""


def show(line: str = "", *, own: bool = False) -> None:
    """A line of results: exactly so to a file or a pipe; at a terminal nothing in it can move the cursor or turn the
    direction of the text, unless the escape sequences are our `own`."""
    print(printable(line) if not own and sys.stdout is not None and sys.stdout.isatty() else line)


def show_json(content: dict[str, Any]) -> None:
    """One JSON object on one line, with the schema first. Numbers that JSON does not have become null."""
    whole = {"schema": SCHEMA, **content}
    try:
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(whole), ensure_ascii=False, allow_nan=False)
    print(text.encode("utf-8", "replace").decode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(line: str) -> None:
    """A line that is no result. It may name what stands in files: nothing of it acts on a terminal."""
    print(printable(line), file=sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at the stream, at a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def colours() -> bool:
    """Whether results may be coloured (https://no-color.org)."""
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")


def width() -> int:
    """Columns for tables and pictures of characters."""
    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def one_line(text: str, length: int = 160) -> str:
    """A text from the data or a model, fit for a table: nothing in it can move the cursor."""
    return excerpt(text, length)


def command(*words: str) -> str:
    """A command to type here: this very program, its arguments quoted."""
    return " ".join([program(), *(shlex.quote(word) for word in words)])


def program() -> str:
    """How this program is called from here: `pairloom` where that is on the path, otherwise what was typed."""
    called = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path("pairloom")
    if called.stem != "pairloom":
        called = Path("pairloom")
    on_path = shutil.which("pairloom")
    if on_path is not None and (not called.parent.name or Path(on_path).resolve() == called.resolve()):
        return "pairloom"
    if called.is_file():
        beside = os.path.relpath(called)
        return shlex.quote(beside if not beside.startswith("..") else str(called))
    return f"{shlex.quote(sys.executable)} -m pairloom"


def show_scores(scores: Sequence[Score], signatures: bool = True) -> None:
    """A table: name, value, interval, signature."""
    rows = [(one.name, f"{one.value:.1f}", f"[{one.low:.1f}, {one.high:.1f}]", one.signature) for one in scores]
    for name, value, interval, signature in rows:
        show(f"  {name:<12}{value:>6}  {interval:<16}{signature if signatures else ''}".rstrip())


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what stands in them."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        show("  " + "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip())


def duration(seconds: float) -> str:
    """1:05, 12:30, 2:00:00."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
