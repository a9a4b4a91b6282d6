"""Context vectors on paper: their first two principal components, as in Sutskever, Vinyals, Le 2014, figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairloom.errors import UsageError
from pairloom.pictures.figure import ACCENT, INK, MUTED, calm, checked_suffix, drawing, new_figure, save
from pairloom.pictures.fonts import set_label
from pairloom.pictures.labels import heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_COLUMNS = 32
_DISTANCES = (6, 12, 20, 30, 42, 56)  # points from the dot to its label, tried in this order
_LABELLED = 200
"""With more points than this only the dots are drawn: names would cover each other."""

Box = tuple[float, float, float, float]


def project(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal components of [N, D] vectors: places [N, 2] and the share of the variance of each [2].

    The largest coordinate of a component is made positive: its sign means nothing, and may differ between machines.
    """
    centred = vectors - vectors.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    places, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    kept = min(2, len(sizes))
    places[:, :kept] = (left * sizes * signs)[:, :kept]
    shares[:kept] = sizes[:kept] ** 2 / max(float((sizes**2).sum()), np.finfo(float).tiny)
    return places, shares


def draw_states(vectors: ArrayLike, labels: Sequence[str], path: str | Path) -> None:
    """Draw N vectors [N, D] by their first two principal components, each with its label, into a .png or .svg.

    UsageError: shape and labels do not fit, or another suffix. StorageError: the file cannot be written.
    """
    suffix = checked_suffix(path, ("png", "svg"))
    array = np.asarray(vectors, dtype=np.float64)
    if array.ndim != 2 or len(array) != len(labels) or not array.size:
        raise UsageError(
            f"vectors of shape {list(array.shape)} do not fit {len(labels)} labels: "
            f"give an array of shape [{len(labels)}, D] and at least one label"
        )
    if not np.isfinite(array).all():
        raise UsageError("the vectors hold numbers that are not finite")
    places, shares = project(array)
    with drawing():
        figure = new_figure(7.5, 6.0)
        axes = figure.add_axes((0, 0, 1, 1))
        calm(axes)
        axes.scatter(places[:, 0], places[:, 1], s=22, color=ACCENT, linewidths=0, alpha=0.9, zorder=3)
        axes.set_xlabel(f"first component ({shares[0]:.0%} of the variance)", fontsize=8, loc="right")
        axes.set_ylabel(f"second component ({shares[1]:.0%})", fontsize=8, loc="top")
        axes.tick_params(labelbottom=False, labelleft=False)  # the unit of a component says nothing
        axes.margins(0.12)
        if len(places) <= _LABELLED:
            _draw_labels(figure, axes, places, [heading(label, _LABEL_COLUMNS) for label in labels])
        save(figure, path, suffix)


def _draw_labels(figure: Figure, axes: Axes, places: NDArray[np.float64], labels: Sequence[str]) -> None:
    """Each label at the nearest free spot around its dot; from further away a thin line leads back to it."""
    figure.draw_without_rendering()
    dots = axes.transData.transform(places)
    point = figure.dpi / 72
    taken: list[Box] = [(x - 3 * point, y - 3 * point, x + 3 * point, y + 3 * point) for x, y in dots]
    for place, (x, y), label in zip(places, dots, labels, strict=True):
        text = axes.annotate(
            "", place, (0, 0), textcoords="offset points", fontsize=8, color=INK, va="center", ha="center"
        )
        set_label(text, label)
        extent = text.get_window_extent()
        half = (extent.width / 2 + point, extent.height / 2)
        offsets = [
            ((distance * point + half[0]) * across, (distance * point / 2 + half[1]) * up)
            for distance, (across, up) in product(_DISTANCES, _AROUND)
        ]
        boxes = [(x + dx - half[0], y + dy - half[1], x + dx + half[0], y + dy + half[1]) for dx, dy in offsets]
        best = min(range(len(boxes)), key=lambda at: _covered(boxes[at], taken))  # the first of those that are free
        taken.append(boxes[best])
        dx, dy = offsets[best]
        text.set_position((dx / point, dy / point))
        if best >= 2 * len(_AROUND):
            edge = (max(boxes[best][0], min(x, boxes[best][2])), max(boxes[best][1], min(y, boxes[best][3])))
            ends = axes.transData.inverted().transform([(x, y), edge])
            axes.plot(*ends.T, color=MUTED, linewidth=0.5, zorder=2, scalex=False, scaley=False)


_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def _covered(box: Box, taken: Sequence[Box]) -> float:
    """How much of the box is covered already, in square pixels."""
    total = 0.0
    for other in taken:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        total += max(0.0, width) * max(0.0, height)
    return total
