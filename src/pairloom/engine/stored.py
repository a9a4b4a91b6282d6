"""What lies in `engine/` of a model folder, and what is made of it. No torch here.

    engine.json            schema, what the model's weights were, which precision is the default, what was measured
    int8.safetensors       the arrays of the engine in int8
    shortlist.safetensors  which words are likely for which source, where that was made; of uint32
    MANIFEST.sha256

There is no graph: it is built from the validated settings when the engine is opened, so that nothing in a folder can
say what is to be computed (docs/decisions/0007-no-graph-in-a-folder.md). There is no float32 either: it is folded from
`model.safetensors` in a tenth of a second.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pairloom.engine.arrays import as_float32, map_arrays
from pairloom.engine.build import FOLDS
from pairloom.engine.layout import Layout
from pairloom.engine.products import Precision
from pairloom.engine.quantising import quantised
from pairloom.engine.shapes import SHAPES, differences, expected
from pairloom.engine.wire import Array
from pairloom.errors import FolderError, UsageError
from pairloom.folder import (
    LARGEST_HEADER,
    WEIGHTS,
    FolderSettings,
    check_files,
    check_weights,
    explain,
    model_settings,
    read_json,
)
from pairloom.models.settings import ModelSettings
from pairloom.storage import read_manifest

INT8 = "int8.safetensors"
SHORTLIST = "shortlist.safetensors"
MOST_LISTED = 512
"""Words, at most, that a shortlist has for one token of the source."""


class EngineFacts(BaseModel):
    """engine.json"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(1, alias="schema")
    weights: str = Field(max_length=64, description="SHA-256 of the model.safetensors that it was made of")
    default: Precision = Field("int8", description="what answers when nobody says otherwise")
    sentences: int = Field(0, ge=0, description="development sentences that it was compared with torch on")
    equal_float32: float | None = Field(None, description="share of them with the same text in float32")
    equal_int8: float | None = Field(None, description="share of them with the same text in int8")
    measured: dict[str, Any] = Field({}, description="scores in both precisions, where they were computed")


def read_facts(path: Path) -> EngineFacts:
    """engine.json of a folder. Raises FolderError."""
    place = path / "engine" / "engine.json"
    if place.parent.is_symlink():
        raise FolderError(f"{place.parent} is a link; a folder of a model has none")
    try:
        return EngineFacts.model_validate(read_json(place))
    except ValidationError as error:
        raise FolderError(f"{place} is not valid:", explain(error)) from None


def check_engine(path: Path, most: int) -> None:
    """Raises FolderError where the files in `engine/` are not those that were written; arrays of more than `most` bytes
    are not looked at. No engine is none to find fault with."""
    place = path / "engine"
    if not place.is_symlink() and not place.is_dir():
        return
    looked = [one for one in (INT8, SHORTLIST) if not (place / one).is_file() or (place / one).stat().st_size <= most]
    names = ("engine.json", *looked)
    check_files(place, names, {*names} - {SHORTLIST}, dict.fromkeys(looked, most))


def chosen_precision(path: Path, asked: Precision | Literal["auto"]) -> Precision:
    """`asked`, or for auto the default of the folder's engine; float32 where there is no engine."""
    if asked != "auto":
        return asked
    return read_facts(path).default if (path / "engine" / "engine.json").is_file() else "float32"


def load_arrays(path: Path, settings: FolderSettings, precision: Precision, *, stored: bool = True) -> dict[str, Array]:
    """The arrays of the engine, checked against the settings; `stored`: those that lie in `engine/` if there are any.
    Raises FolderError for a folder they do not fit."""
    model, layout = model_settings(settings), Layout(settings.target.size)
    wanted = expected(SHAPES[settings.kind](model, settings.source.size, layout), precision)
    place = path / "engine" / INT8
    room = sum(np.dtype(kind).itemsize * prod(shape) for kind, shape in wanted.values())
    if stored and precision == "int8" and place.is_file():
        arrays = _stored(path, room)
    else:
        # They are at most a few times as large as what is folded of them: nothing larger is read, or even hashed.
        check_weights(path, 16 * room + 2**26)
        place = path / WEIGHTS
        arrays = fold(place, settings, model)
        arrays = quantised(arrays) if precision == "int8" else arrays
    problems = differences(arrays, wanted)
    if problems:
        raise FolderError(f"{place} does not fit config.json:", problems[:50])
    return arrays


def _stored(path: Path, room: int) -> dict[str, Array]:
    """The int8 arrays, of so many bytes, if they are whole and of these weights."""
    names = ("engine.json", INT8)
    check_files(path / "engine", names, names, {INT8: room + LARGEST_HEADER + 8})
    if read_facts(path).weights not in read_manifest(path).get(WEIGHTS, ()):
        raise FolderError(f"{path / 'engine'} belongs to other weights than those of {path / WEIGHTS}: make it anew")
    return map_arrays(path / "engine" / INT8)


def fold(weights: Path, settings: FolderSettings, model: ModelSettings) -> dict[str, Array]:
    """The arrays in float32, from the model's weights."""
    given = as_float32(map_arrays(weights), weights)
    try:
        return FOLDS[settings.kind](given, model, Layout(settings.target.size))
    except (KeyError, ValueError, IndexError) as error:
        raise FolderError(f"{weights} does not fit config.json: {error}") from None


def load_shortlist(path: Path, settings: FolderSettings) -> dict[str, Array]:
    """The arrays of `text.likely.Likely`, checked. Raises UsageError, with the remedy, where there are none or the
    model needs the whole vocabulary; FolderError for a file that does not fit the settings."""
    if problem := why_no_shortlist(settings):
        raise UsageError(f"{path}: {problem}")
    place, words = path / "engine" / SHORTLIST, settings.target.size
    if not place.is_file():
        raise UsageError(
            f"{path} has no shortlist: `pairloom export {path} --to shortlist --pairs PAIRS...` makes it of the pairs "
            "that the model was trained on"
        )
    room = 4 * (settings.source.size * MOST_LISTED + words) + LARGEST_HEADER + 8
    check_files(path / "engine", (SHORTLIST,), (SHORTLIST,), {SHORTLIST: room})
    arrays = map_arrays(place)
    last = {name: array.shape[-1] if array.ndim else 0 for name, array in arrays.items()}
    lists = settings.source.size, min(last.get("by_source", 0), MOST_LISTED)
    problems = differences(
        arrays, {"by_source": ("uint32", lists), "always": ("uint32", (min(last.get("always", 0), words),))}
    )
    problems = problems or [
        f"{name} lists word {array.max()} of {words}" for name, array in arrays.items() if array.max(initial=0) >= words
    ]
    if problems:
        raise FolderError(f"{place} does not fit config.json:", problems)
    return arrays


def why_no_shortlist(settings: FolderSettings) -> str | None:
    """Why a model cannot have a shortlist; None if it can."""
    copies = bool(getattr(model_settings(settings), "copying", False))
    return "a model that copies can say every word of its source: it has no shortlist" if copies else None
