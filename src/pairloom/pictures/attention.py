"""Attention as a picture: a row for each target token, a column for each source token.

So drawn by Bahdanau, Cho, Bengio 2015, figure 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from pairloom.pictures.figure import (
    GRID,
    INK,
    MUTED,
    checked_suffix,
    checked_weights,
    drawing,
    new_figure,
    save,
    scale_top,
    write,
)
from pairloom.pictures.fonts import set_label, set_tick_labels
from pairloom.pictures.html import attention_page
from pairloom.pictures.labels import heading, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

_BLUES = ("#ffffff", "#dbe8f6", "#9cc3e8", "#4a8bc9", "#1d5a9c", "#0b2f5e")
_LABEL_COLUMNS, _TITLE_COLUMNS = 20, 100
_MANY_CELLS = 10_000
"""From here on an SVG holds the cells as one image: as shapes the file would be slow to open."""


def draw_attention(
    weights: ArrayLike,
    source: Sequence[str],
    target: Sequence[str],
    path: str | Path,
    *,
    title: str | None = None,
    score: float | None = None,
    choices: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Draw attention weights [T, S] of T target tokens over S source tokens into `path`: .png, .svg or .html.

    `score` is the log-probability of the target; `choices`, what else the .html lets its reader choose (see
    `attention_page`). UsageError: shape and labels do not fit, or another suffix.
    StorageError: the file cannot be written.
    """
    suffix = checked_suffix(path, ("png", "svg", "html"))
    array = checked_weights(weights, source, target)
    if suffix == "html":
        write(path, attention_page(array, source, target, title=title, score=score, choices=choices).encode())
        return
    with drawing():
        cell = _cell_size(max(array.shape))
        rows, columns = array.shape
        figure = new_figure(columns * cell, rows * cell)
        axes = figure.add_axes((0, 0, 1, 1))
        mesh = _draw_cells(axes, array, cell)
        _draw_scale(figure, mesh, score)
        _draw_tokens(axes, source, target, cell)
        if title:
            text = axes.set_title("", loc="left", fontsize=11, pad=10)
            set_label(text, heading(title, _TITLE_COLUMNS))
        save(figure, path, suffix)


def _cell_size(longest: int) -> float:
    """Inches of a cell's side: 0.5 for a few tokens, 0.22 from 50 on, less when the sheet would pass 55 inches."""
    return min(max(0.5 - 0.0066 * (longest - 8), 0.22), 0.5, 55 / longest)


def _colours() -> LinearSegmentedColormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("pairloom", _BLUES)


def _draw_cells(axes: Axes, weights: NDArray[np.float32], cell: float) -> QuadMesh:
    top = scale_top(weights)
    mesh = axes.pcolormesh(
        weights,
        cmap=_colours(),
        vmin=0,
        vmax=top,
        edgecolors=GRID,
        linewidth=0.4 if cell > 0.1 else 0,
        rasterized=weights.size > _MANY_CELLS,
        clip_on=False,  # or half of the outer lines is cut away
    )
    axes.set(aspect="equal", xlim=(0, weights.shape[1]), ylim=(weights.shape[0], 0))
    if cell >= 0.38:
        for (row, column), weight in np.ndenumerate(weights):
            if weight >= 0.01:
                colour = "white" if weight > 0.55 * top else INK
                place = (column + 0.5, row + 0.5)
                axes.annotate(f"{weight:.2f}", place, ha="center", va="center", fontsize=7, color=colour)
    return mesh


def _draw_scale(figure: Figure, mesh: QuadMesh, score: float | None) -> None:
    width, height = figure.get_size_inches()
    bar = figure.add_axes(
        (0, -0.3 / height, 1.1 / width, 0.08 / height)
    )  # below the cells, 1.1 inches wide whatever their number
    top = mesh.norm.vmax or 1.0
    colours = figure.colorbar(mesh, cax=bar, orientation="horizontal", ticks=[0, top])
    colours.outline.set_visible(False)
    bar.set_xticklabels(["0", f"{top:.2f}"])
    bar.tick_params(length=0, pad=2, labelsize=7)
    note = "attention weight" if score is None else f"attention weight · log-probability of the target {score:.2f}"
    bar.annotate(note, (1, 0.5), (14, 0), "axes fraction", "offset points", va="center", fontsize=7, color=MUTED)


def _draw_tokens(axes: Axes, source: Sequence[str], target: Sequence[str], cell: float) -> None:
    size = min(cell * 36, 11.0)
    step = max(1, ceil(0.06 / cell))  # where a label would be smaller than can be read, only every so many
    across = [visible(token, _LABEL_COLUMNS) for token in source]
    down = [visible(token, _LABEL_COLUMNS) for token in target]
    widest = max(cell_len(label) for label in across) * 0.62 * size / 72
    upright = widest <= cell * 0.95
    axes.xaxis.tick_top()
    for axis, labels in ((axes.xaxis, across), (axes.yaxis, down)):
        set_tick_labels(axis, [place + 0.5 for place in range(0, len(labels), step)], labels[::step])
    axes.tick_params(length=0, labelsize=size, labelcolor=INK, pad=4)
    for text in axes.get_xticklabels():
        angle = 0 if upright else 45 if len(across) <= 24 else 90
        text.set(
            rotation=angle,
            rotation_mode="anchor",
            ha="center" if upright else "left",
            va="baseline" if upright else "center",
        )
    axes.set_xlabel("source", fontsize=8, loc="left")
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("target", fontsize=8, loc="top")
    for spine in axes.spines.values():
        spine.set_visible(False)
