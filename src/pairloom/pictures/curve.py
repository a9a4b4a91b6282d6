"""Learning curves from the rows of `metrics.jsonl`, as a picture and as one line of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pairloom.pictures.figure import ACCENT, INK, MUTED, SECOND, calm, checked_suffix, drawing, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BARS = "▁▂▃▄▅▆▇█"
_ONE_CURVE, _TWO_CURVES = 3.4, 5.6  # height of the picture in inches
_DRAWN_POINTS = 2_000
"""A long run has more steps than a picture has pixels; neighbours are averaged."""

Row = Mapping[str, Any]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_curve(rows: Sequence[Row], path: str | Path) -> None:
    """Draw the rows {"event": "step", "step", "loss"} and {"event": "validation", "step", "loss", "exact", "best"}.

    Above the losses in nats a token; below, where known, the share of development pairs that came out exact (0 to 1).
    Marked is the last validation with a true "best"; where no row has one, the lowest development loss. Other
    events are passed over. UsageError: neither .png nor .svg. StorageError: the file cannot be written.
    """
    suffix = checked_suffix(path, ("png", "svg"))
    training = _curve(rows, "step", "loss")
    development, exact = _curve(rows, "validation", "loss"), _curve(rows, "validation", "exact")
    best = _best_step(rows, development)
    with drawing():
        panels = 2 if len(exact[0]) else 1
        figure = new_figure(7.2, _TWO_CURVES if panels == 2 else _ONE_CURVE)
        grid = figure.add_gridspec(panels, 1, height_ratios=[5, 3][:panels], hspace=0.16)
        top = figure.add_subplot(grid[0])
        _draw_loss(top, training, development, best)
        if panels == 2:
            bottom = figure.add_subplot(grid[1], sharex=top)
            _draw_exact(bottom, exact, best)
            top.tick_params(labelbottom=False)
        figure.axes[-1].set_xlabel("step", fontsize=8, loc="right")
        if len(training[0]) or len(development[0]):
            top.set_xlim(left=0)
        else:
            top.tick_params(labelbottom=False, labelleft=False)
            top.text(0.5, 0.5, "no steps recorded yet", transform=top.transAxes, ha="center", color=MUTED, fontsize=10)
        save(figure, path, suffix)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values as at most `width` bars, each the mean of its share of them; a space where none is finite."""
    if not values or width < 1:
        return ""
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    means = [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else None for part in parts]
    known = [mean for mean in means if mean is not None]
    if not known:
        return " " * len(means)
    low, span = min(known), max(known) - min(known)
    level = (len(_BARS) - 1) / span if span > 0 and isfinite(span) else 0.0
    return "".join(" " if mean is None else _BARS[round((mean - low) * level)] for mean in means)


def _curve(rows: Sequence[Row], event: str, field: str) -> Curve:
    """Steps and values in order; of a step that was done twice, because a run went on from before it, the later row."""
    points: dict[int, float] = {}
    for row in rows:
        if row.get("event") == event:
            value = row.get(field)
            if isinstance(value, int | float) and isfinite(value):
                points[int(row["step"])] = float(value)
    steps = sorted(points)
    return np.array(steps, dtype=np.float64), np.array([points[step] for step in steps], dtype=np.float64)


def _best_step(rows: Sequence[Row], development: Curve) -> float | None:
    marked = [row["step"] for row in rows if row.get("event") == "validation" and row.get("best")]
    if marked:
        return float(marked[-1])
    return float(development[0][development[1].argmin()]) if len(development[0]) else None


def _thinned(curve: Curve) -> Curve:
    parts = min(_DRAWN_POINTS, len(curve[0]))
    if parts == len(curve[0]):
        return curve
    steps, values = ([part.mean() for part in np.array_split(side, parts)] for side in curve)
    return np.array(steps), np.array(values)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean around each point over about a twentieth of the run, nearer ones counting more; it does not lag."""
    if len(values) < 3:
        return values
    window = np.bartlett(2 * (len(values) // 40) + 3)
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def _draw_loss(axes: Axes, training: Curve, development: Curve, best: float | None) -> None:
    calm(axes)
    axes.set_title("loss, nats a token", loc="left", fontsize=9)
    (steps, losses), smooth = _thinned(training), _smoothed(_thinned(training)[1])
    if len(steps):
        axes.plot(steps, losses, color=ACCENT, alpha=0.25, linewidth=0.7)
        axes.plot(
            steps,
            smooth,
            color=ACCENT,
            linewidth=1.8,
            label="training (smoothed targets, dropout)",
            marker="o" if len(steps) == 1 else None,
        )
    if len(development[0]):
        axes.plot(*development, color=SECOND, linewidth=1.8, marker="o", markersize=3.5, label="development")
    if len(steps) or len(development[0]):  # one early peak must not flatten all the rest
        shown = np.concatenate([smooth, development[1]])
        margin = 0.06 * (shown.max() - shown.min()) or 0.5
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.01, 0.98), ncols=2)
    if best is not None:
        _mark(axes, development, best, "{:.3f}", 0.92)


def _draw_exact(axes: Axes, exact: Curve, best: float | None) -> None:
    from matplotlib.ticker import PercentFormatter

    calm(axes)
    axes.set_title("development pairs wholly right", loc="left", fontsize=9)
    axes.plot(*exact, color=SECOND, linewidth=1.8, marker="o", markersize=3.5)
    axes.set_ylim(bottom=0, top=min(1.0, max(0.02, exact[1].max() * 1.15)) * 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    if best is not None:
        _mark(axes, exact, best, "{:.1%}", 0.1)


def _mark(axes: Axes, curve: Curve, best: float, form: str, height: float) -> None:
    """A line at the best step, its value beside it at a height from 0 to 1 where the curve is not expected."""
    axes.axvline(best, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    at = np.flatnonzero(curve[0] == best)
    if not len(at):
        return
    value = float(curve[1][at[0]])
    axes.plot([best], [value], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=INK)
    left = best > 0.5 * axes.dataLim.xmax
    axes.annotate(
        f"best: {form.format(value)} at step {best:,.0f}",
        (best, height),
        (-6 if left else 6, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8,
        color=INK,
    )
