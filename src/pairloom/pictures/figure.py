"""What all the pictures share: checked arrays, the look, and files that are the same bytes every time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairloom.errors import StorageError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT, SECOND = "#1f2933", "#6b7785", "#e3e8ee", "#2563a8", "#d9782b"

_SETTINGS = {
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.unicode_minus": True,
    "font.size": 9.0,
    "svg.fonttype": "path",  # outlines: the file needs no font where it is opened
    "svg.hashsalt": "pairloom",  # otherwise the ids in an SVG are random
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
_DPI = 160
_LOCK = threading.Lock()  # matplotlib's settings belong to the process; two drawings must not mix theirs


def checked_weights(weights: ArrayLike, source: Sequence[str], target: Sequence[str]) -> NDArray[np.float32]:
    """The attention weights as [T, S] float32, if they fit their labels. UsageError says what does not."""
    array = np.asarray(weights, dtype=np.float32)
    if array.ndim != 2 or array.shape != (len(target), len(source)):
        raise UsageError(
            f"attention weights of shape {list(array.shape)} do not fit {len(target)} target tokens × "
            f"{len(source)} source tokens: give an array of shape [{len(target)}, {len(source)}]"
        )
    if not array.size:
        raise UsageError(f"no attention to draw: {len(target)} target tokens and {len(source)} source tokens")
    if not np.isfinite(array).all() or array.min() < 0:
        raise UsageError("attention weights must be finite and not negative: is a softmax missing?")
    return array


def scale_top(weights: NDArray[np.float32]) -> float:
    """The weight that gets the strongest colour: at least 0.25, so that even attention does not look like a choice."""
    return max(0.25, float(weights.max()))


def checked_suffix(path: str | Path, allowed: Sequence[str]) -> str:
    """The kind of file that the name asks for: its suffix without the dot, in small letters."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in allowed:
        raise UsageError(f"cannot draw {path}: the name must end in one of .{', .'.join(allowed)}")
    return suffix


def write(path: str | Path, content: bytes) -> None:
    """Write a finished picture; StorageError says why it cannot be."""
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write the picture {path}: {reason}; choose another place") from error


@contextmanager
def drawing() -> Iterator[None]:
    """matplotlib's own settings and ours, whatever the user's file says; one drawing at a time."""
    import matplotlib.style

    with _LOCK, matplotlib.style.context(["default", _SETTINGS]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def calm(axes: Axes) -> None:
    """No frame but a base line, a light grid behind, small ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.tick_params(length=0, labelsize=8)


def save(figure: Figure, path: str | Path, suffix: str) -> None:
    """Write the figure, cut to what is on it; without a date or a version, so that the bytes depend on nothing else."""
    metadata: dict[str, Any] = {"Software": None} if suffix == "png" else {"Date": None, "Creator": "pairloom"}
    content = io.BytesIO()
    figure.savefig(content, format=suffix, metadata=metadata, bbox_inches="tight", pad_inches=0.15)
    write(path, content.getvalue())
