"""Attention drawn with characters, for the terminal: shaded cells where they fit, otherwise a list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from pairloom.pictures.figure import checked_weights
from pairloom.pictures.labels import pieces, visible

_LEVELS = ((0.8, "█"), (0.5, "▓"), (0.25, "▒"), (0.1, "░"), (0.01, "·"))
_COLOURS = {
    "█": "\x1b[1;38;5;33m",
    "▓": "\x1b[38;5;33m",
    "▒": "\x1b[38;5;39m",
    "░": "\x1b[38;5;74m",
    "·": "\x1b[38;5;67m",
}
_RESET = "\x1b[0m"
_TARGET_COLUMNS = 18
_SOURCE_COLUMNS = 10
"""The longest label over a column; longer ones are shortened, or stand on end when there are many."""


def attention_in_terminal(
    weights: ArrayLike, source: Sequence[str], target: Sequence[str], width: int = 80, color: bool = True
) -> str:
    """Attention [T, S] as lines of at most `width` terminal columns, wide characters counted as two.

    A grid with the source tokens above it, on end when they are many; when even that is too wide, a list of
    `target ← source (0.83), source (0.10)`. `color=False` leaves out every escape sequence (for NO_COLOR).
    UsageError: shape and labels do not fit.
    """
    array = checked_weights(weights, source, target)
    rows = [visible(token, min(_TARGET_COLUMNS, max(width // 4, 2))) for token in target]
    margin = max(cell_len(row) for row in rows) + 1
    flat = [visible(token, _SOURCE_COLUMNS) for token in source]
    widths = [max(cell_len(label), 2) for label in flat]
    if margin + sum(widths) + len(widths) <= width:
        head = [" " * margin + " ".join(_centred(label, size) for label, size in zip(flat, widths, strict=True))]
    elif margin + 3 * len(source) <= width:
        widths = [2] * len(source)
        head = [" " * margin + line for line in _on_end(source)]
    else:
        return "\n".join(_list(array, source, rows, width))
    lines = [line.rstrip() for line in head]
    for row, label in zip(array, rows, strict=True):
        cells = " ".join(_cell(float(weight), size, color) for weight, size in zip(row, widths, strict=True))
        lines.append(" " * (margin - 1 - cell_len(label)) + label + " " + cells.rstrip())
    return "\n".join([*lines, _crop("  ".join(f"{shade} ≥{least:g}" for least, shade in reversed(_LEVELS)), width)])


def _cell(weight: float, size: int, color: bool) -> str:
    shade = next((shade for least, shade in _LEVELS if weight >= least), " ")
    text = _centred(shade * 2 if shade != "·" else shade, size)
    return _COLOURS[shade] + text + _RESET if color and shade != " " else text


def _centred(text: str, size: int) -> str:
    space = size - cell_len(text)
    return " " * (space // 2) + text + " " * (space - space // 2)


def _on_end(tokens: Sequence[str]) -> list[str]:
    """The tokens from top to bottom, one piece a line, ending on the last line; each column is three wide."""
    stacks = []
    for token in tokens:
        stack = [part for part in pieces(token) for part in ([part] if cell_len(part) <= 2 else list(part))]
        stacks.append(stack if len(stack) <= _SOURCE_COLUMNS else [*stack[: _SOURCE_COLUMNS - 1], "…"])
    tallest = max(len(stack) for stack in stacks)
    stacks = [[""] * (tallest - len(stack)) + stack for stack in stacks]
    return ["".join(part + " " * (3 - cell_len(part)) for part in line) for line in zip(*stacks, strict=True)]


def _list(weights: NDArray[np.float32], source: Sequence[str], labels: Sequence[str], width: int) -> list[str]:
    margin, lines = max(cell_len(label) for label in labels), []
    for row, label in zip(weights, labels, strict=True):
        best = [column for column in np.argsort(-row, kind="stable")[:3] if row[column] >= 0.01]
        line = " " * (margin - cell_len(label)) + label + " ← "
        for place, column in enumerate(best):
            part = ("" if place == 0 else ", ") + f"{visible(source[column], _TARGET_COLUMNS)} ({row[column]:.2f})"
            if place and cell_len(line + part) > width:
                break
            line += part
        lines.append(_crop(line.rstrip(), width))
    return lines


def _crop(line: str, width: int) -> str:
    if cell_len(line) <= width:
        return line
    while line and cell_len(line) > width - 1:
        line = line[:-1]
    return line + "…" if width > 0 else ""
