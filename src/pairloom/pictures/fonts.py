"""Which fonts draw a label, by what they cover: DejaVu (comes with matplotlib), those in `fonts/`, the system's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pairloom.pictures.labels import code

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.text import Text

_FOLDER = Path(__file__).parent.parent / "fonts"
_FIRST = "DejaVu Sans"
_UNFIT = ("blank", "color", "emoji", "lastresort", "last resort", "notdef", "placeholder")
"""Families that claim characters which they draw as nothing or as a box."""


class Face(NamedTuple):
    """A family that matplotlib knows, and the code points that its regular face can draw."""

    family: str
    covers: frozenset[int]


def _covers(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(point for point, glyph in FT2Font(path).get_charmap().items() if glyph)


@cache
def bundled_faces() -> tuple[Face, ...]:
    """DejaVu Sans and the fonts of this package, which are made known to matplotlib by the first call."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    faces = [Face(_FIRST, _covers(fontManager.findfont(_FIRST)))]
    for path in sorted(str(path) for path in _FOLDER.iterdir() if path.suffix in {".otf", ".ttf"}):
        fontManager.addfont(path)
        faces.append(Face(FT2Font(path).family_name, _covers(path)))
    return tuple(faces)


@cache
def system_faces() -> tuple[Face, ...]:
    """What else the machine has, by name. Read only when a character needs it: there can be hundreds of files."""
    from matplotlib.font_manager import fontManager

    known = {face.family for face in bundled_faces()}
    faces = []
    upright = {entry.name for entry in fontManager.ttflist if entry.weight == 400 and entry.style == "normal"}
    for family in sorted(upright - known):
        if any(word in family.lower() for word in _UNFIT):
            continue
        try:
            faces.append(Face(family, _covers(fontManager.findfont(family, fallback_to_default=False))))
        except (OSError, RuntimeError, ValueError):  # removed since matplotlib listed it, or not readable
            continue
    return tuple(faces)


def typeset(label: str) -> tuple[str, list[str]]:
    """The label with every character that no font has written as `U+XXXX`, and the families that draw it, in order.

    The family that covers most of the label comes first, so that a mark and its base come from the same font.
    """
    faces = list(bundled_faces())
    missing = {ord(character) for character in label}.difference(*(face.covers for face in faces))
    if missing:
        faces += system_faces()
        missing = missing.difference(*(face.covers for face in faces))
    if missing:
        label = "".join(
            _codes(list(run)) if lacking else "".join(run)
            for lacking, run in groupby(label, key=lambda character: ord(character) in missing)
        )
    wanted, families = {ord(character) for character in label}, []
    while wanted and (best := max(faces, key=lambda face: len(wanted & face.covers))).covers & wanted:
        families.append(best.family)
        wanted -= best.covers
    return label, families or [_FIRST]


def _codes(characters: Sequence[str]) -> str:
    """Their codes; of a long run the first two, for the label must stay readable."""
    return " ".join(code(character) for character in characters[:2]) + ("…" if len(characters) > 2 else "")


def set_label(text: Text, label: str) -> None:
    """Put a label, as it stands, into a matplotlib text: no mathematics between dollars, the fonts that it needs."""
    drawable, families = typeset(label)
    text.set_parse_math(False)
    text.set_text(drawable)
    text.set_fontfamily(families)


def set_tick_labels(axis: Axis, places: Sequence[float], labels: Sequence[str]) -> None:
    """The same for the labels of an axis, which would forget a text that is set on them directly."""
    drawable = [typeset(label)[0] for label in labels]
    for text, label in zip(axis.set_ticks(places, drawable), labels, strict=True):
        set_label(text.label1, label)
        set_label(text.label2, label)
