"""Several model folders as one that answers with the mean of their models' probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from pairloom.errors import FolderError, UsageError
from pairloom.folder import Folder, SideSettings

REMEDY = (
    "these models cannot answer together: at each step an ensemble averages the probabilities of the same tokens.\n"
    "Train all of them on the same pairs, with the same --dev or --split-seed, units, vocabulary and normal form; "
    "--seed, and the model itself, may differ"
)


def as_one(folders: Sequence[Folder]) -> Folder:
    """One folder as it is; several as an ensemble that is asked as the first one is, and cuts texts where the strictest
    does. Raises FolderError, naming all that differs, for models that do not read and write the same tokens."""
    if not folders:
        raise UsageError("no folder of a model was given: give at least one")
    first = folders[0]
    if len(folders) == 1:
        return first
    differences = [one for folder in folders[1:] for one in _differences(first, folder)]
    if differences:
        raise FolderError(f"{REMEDY}:", differences)
    settings = first.settings.model_copy(
        update={
            "source": _strictest([folder.settings.source for folder in folders]),
            "target": _strictest([folder.settings.target for folder in folders]),
        }
    )
    return Folder(
        first.path, settings, first.source, first.target, first.generation, first.training, members=tuple(folders)
    )


def _differences(first: Folder, other: Folder) -> list[str]:
    """What keeps two folders apart, a line each."""
    found = []
    for side, ours, theirs in (("source", first.source, other.source), ("target", first.target, other.target)):
        if ours.unit != theirs.unit:
            found.append(f"the unit of its {side} is {theirs.unit}, not {ours.unit}")
        elif ours != theirs:
            sizes = "" if ours.size == theirs.size else f" ({theirs.size:,} entries, not {ours.size:,})"
            found.append(f"its tokenizer.{side}.json has other tokens{sizes}")
    forms = first.settings.normal_form, other.settings.normal_form
    if forms[0] != forms[1]:
        found.append(f"its normal form is {forms[1]}, not {forms[0]}")
    return [f"{other.path}: {what}, as in {first.path}" for what in found]


def _strictest(sides: Sequence[SideSettings]) -> SideSettings:
    return min(sides, key=lambda side: side.max_tokens)
