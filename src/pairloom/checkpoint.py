"""Checkpoints of a run: `checkpoints/step-N/`, each a whole directory of safetensors and JSON with its manifest.

What is newest and whole is computed on load, by looking; there is no pointer that could point at nothing. The two
newest are kept, so that a damaged one has one before it. None is ever replaced: a second save at the same update is
`step-N.1`, and what is older goes only when the new one is on the disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pairloom.errors import FolderError
from pairloom.storage import check_manifest, new_directory, read_manifest, reading, remove_directory, remove_unfinished

KEPT = 2
GROUPS = ("weights", "average", "best", "optimizer", "random")
STATE = "state.json"
_TENSORS = {f"{group}.safetensors": group for group in GROUPS}
LARGEST_STATE = 100_000  # bytes
_NAME = re.compile(r"step-(\d{1,12})(?:\.(\d{1,6}))?")

_Order = tuple[int, int]  # update, and how many saves there were at it before


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]  # group (see GROUPS) → name → tensor
    state: Mapping[str, Any]  # counters, best scores, time spent: plain JSON
    files: Mapping[str, bytes] = field(default_factory=dict)  # of the run's folder as they were then, the log for one


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Writes `directory`/step-N whole or not at all, then removes all but it and the one before it."""
    remove_unfinished(directory)
    final, order = _free(directory, checkpoint.step)
    with new_directory(final) as beside:
        for group, tensors in checkpoint.tensors.items():
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            (beside / f"{group}.safetensors").write_bytes(save(whole))
        (beside / STATE).write_text(json.dumps(checkpoint.state), "utf-8")
        for name, content in checkpoint.files.items():
            (beside / name).write_bytes(content)
    # What claims to be newer was found damaged, or is of a way that the run has gone back on.
    older = [path for place, path in _found(directory) if place < order]
    for _, path in _found(directory):
        if path not in (final, *older[: KEPT - 1]):
            remove_directory(path)
    return final


def newest_checkpoint(directory: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None. A damaged one is named through `say`, and the one before it is used."""
    return _newest(directory, say, _read)


def newest_files(directory: Path, say: Callable[[str], None]) -> Mapping[str, bytes] | None:
    """Only what it has of the run's files, without the memory that its tensors take; None: there is no checkpoint."""
    found = _newest(directory, say, lambda path, step: Checkpoint(step, {}, {}, _files(path, _whole(path))))
    return None if found is None else found.files


def _newest(directory: Path, say: Callable[[str], None], read: Callable[[Path, int], Checkpoint]) -> Checkpoint | None:
    for (step, _), path in _found(directory):
        try:
            with reading(path):
                return read(path, step)
        except FolderError as error:
            say(f"{path} is damaged and is passed over: {str(error).splitlines()[-1].strip()}")
    return None


def _whole(path: Path) -> set[str]:
    """The names in its manifest, the only ones that are ever opened. Raises FolderError for one that is not whole."""
    findings = check_manifest(path)
    if findings:
        raise FolderError(findings[0])
    names = set(read_manifest(path))
    missing = sorted({*_TENSORS, STATE} - names)
    if missing:
        raise FolderError(f"{missing[0]} is missing")
    return names


def _files(path: Path, names: set[str]) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in sorted(names - {*_TENSORS, STATE})}


def _read(path: Path, step: int) -> Checkpoint:
    names = _whole(path)
    if (path / STATE).stat().st_size > LARGEST_STATE:
        raise FolderError(f"{STATE} is too large")
    try:
        groups = {group: load_file(path / name) for name, group in _TENSORS.items()}
        state = json.loads((path / STATE).read_text("utf-8"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise FolderError(f"it cannot be read: {error}") from None
    if not isinstance(state, dict):
        raise FolderError(f"{STATE} is not a JSON table")
    return Checkpoint(step, groups, state, _files(path, names))


def _found(directory: Path) -> list[tuple[_Order, Path]]:
    """Every checkpoint in the directory, the newest first."""
    if not directory.is_dir():
        return []
    named = (
        (_NAME.fullmatch(path.name), path) for path in directory.iterdir() if path.is_dir() and not path.is_symlink()
    )
    return sorted((((int(match[1]), int(match[2] or 0)), path) for match, path in named if match), reverse=True)


def _free(directory: Path, step: int) -> tuple[Path, _Order]:
    """A name that no checkpoint has yet, behind all of the same update."""
    number = max((place[1] + 1 for place, _ in _found(directory) if place[0] == step), default=0)
    return directory / (f"step-{step}.{number}" if number else f"step-{step}"), (step, number)
